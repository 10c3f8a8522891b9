"""Commands that look: inspect, trace, verify, export, doctor."""

from __future__ import annotations

import argparse
import json
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

from cluster.client import call
from console import start
from kernel.errors import BadInput


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def inspect(arguments: argparse.Namespace) -> int:
    """The lab as a whole, or one namespace of it."""
    found = call(start.running_folder(arguments.name), {"request": "inspect", "netns": arguments.netns})
    if arguments.json:
        _print_json(found)
    else:
        from console import views

        (views.namespace if arguments.netns else views.lab)(found)
    return 0


def trace(arguments: argparse.Namespace) -> int:
    """One packet's path; status 1 when it was not answered."""
    options: dict[str, Any] = {"probe": arguments.probe, "family": arguments.family, "timeout_s": arguments.timeout}
    if arguments.size is not None:
        options["size"] = arguments.size
    if arguments.timeout <= 0:
        raise BadInput("the time to wait must be above 0 seconds", where="--timeout")
    folder = start.running_folder(arguments.name)
    request = {"request": "trace", "source": arguments.source, "target": arguments.target, "options": options}
    seen = call(folder, request | {"pcap": arguments.pcap is not None} | start.screen())
    if arguments.pcap is not None:
        _write(Path(arguments.pcap), seen["captures"])
    if arguments.json:
        _print_json(seen["trace"])
    else:
        print(seen["text"])
    return 0 if seen["delivered"] else 1


def _write(folder: Path, captures: dict[str, str]) -> None:
    """One pcapng a device. Raises BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in captures.items():
            (folder / name).write_bytes(b64decode(data))
    except OSError as problem:
        what = f"captures cannot be written: {problem.strerror}"
        raise BadInput(what, where=f"--pcap {folder}", remedy="give a folder that can be made or written to") from None
    print(f"  {len(captures)} captures in {folder}", file=sys.stderr)


def verify(arguments: argparse.Namespace) -> int:
    """Documented against observed; status 1 when they differ."""
    folder = start.running_folder(arguments.name)
    found = call(folder, {"request": "verify"} | start.screen(), lambda text: print(f"  {text}", file=sys.stderr))
    if arguments.json:
        _print_json(found["verdicts"])
    else:
        print(found["text"])
    return 0 if found["agree"] else 1


def export(arguments: argparse.Namespace) -> int:
    """The lab as text; nothing is built."""
    print(export_text(arguments, arguments.format), end="")
    return 0


def export_text(arguments: argparse.Namespace, form: str) -> str:
    """What `up` with the same arguments would make, as `ip` words, frr.conf or JSON."""
    from bgp.render import frr_conf
    from cluster.lab import plan
    from kernel import places
    from kernel.export import as_ip

    if form == "schema":
        from topologies.spec import schema

        return json.dumps(schema(), indent=2) + "\n"
    chosen = start.choice(arguments)
    kernel, _ = start.choose_kernel(arguments.kernel, chosen)
    planned = plan(chosen.spec, chosen.plugin, chosen.mode, places.features_of(kernel))
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
    from plugins.registry import MODES, mode
    from topologies.spec import preset

    modes = [(key, mode(*key.split("-", 1))) for key in MODES]
    report = examine([(key, one.needs | preset(one.preset).needs) for key, one in modes], deep=arguments.deep)
    if arguments.json:
        _print_json(report.to_json())
    else:
        from console import views

        views.doctor(report)
    return 0 if report.healthy else 1
