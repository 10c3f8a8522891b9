"""How devices hang together, from the wanted state: the other end of a link, what lies under a device, and the one
chain of sightings that is a packet's way among the copies that a switch or a tunnel floods. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kernel.diff import ends
from kernel.state import Bridge, Link, Stacked, State, Tunnel, Veth, Vti, Vxlan
from paths.model import Sighting

Place = tuple[str, str]
"""Namespace and device."""


class Wires:
    """The devices of one wanted state."""

    def __init__(self, state: State) -> None:
        self.devices: dict[Place, Link] = {}
        self.peers: dict[Place, Place] = {}
        for name, links in ends(state).items():
            self.devices |= {(name, device): link for device, link in links.items()}
        for ns in state.namespaces:
            for link in ns.links:
                if isinstance(link, Veth):
                    here, there = (ns.name, link.name), (link.peer_netns, link.peer.name)
                    self.peers |= {here: there, there: here}

    def is_port(self, place: Place) -> bool:
        """The device belongs to a bridge."""
        link = self.devices.get(place)
        return link is not None and link.master is not None

    def is_upper(self, place: Place) -> bool:
        """What leaves by this device leaves by one under it next."""
        return isinstance(self.devices.get(place), Bridge | Stacked | Tunnel | Vti | Vxlan)

    def towards(self, netns: str, mac: str) -> str | None:
        """The port of bridge namespace `netns` behind which a device with this MAC is; None when none is."""
        for (name, device), link in self.devices.items():
            if name == netns and link.master and self._behind((name, device), mac, {netns}):
                return device
        return None

    def _behind(self, port: Place, mac: str, seen: set[str]) -> bool:
        peer = self.peers.get(port)
        if peer is None or peer[0] in seen:
            return False
        if not self.is_port(peer):
            return any(link.mac == mac for (name, _), link in self.devices.items() if name == peer[0])
        onward = [place for place, link in self.devices.items() if place[0] == peer[0] and link.master]
        return any(self._behind(place, mac, {*seen, peer[0]}) for place in onward if place != peer)


@dataclass(frozen=True)
class Chain:
    """One way, from the first sighting to the last, and what was seen aside of it."""

    path: tuple[Sighting, ...] = ()
    copies: tuple[Sighting, ...] = ()


def chain(seen: Sequence[Sighting], wires: Wires, goal: str | None) -> Chain:
    """The way to `goal` (a namespace), or when it never got there the longest of the first that were sent.

    Each sighting has one before it; the copies of a flooded frame make the whole a tree.
    """
    ordered = sorted(seen, key=lambda one: one.time_ns)
    before = [_before(ordered, number, wires) for number in range(len(ordered))]
    if not ordered:
        return Chain()
    leaves = [number for number in range(len(ordered)) if number not in before] or [len(ordered) - 1]

    def rank(leaf: int) -> tuple[bool, bool, int, int]:
        one = ordered[leaf]
        arrived = one.netns == goal and one.direction == "in"
        return arrived, not stray(one, wires), len(_back(before, leaf)), -leaf

    path = _back(before, max(leaves, key=rank))
    while len(path) > 1 and stray(ordered[path[-1]], wires):
        path.pop()
    copies = tuple(one for number, one in enumerate(ordered) if number not in path)
    return Chain(tuple(ordered[number] for number in path), copies)


def stray(one: Sighting, wires: Wires) -> bool:
    """A frame for another machine: a switch flooded it. On a bridge's port that is how it should be."""
    return one.other_host and not wires.is_port((one.netns, one.device))


def _back(before: Sequence[int | None], leaf: int) -> list[int]:
    """Numbers of the sightings from the root to `leaf`."""
    path: list[int] = []
    place: int | None = leaf
    while place is not None and place not in path:
        path.append(place)
        place = before[place]
    return path[::-1]


def _before(seen: Sequence[Sighting], number: int, wires: Wires) -> int | None:
    """Which sighting came right before that of this number."""
    one = seen[number]
    place = one.netns, one.device
    earlier = range(number - 1, -1, -1)
    if one.direction == "in" and place in wires.peers:
        peer = wires.peers[place]
        order = (*earlier, *range(number + 1, len(seen)))  # the two ends may be stamped by two processors
        sent = (n for n in order if (seen[n].netns, seen[n].device) == peer and seen[n].direction == "out")
        return next(sent, None)
    return next(_in_namespace(seen, earlier, one, wires), None)


def _in_namespace(seen: Sequence[Sighting], earlier: range, one: Sighting, wires: Wires) -> Iterator[int]:
    """What entered the namespace, or left by a device over this one, before."""
    for number in earlier:
        other = seen[number]
        if other.netns != one.netns or other.device == one.device and other.direction == one.direction:
            continue
        above = other.direction == "out" and wires.is_upper((other.netns, other.device))
        if other.direction == "in" or (above and one.direction == "out"):
            yield number
