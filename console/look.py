"""Commands that look: inspect, trace, verify, export, doctor."""

from __future__ import annotations

import argparse
import json
from base64 import b64decode
from pathlib import Path
from typing import Any

from cluster.client import call
from console import start
from console.screen import PICTURE_WIDTH, looks, print_json, say, writable
from kernel.errors import BadInput


def inspect(arguments: argparse.Namespace) -> int:
    """The lab as a whole, or one namespace of it."""
    found = call(start.running_folder(arguments.name), {"request": "inspect", "netns": arguments.netns})
    if arguments.json:
        print_json(found)
    else:
        from console import views

        (views.namespace if arguments.netns else views.lab)(found)
    return 0


def trace(arguments: argparse.Namespace) -> int:
    """One packet's path; status 1 when it was not answered."""
    if arguments.diff or arguments.predict:
        from console import beside

        return beside.beside(arguments) if arguments.diff else beside.predict(arguments)
    for option in ("file", "preset", "plugin", "mode"):
        if getattr(arguments, option):
            what = "the running lab has its own topology and mode"
            raise BadInput(what, where=f"--{option}", remedy="leave it out, or add --predict or --diff MODE MODE")
    options: dict[str, Any] = {"probe": arguments.probe, "family": arguments.family, "timeout_s": arguments.timeout}
    if arguments.size is not None:
        options["size"] = arguments.size
    folder = start.running_folder(arguments.name)
    captures = writable(Path(arguments.pcap), "--pcap") if arguments.pcap else None
    files = {form: Path(path) for form in ("svg", "screen") if (path := getattr(arguments, form))}
    for form, path in files.items():
        writable(path.parent, f"--{form}")
    forms = [*files, *(["mermaid"] if arguments.mermaid else [])]
    request = {"request": "trace", "source": arguments.source, "target": arguments.target, "options": options}
    seen = call(folder, request | looks() | {"pcap": captures is not None, "forms": forms})
    if captures:
        _write(captures, seen["captures"])
    for form, path in files.items():
        _save(path, form, seen["forms"][form])
    if arguments.json:
        print_json(seen["trace"])
    else:
        print(seen["forms"]["mermaid"] if arguments.mermaid else seen["text"])
    return 0 if seen["delivered"] else 1


def _save(path: Path, form: str, text: str) -> None:
    """A picture: `text` is an SVG, or a screen to be drawn as one. Raises BadInput."""
    if form == "screen":
        from console.picture import save

        save(path, text, "run_topology.py trace", PICTURE_WIDTH)
    else:
        try:
            path.write_text(text)
        except OSError as problem:
            what = f"the picture cannot be written: {problem.strerror}"
            raise BadInput(what, where=f"--{form} {path}", remedy="give another place") from None
    say(f"picture: {path}")


def _write(folder: Path, captures: dict[str, str]) -> None:
    """One pcapng a device. Raises BadInput."""
    try:
        for name, data in captures.items():
            (folder / name).write_bytes(b64decode(data))
    except OSError as problem:
        raise BadInput(f"captures cannot be written: {problem.strerror}", where=f"--pcap {folder}") from None
    say(f"{len(captures)} captures in {folder}")


def verify(arguments: argparse.Namespace) -> int:
    """Documented against observed; status 1 when they differ."""
    if arguments.all:
        from console.survey import survey

        return survey(arguments)
    if arguments.modes or arguments.junit:
        where = "--modes" if arguments.modes else "--junit"
        raise BadInput("the running lab has one mode", where=where, remedy="add --all to verify every mode")
    found = call(start.running_folder(arguments.name), {"request": "verify"} | looks(), say)
    if arguments.json:
        print_json(found["verdicts"])
    else:
        print(found["text"])
    return 0 if found["agree"] else 1


def export(arguments: argparse.Namespace) -> int:
    """The lab as text; nothing is built."""
    print(export_text(arguments, arguments.format), end="")
    return 0


def export_text(arguments: argparse.Namespace, form: str) -> str:
    """What `up` with the same arguments would make, as `ip` words, frr.conf or JSON; or the topology itself."""
    from bgp.render import frr_conf
    from kernel.export import as_ip

    if form == "schema":
        from topologies.spec import schema

        return json.dumps(schema(), indent=2) + "\n"
    chosen = start.choice(arguments)
    if form == "yaml":
        from topologies import python_file, source

        return source.as_text(chosen.spec) if python_file.is_python(chosen.source) else chosen.source.read_text()
    kernel, _ = start.choose_kernel(arguments.kernel, chosen)
    planned = start.plan_for(chosen, kernel)
    if form == "json":
        from console.facts import plain

        return json.dumps(plain(planned.state), indent=2) + "\n"
    configurations = "".join(f"# {r.netns}: frr.conf\n{frr_conf(r)}\n" for r in planned.wanted.routers)
    if form == "frr":
        return configurations or f"# {chosen.plugin} {chosen.mode} runs no BGP\n"
    commented = "".join(f"# {line}\n" if line else "#\n" for line in configurations.splitlines())
    return as_ip(planned.state) + commented


def doctor(arguments: argparse.Namespace) -> int:
    """What this machine can do; status 1 when some mode, on its own preset, runs on none of its kernels."""
    from kernel.doctor import examine
    from plugins.registry import MODES, mode, parted
    from topologies.spec import preset

    modes = [(key, mode(*parted(key))) for key in MODES]
    report = examine([(key, one.needs | preset(one.preset).needs) for key, one in modes], deep=arguments.deep)
    if arguments.json:
        print_json(report.to_json())
    else:
        from console import views

        views.doctor(report)
    return 0 if report.healthy else 1
