"""How devices hang together, from the wanted state: the other end of a link, what lies under a device, and the one
chain of sightings that is a packet's way among the copies that a switch or a tunnel floods. Pure."""

from __future__ import annotations

from collections.abc import Sequence
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
        """The two ends of each veth."""
        self.below: dict[Place, Place] = {}
        """What a VLAN, macvlan or ipvlan device stands on; the latter two's may be in another namespace."""
        for name, links in ends(state).items():
            self.devices |= {(name, device): link for device, link in links.items()}
        for place, link in self.devices.items():
            if isinstance(link, Veth):
                there = (link.peer_netns, link.peer.name)
                self.peers |= {place: there, there: place}
            if isinstance(link, Stacked):
                self.below[place] = (link.dev_netns or place[0], link.dev)

    def is_port(self, place: Place) -> bool:
        """The device belongs to a bridge."""
        link = self.devices.get(place)
        return link is not None and link.master is not None

    def is_upper(self, place: Place) -> bool:
        """What leaves by this device leaves by one under it next."""
        return isinstance(self.devices.get(place), Vxlan | Stacked | Tunnel | Vti | Bridge)

    def root(self, place: Place) -> Place:
        """The device at the bottom of a stack."""
        while place in self.below:
            place = self.below[place]
        return place

    def towards(self, netns: str, mac: str) -> str | None:
        """The port of bridge namespace `netns` behind which a device with this MAC is; None when none is."""
        ports = [device for (name, device), link in self.devices.items() if name == netns and link.master]
        return next((device for device in ports if self._behind((netns, device), mac, {netns})), None)

    def _behind(self, port: Place, mac: str, seen: set[str]) -> bool:
        peer = self.peers.get(port)
        if peer is None or peer[0] in seen:
            return False
        if not self.is_port(peer):
            return any(link.mac == mac and self.root(place)[0] == peer[0] for place, link in self.devices.items())
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
    while len(path) > 2 and stray(ordered[path[-1]], wires):
        del path[-2:]  # with the port from which it was flooded
    copies = tuple(one for number, one in enumerate(ordered) if number not in path)
    return Chain(tuple(ordered[number] for number in path), copies)


def stray(one: Sighting, wires: Wires) -> bool:
    """A frame for another machine: a switch flooded it. On a bridge's port that is how it should be."""
    return one.other_host and not wires.is_port(_place(one))


def _place(one: Sighting) -> Place:
    return one.netns, one.device


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
    place = _place(one)
    earlier = range(number - 1, -1, -1)
    if one.direction == "in" and place in wires.peers:
        peer = wires.peers[place]
        turned = (n for n in earlier if wires.below.get(_place(seen[n])) == place and seen[n].direction == "out")
        order = (*earlier, *range(number + 1, len(seen)))  # the two ends may be stamped by two processors
        sent = (n for n in order if _place(seen[n]) == peer and seen[n].direction == "out")
        found = next(sent, None)
        # a macvlan shows a frame for a sibling to the device under both, as if it had come in there
        return max((n for n in (found, next(turned, None)) if n is not None and n < number), default=found)
    leads = _leads_in if one.direction == "in" else _leads_out
    return next((n for n in earlier if leads(seen[n], place, wires)), None)


def _leads_in(other: Sighting, place: Place, wires: Wires) -> bool:
    """From `other` a packet may come in at a device `place` that has no wire of its own: from the device under it, from
    another one over the same, or (a tunnel, a bridge) by any device of the namespace."""
    there, under = _place(other), wires.below.get(place)
    if under is None:
        return other.direction == "in" and other.netns == place[0] and there != place
    return there == under if other.direction == "in" else wires.below.get(there) == under and there != place


def _leads_out(other: Sighting, place: Place, wires: Wires) -> bool:
    """From `other` a packet may leave by `place`: it came into the namespace, or left by a device over this one."""
    there = _place(other)
    if wires.below.get(there) == place:
        return other.direction == "out"
    if other.netns != place[0] or there in wires.below and other.direction == "out":
        return False
    return other.direction == "in" or (there != place and wires.is_upper(there))
