"""The command bench: throughput and latency, mode by mode."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.pods import RAW, LabFactory, split
from cluster.lab import Lab, features, plan
from console.screen import say
from kernel import places
from kernel.errors import BadInput
from plugins.registry import mode as find
from topologies.spec import preset


def bench(arguments: argparse.Namespace) -> int:
    """Measures on the chosen kernel; `--inside` is the part that runs there."""
    from bench import main

    modes = [name.strip() for name in arguments.modes.split(",") if name.strip()]
    if arguments.inside:
        folder = Path(arguments.inside)
        return main.inside(modes, arguments.seconds, arguments.rounds, folder, _factory(folder))
    main.check(modes, arguments.seconds, arguments.rounds)
    kernel, why = places.choose(arguments.kernel, _needs(modes), "this benchmark")
    say(f"measuring on the {kernel} kernel: {why}")
    return main.run(modes, kernel, arguments.json, arguments.seconds, arguments.rounds)


def _needs(modes: Sequence[str]) -> frozenset[str]:
    """Kernel features that all of `modes` need together with their topologies: they are compared on one kernel."""
    try:
        found = [find(*split(mode)) for mode in modes if mode != RAW]
    except BadInput as problem:
        raise BadInput(problem.what, where="--modes", remedy=problem.remedy) from None
    return frozenset({"veth", "bridge", "iperf3"}).union(*(one.needs | preset(one.preset).needs for one in found))


def _factory(folder: Path) -> LabFactory:
    @contextmanager
    def make(plugin: str, mode: str) -> Iterator[Lab]:
        with Lab(plan(preset(find(plugin, mode).preset), plugin, mode, features()), folder) as lab:
            lab.up()
            yield lab

    return make
