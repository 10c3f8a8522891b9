"""The Mininet prompt of a running lab, with podpath's own verbs."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from typing import Any

from cluster.client import call
from cluster.lab import Lab
from console.start import running_folder


def prompt(lab: Lab) -> int:
    """Runs the prompt on this process's standard streams until it is left; the lab stays."""
    from topologies.cli import LabCLI
    from topologies.mininet_net import LabNet

    net = LabNet(lab.spec, lab.namespaces, lab.state)
    LabCLI(net, verbs=verbs(), on_shape=_shape)
    return 0


def _shape(a: str, b: str, **values: Any) -> None:
    """Through the server: this is a child of it, with a copy of the lab."""
    call(running_folder(None), {"request": "shape", "a": a, "b": b, "values": values})


def verbs() -> dict[str, Callable[[str], None]]:
    """trace, verify and inspect as on the command line, without leaving the prompt."""

    def verb(name: str) -> Callable[[str], None]:
        def run(line: str) -> None:
            _command([name, *shlex.split(line)])

        run.__doc__ = f"{name}: as `run_topology.py {name}`; `{name} --help` tells more"
        return run

    return {name: verb(name) for name in ("trace", "verify", "inspect")}


def _command(argv: list[str]) -> None:
    """A command of ours without leaving the prompt; `--help` and mistakes must not end it."""
    from console.parser import run

    with contextlib.suppress(SystemExit):
        run(argv)
