"""The command bench: throughput, latency and cost, mode by mode; its reports shown and compared."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import main, screen
from bench.plan import PROFILES, RAW, Plan, checked, split
from bench.settings import SETTINGS
from bench.sites import LabFactory
from cluster.lab import Lab, features, plan
from console.parser import INTERRUPTED_STATUS
from console.screen import print_json, say, writable
from kernel import places
from kernel.errors import BadInput
from plugins.registry import mode as find
from topologies.spec import LabSpec, preset


def bench(arguments: argparse.Namespace) -> int:
    """Measures on the chosen kernel; `--inside` is the part that runs there."""
    if arguments.inside:
        folder = Path(arguments.inside)
        return main.inside(folder, factory(folder))
    wanted, folder = _plan(arguments), _folder(arguments)
    kernel, why = places.choose(arguments.kernel, _needs(wanted.modes, wanted.settings), "this benchmark")
    writable(folder, "--report")
    wanted = main.rate_for(wanted, kernel)
    say(f"measuring on the {kernel} kernel: {why}")
    say(f"seed {wanted.seed}, {wanted.total()} samples, report in {folder}")
    with screen.progress(wanted) as followed:
        report, interrupted = main.run(wanted, kernel, folder, arguments.resume, followed)
    if arguments.json == "-":
        print_json(report)
    else:
        screen.show(report)
    return INTERRUPTED_STATUS if interrupted else main.status(report)


def _folder(arguments: argparse.Namespace) -> Path:
    return Path(arguments.report) if arguments.report else main.default_folder()


def _plan(arguments: argparse.Namespace) -> Plan:
    """The profile's plan with what is asked for otherwise."""
    if arguments.resume:
        if not arguments.report:
            raise BadInput("which report?", where="--resume", remedy="name its folder: --report DIR")
        return main.planned(Path(arguments.report))
    profile = "full" if arguments.full else "quick" if arguments.quick else "default"
    found = Plan(modes=_words(arguments.modes) or (), profile=profile, **PROFILES[profile])
    asked: dict[str, Any] = {
        "scenarios": _words(arguments.scenarios),
        "settings": _words(arguments.settings),
        "probes": _words(arguments.metrics),
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "precision": arguments.precision,
        "seed": arguments.seed,
        "rate_bps": arguments.rate and int(arguments.rate * 10**6),
    }
    return checked(replace(found, **{name: value for name, value in asked.items() if value is not None}))


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())


def _needs(modes: Sequence[str], settings: Sequence[str]) -> frozenset[str]:
    """Kernel features that all of `modes` need together with their topologies: they are compared on one kernel."""
    found = [find(*split(mode)) for mode in modes if mode != RAW]
    shaped = {"tbf"} if any(SETTINGS[name].rate_bps for name in settings) else set()
    links = frozenset({"veth", "bridge", "iperf3"} | shaped)
    return links.union(*(one.needs | preset(one.preset).needs for one in found))


def factory(folder: Path) -> LabFactory:
    """Makes the labs that are measured, each on its mode's own topology."""

    @contextmanager
    def make(plugin: str, mode: str, mtu: int) -> Iterator[Lab]:
        spec = _with_mtu(preset(find(plugin, mode).preset), mtu)
        with Lab(plan(spec, plugin, mode, features()), folder / f"{plugin}-{mode}") as lab:
            lab.up()
            yield lab

    return make


def _with_mtu(spec: LabSpec, mtu: int) -> LabSpec:
    """The topology with links of `mtu`, and without the wait for hosts that might have a pod's address already."""
    for name, port in spec.ports():
        spec = spec.with_link(name, port.switch, mtu=mtu)
    for link in spec.links:
        spec = spec.with_link(*link.ends, mtu=mtu)
    return spec.model_copy(update={"address_check": 0})


def show(arguments: argparse.Namespace) -> int:
    """Shows a report that was made before."""
    from bench import document

    report = document.read(_file(arguments.report_file))
    if arguments.json == "-":
        print_json(report)
    else:
        screen.show(report)
    return main.status(report)


def compare(arguments: argparse.Namespace) -> int:
    """Holds HEAD against BASE; status 1 when something is worse, 2 when nothing could be compared."""
    from bench import compare, document

    base, head = (document.read(_file(name)) for name in (arguments.base, arguments.head))
    found = compare.compared(base, head, arguments.fail_over, arguments.force)
    if arguments.json == "-":
        print_json(found)
    else:
        screen.show_comparison(found, arguments.fail_over)
    return compare.status(found)


def _file(name: str) -> Path:
    path = Path(name)
    return path / main.REPORT if path.is_dir() else path
