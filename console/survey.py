"""The command verify --all: every mode on the topology that shows it, on a kernel that can do it."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cluster.lab import Lab, features, plan
from console import inkernel
from console.screen import looks, print_json, say
from kernel import places
from kernel.errors import BadInput, PodpathError, meant
from paths.paint import Paint
from paths.survey import BRING_UP, Outcome, counted, junit, line, of_rules, of_scenario, summary
from plugins.registry import MODES, parted
from plugins.registry import mode as find
from topologies.spec import preset

WIDEST = max(map(len, MODES))


def survey(arguments: argparse.Namespace) -> int:
    """Status 1 when a path is not as documented, or a lab did not come up."""
    modes = _modes(arguments.modes)
    if arguments.inside:
        return inkernel.leave(arguments.inside, [one.to_json() for one in _told(modes, arguments)])
    report = _opened(arguments.junit)
    start = time.monotonic()
    found: list[Outcome] = []
    for kernel, group in _kernels(modes, arguments.kernel).items():
        say(f"{counted(group)} on the {kernel} kernel: {', '.join(group)}")
        options = ["verify", "--all", "--modes", ",".join(group), "--looks", json.dumps(_looks(arguments))]
        found += map(Outcome.from_json, inkernel.run(kernel, options))
    order = list(MODES)
    found.sort(key=lambda one: order.index(one.mode))
    if report:
        report.write_text(junit(found))
        say(f"JUnit: {report}")
    if arguments.json:
        print_json({"seconds": time.monotonic() - start, "outcomes": [one.to_json() for one in found]})
    else:
        print(summary(found, time.monotonic() - start))
    return 0 if all(one.agrees for one in found) else 1


def _modes(words: str | None) -> list[str]:
    """Those of --modes, else all. Raises BadInput."""
    chosen = [word.strip() for word in words.split(",") if word.strip()] if words else list(MODES)
    for word in chosen:
        if word not in MODES:
            raise BadInput(f"there is no mode {word!r}", where="--modes", remedy=meant(word, list(MODES)))
    if not chosen:
        raise BadInput("no mode is named", where="--modes", remedy=f"one of: {', '.join(MODES)}")
    return list(dict.fromkeys(chosen))


def _opened(path: str | None) -> Path | None:
    """The report's place, tried before minutes of work. Raises BadInput."""
    if path is None:
        return None
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    except OSError as problem:
        what = f"the report cannot be written: {problem.strerror}"
        raise BadInput(what, where=f"--junit {path}", remedy="give another place") from None
    return Path(path)


def _kernels(modes: Sequence[str], wish: str) -> dict[str, list[str]]:
    """The modes by the kernel that each is to run on. Raises what kernel.places.choose raises."""
    found: dict[str, list[str]] = {}
    for name in modes:
        mode = find(*parted(name))
        kernel, _ = places.choose(wish, mode.needs | preset(mode.preset).needs, name.replace("-", " ", 1))
        found.setdefault(kernel, []).append(name)
    return found


def _looks(arguments: argparse.Namespace) -> dict[str, Any]:
    """How the inner side is to show its lines: `lines` unless JSON is asked for, `live` where somebody looks. Two
    streams of another kernel do not keep their order, so a terminal that has both gets all from one (`together`)."""
    live = sys.stderr.isatty()
    return looks() | {"lines": not arguments.json, "live": live, "together": live and sys.stdout.isatty()}


# -- on the kernel ----------------------------------------------------------------------------------------


def _told(modes: Sequence[str], arguments: argparse.Namespace) -> Iterator[Outcome]:
    """The outcomes, each shown as soon as it is there."""
    how: dict[str, Any] = json.loads(arguments.looks) if arguments.looks else _looks(arguments)
    paint = Paint(how["color"])
    for number, name in enumerate(modes, 1):
        for one in _verified(name, f"{number}/{len(modes)} {name}", how["width"] if how["live"] else 0):
            if how["live"]:
                _live("")
            if how["lines"]:
                text = line(one, paint, WIDEST, how["width"])
                print(text, file=sys.stderr if how["together"] else sys.stdout, flush=True)
            yield one


def _verified(name: str, label: str, width: int) -> Iterator[Outcome]:
    """One mode's lab and its scenarios; progress in `width` columns, if any. A lab that does not come up is an outcome
    too."""
    plugin, which = parted(name)
    shown = find(plugin, which).preset
    where = name, shown, os.environ.get("PODPATH_KERNEL", "")

    def progress(text: str) -> None:
        if width:
            _live(f"{label}: {text}"[: width - 3])

    progress(f"bringing {shown} up")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            with Lab(plan(preset(shown), plugin, which, features()), Path(folder)) as lab:
                lab.up()
                yield Outcome(*where, BRING_UP, 0, True, time.monotonic() - start)
                yield from _scenarios(lab, where, progress)
        except PodpathError as problem:
            yield Outcome(*where, BRING_UP, 0, False, time.monotonic() - start, "", tuple(str(problem).splitlines()))


def _scenarios(lab: Lab, where: tuple[str, str, str], progress: Callable[[str], None]) -> Iterator[Outcome]:
    from paths import flat
    from paths.verify import scenarios

    yield from (of_scenario(where, one) for one in scenarios(lab, progress))
    start = time.monotonic()
    for family, findings in flat.by_family(lab, progress):
        yield of_rules(where, family, findings, time.monotonic() - start)
        start = time.monotonic()


def _live(text: str) -> None:
    """The one line of progress on a terminal; the next one takes its place."""
    sys.stderr.write(f"\r\x1b[K  {text}" if text else "\r\x1b[K")
    sys.stderr.flush()
