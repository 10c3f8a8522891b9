"""A lost packet as its diagnosis sees it, and what checks share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from kernel.read import sysctl
from paths.evidence import Witness, drops
from paths.explain import Explainer
from paths.lab import Lab
from paths.model import Hop, Sighting
from paths.probe import Probe
from paths.space import Space
from paths.wires import Wires


@dataclass
class Case:
    """A packet that was lost: the probe on its way, or its answer on its way `back`."""

    lab: Lab
    explainer: Explainer
    probe: Probe
    source: str
    owner: str | None
    forward: Sequence[Hop]
    back: Sequence[Hop] = ()
    asked: Sequence[Sighting] = ()
    """ARP requests and IPv6 neighbour solicitations of the same time."""
    concerned: list[str] = field(default_factory=list)
    """Namespaces that have to do with it, the closest first; checks add to it."""

    @property
    def wires(self) -> Wires:
        return self.explainer.wires

    @property
    def goal(self) -> str | None:
        """Where the lost packet should have arrived."""
        return self.source if self.back else self.owner

    @property
    def last(self) -> Sighting:
        """The last that was seen of it."""
        return (self.back or self.forward)[-1].seen

    @property
    def space(self) -> Space:
        """The namespace where it was last."""
        return self.explainer.space(self.last.netns)

    def concern(self, *names: str | None) -> None:
        """These namespaces have to do with it too."""
        self.concerned = list(dict.fromkeys([*self.concerned, *(name for name in names if name)]))

    @cached_property
    def grown(self) -> dict[str, dict[str, int]]:
        """By namespace, what was counted when the probe was sent once more."""
        names = dict.fromkeys([self.source] if not self.forward else [self.last.netns])
        spaces = [self.explainer.space(name) for name in names]
        return Witness(self.lab.namespaces, spaces, self.probe).again(self.source, self.owner)


Check = Callable[[Case, Sighting], str | None]
"""One known way to die: says what it found, or None."""


def first(checks: Sequence[Check], case: Case, last: Sighting) -> str | None:
    """What the first check that finds something says."""
    return next((found for check in checks if (found := check(case, last))), None)


def dropping(case: Case, netns: str) -> str | None:
    """The filter rule that counted the second probe and drops."""
    return next((rule for rule in case.grown.get(netns, {}) if drops(rule)), None)


def setting(case: Case, netns: str, key: str) -> str:
    """The value of a sysctl now; empty when there is no such key."""
    with case.lab.namespaces.inside(netns):
        return sysctl(key).value
