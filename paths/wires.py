"""How devices hang together, from the wanted state: the other end of a link, what lies under a device, and the one
chain of sightings that is a packet's way among the copies that a switch or a tunnel floods. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernel.diff import ends
from kernel.state import Bridge, Link, Stacked, State, Tunnel, Veth, Vti, Vxlan
from paths.model import Sighting

Place = tuple[str, str]
"""Namespace and device."""


Leads = Callable[[Sighting, Place, "Wires"], bool]
"""Whether a packet may go from a sighting to a device."""


class Wires:
    """The devices of one wanted state."""

    def __init__(self, state: State) -> None:
        self.devices: dict[Place, Link] = {}
        self.peers: dict[Place, Place] = {}
        """The two ends of each veth."""
        self.below: dict[Place, Place] = {}
        """What a VLAN, macvlan or ipvlan device stands on; the latter two's may be in another namespace."""
        self.secret: dict[Place, Place] = {}
        """The two ends of each IPsec tunnel: between them nobody can tell whose packet is whose."""
        for name, links in ends(state).items():
            self.devices |= {(name, device): link for device, link in links.items()}
        for place, link in self.devices.items():
            if isinstance(link, Veth):
                there = (link.peer_netns, link.peer.name)
                self.peers |= {place: there, there: place}
            if isinstance(link, Stacked):
                self.below[place] = (link.dev_netns or place[0], link.dev)
            if isinstance(link, Vti):
                self.secret.update((place, there) for there, other in self.devices.items() if _facing(link, other))

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

    def takes(self, place: Place, mac: str) -> bool:
        """A device with this MAC is in the same stack."""
        root = self.root(place)
        return any(link.mac == mac and self.root(other) == root for other, link in self.devices.items())

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


def _facing(one: Vti, other: Link) -> bool:
    return isinstance(other, Vti) and (one.local, one.remote) == (other.remote, other.local) and one.key == other.key


@dataclass(frozen=True)
class Chain:
    """One way, from the first sighting to the last, and what was seen aside of it."""

    path: tuple[Sighting, ...] = ()
    copies: tuple[Sighting, ...] = ()


def chain(seen: Sequence[Sighting], wires: Wires, goal: str | None, mac: str | None = None) -> Chain:
    """The way to `goal` (a namespace); when none got there, the one that came closest, of the first that were sent.

    Each sighting has one before it; the copies of a flooded frame make the whole a tree. A way that a switch takes
    elsewhere than towards the destination MAC (`mac`, where that is not the frame's own: a broadcast) ends there.
    """
    ordered = sorted(seen, key=lambda one: (one.time_ns, _height(one, wires)))
    before = [_before(ordered, number, wires) for number in range(len(ordered))]
    if not ordered:
        return Chain()
    leaves = [number for number in range(len(ordered)) if number not in before] or [len(ordered) - 1]

    ways = [_back(before, leaf) for leaf in leaves]

    def rank(path: list[int]) -> tuple[bool, int, bool, int]:
        one = ordered[path[-1]]
        arrived = one.netns == goal and one.direction == "in"
        return arrived, _straight(ordered, path, wires, mac), not stray(one, wires), -path[-1]

    path = max(ways, key=rank)
    if not rank(path)[0]:
        path = path[: _straight(ordered, path, wires, mac)]
        while len(path) > 2 and stray(ordered[path[-1]], wires):
            del path[-2:]  # with the port from which it was flooded
    copies = tuple(one for number, one in enumerate(ordered) if number not in path)
    return Chain(tuple(ordered[number] for number in path), copies)


def _straight(seen: Sequence[Sighting], path: Sequence[int], wires: Wires, mac: str | None) -> int:
    """How many sightings of a way there are before a switch first sends it elsewhere than towards the MAC."""
    for place, (here, there) in enumerate(zip(path, path[1:], strict=False), 1):
        one, other = seen[here], seen[there]
        switched = one.netns == other.netns and wires.is_port(_place(one)) and wires.is_port(_place(other))
        target = mac or (other.packet.ethernet.dst if other.packet.ethernet else "")
        if switched and wires.towards(one.netns, target) not in (None, other.device):
            return place
    return len(path)


def stray(one: Sighting, wires: Wires) -> bool:
    """A frame for another machine: a switch flooded it. On a bridge's port that is how it should be, and under a
    macvlan too."""
    mac = one.packet.ethernet.dst if one.packet.ethernet else ""
    return one.other_host and not wires.is_port(_place(one)) and not wires.takes(_place(one), mac)


def _height(one: Sighting, wires: Wires) -> int:
    """All devices of a stack stamp an incoming frame alike: it climbs, and an outgoing one comes down."""
    height, place = 0, _place(one)
    while place in wires.below:
        height, place = height + 1, wires.below[place]
    return height if one.direction == "in" else -height


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
    earlier, later = range(number - 1, -1, -1), range(number + 1, len(seen))
    near = (*earlier, *(n for n in later if seen[n].time_ns == one.time_ns))  # some clocks are coarse
    if one.direction == "in" and (peer := wires.peers.get(place) or wires.secret.get(place)):
        # the two ends of a wire may be stamped by two processors
        sent = next((n for n in (*earlier, *later) if _place(seen[n]) == peer and seen[n].direction == "out"), None)
        turned = next((n for n in near if _turns(seen[n], place, wires)), None)
        known = sorted(n for n in (sent, turned) if n is not None)
        return next((n for n in reversed(known) if n < number), known[0] if known else None)
    ways: tuple[Leads, ...] = (_rises, _turns, _passes) if one.direction == "in" else (_leads_out,)
    return next((n for leads in ways for n in near if leads(seen[n], place, wires)), None)


def _rises(other: Sighting, place: Place, wires: Wires) -> bool:
    """What came in at the device under `place` comes in here next."""
    return other.direction == "in" and _place(other) == wires.below.get(place)


def _turns(other: Sighting, place: Place, wires: Wires) -> bool:
    """What left by a macvlan or ipvlan for a sibling comes in at that; a macvlan shows it to the device under both
    before, as if it had come in there (macvlan_queue_xmit)."""
    there, under = _place(other), wires.below.get(place)
    siblings = under is not None and wires.below.get(there) == under and there != place
    return other.direction == "out" and (siblings or wires.below.get(there) == place)


def _passes(other: Sighting, place: Place, wires: Wires) -> bool:
    """A tunnel or a bridge, which stands on nothing, takes in what came in by any device of its namespace."""
    elsewhere = other.netns == place[0] and _place(other) != place
    return place not in wires.below and other.direction == "in" and elsewhere


def _leads_out(other: Sighting, place: Place, wires: Wires) -> bool:
    """From `other` a packet may leave by `place`: it came into the namespace, or left by a device over this one."""
    there = _place(other)
    if wires.below.get(there) == place:
        return other.direction == "out"
    if other.netns != place[0] or there in wires.below and other.direction == "out":
        return False
    return other.direction == "in" or (there != place and wires.is_upper(there))
