"""The command bench: throughput and latency, mode by mode."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.lab import Lab, features, plan
from plugins.registry import mode as find


def bench(arguments: argparse.Namespace) -> int:
    """Measures on the chosen kernel; `--inside` is the part that runs there."""
    from bench import main

    modes = [name.strip() for name in arguments.modes.split(",") if name.strip()]
    if arguments.inside:
        folder = Path(arguments.inside)
        return main.inside(modes, arguments.seconds, arguments.rounds, folder, _factory(folder))
    return main.run(modes, arguments.kernel, arguments.json, arguments.seconds, arguments.rounds)


def _factory(folder: Path):  # type: ignore[no-untyped-def]
    from topologies.spec import preset

    @contextmanager
    def make(plugin: str, mode: str) -> Iterator[Lab]:
        with Lab(plan(preset(find(plugin, mode).preset), plugin, mode, features()), folder) as lab:
            lab.up()
            yield lab

    return make
