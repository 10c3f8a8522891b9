"""The Mininet prompt of a running lab, with podpath's own verbs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cluster.client import call
from cluster.lab import Lab, plan
from cluster.links import with_down
from console.start import running_folder
from kernel.state import State
from topologies.spec import LabSpec, from_json

if TYPE_CHECKING:
    from topologies.cli import Verb

VERBS = ("trace", "verify", "inspect")


def prompt(lab: Lab) -> int:
    """Runs the prompt on this process's standard streams until it is left; the lab stays."""
    from topologies.cli import LabCLI
    from topologies.mininet_net import LabNet

    net = LabNet(lab.spec, lab.namespaces, lab.state, Remote(lab))
    return int(LabCLI(net, verbs=verbs()).status)


class Remote:
    """The lab's server, of which this process is a child with a copy of the lab; `state` is always that of now."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._seen = lab.changes
        self._now: tuple[LabSpec, State] = lab.spec, lab.state

    @property
    def spec(self) -> LabSpec:
        """The topology as it is now."""
        return self._follow()[0]

    @property
    def state(self) -> State:
        """The wanted state as it is now; the same object until the lab changes."""
        return self._follow()[1]

    def _follow(self) -> tuple[LabSpec, State]:
        if self._lab.changes != self._seen:
            now = _ask("wanted")
            spec = from_json(now["spec"])
            planned = plan(spec, now["plugin"], now["mode"], self._lab.features)
            state = with_down(planned.state, frozenset((netns, name) for netns, name in now["down"]))
            self._lab.namespaces.follow(state.names)
            self._now, self._seen = (spec, state), now["changes"]
        return self._now

    def shape(self, a: str, b: str, values: dict[str, Any]) -> None:
        """Changes a link. Raises what the lab raises."""
        _ask("shape", a=a, b=b, values=values)

    def set_up(self, devices: Sequence[tuple[str, str]], up: bool) -> None:
        """Sets devices up or down."""
        _ask("set-up", devices=devices, up=up)


def _ask(request: str, **fields: Any) -> Any:
    return call(running_folder(None), {"request": request, **fields})


def verbs() -> dict[str, Verb]:
    """trace, verify and inspect as on the command line, without leaving the prompt."""
    from console.commands import build
    from topologies.cli import Verb

    commands: Any = next(action for action in build()._actions if action.dest == "command").choices
    found = {}
    for name in VERBS:
        parser = commands[name]
        words = tuple(option for action in parser._actions for option in action.option_strings)
        found[name] = Verb(_runner(name), f"{name}: {parser.description}", words)
    return found


def _runner(name: str) -> Callable[[str], int]:
    def run(line: str) -> int:
        from console import parser

        try:
            return parser.run([name, *shlex.split(line)])
        except SystemExit:  # --help
            return 0

    return run
