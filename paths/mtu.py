"""The MTU budget of a path: what each device on it leaves for the pod's own packet, and two probes that try the limit.

A device's MTU counts from the outermost IP header on; what a tunnel put before the pod's packet is taken from it. An
802.1Q tag is not: the kernel lets a frame be four bytes longer for it (8021q, vlan_dev_init).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paths.kinds import pair
from paths.lab import Lab
from paths.model import IP, Hop, Layer, Trace
from paths.trace import trace

ECHO_HEADER = 8
"""Bytes of an echo request before its payload (RFC 792, RFC 4443)."""
LINK_LAYERS = ("Ethernet", "802.1Q")
KINDS = ("cross-node-other-subnet", "cross-node-same-vlan", "cross-node")
"""Pairs of pods that are tried, the longest way first."""


@dataclass(frozen=True)
class Room:
    """A device that the packet left by or came in at: its MTU, the headers before the pod's packet there, what is left.
    Bytes."""

    netns: str
    device: str
    mtu: int
    headers: tuple[tuple[str, int], ...]

    @property
    def left(self) -> int:
        """For the pod's packet, with its IP header."""
        return self.mtu - sum(size for _, size in self.headers)

    @property
    def place(self) -> str:
        """namespace:device"""
        return f"{self.netns}:{self.device}"


@dataclass(frozen=True)
class Tried:
    """A don't-fragment probe of `size` bytes with its IP header; `place` and `reason` where it did not pass."""

    size: int
    passed: bool
    place: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Budget:
    """One pair in one family. `wanted` is what the mode computed for pods."""

    source: str
    target: str
    family: int
    wanted: int
    rooms: tuple[Room, ...]
    fits: Tried
    too_long: Tried

    @property
    def limit(self) -> int:
        """The longest packet that every device on the way takes."""
        return min(room.left for room in self.rooms)

    @property
    def tightest(self) -> Room:
        """The first device that takes no more than that: the one that refuses one byte more."""
        return next(room for room in self.rooms if room.left == self.limit)

    @property
    def wire(self) -> Room:
        """Where the packet has the most headers, outside the pods: the link between the nodes."""
        ends = self.source, self.target
        return max(self.rooms, key=lambda room: (sum(size for _, size in room.headers), room.netns not in ends))

    @property
    def holds(self) -> bool:
        """The limit passes, a byte more does not, and dies where the budget says."""
        place = self.too_long.place.partition(":")[0]
        return self.fits.passed and not self.too_long.passed and place == self.tightest.netns

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "source": self.source,
            "target": self.target,
            "family": self.family,
            "pod_mtu": self.wanted,
            "limit": self.limit,
            "tightest": self.tightest.place,
            "layers": [{"layer": name, "bytes": size, "left": left} for name, size, left in layers(self)],
            "devices": [{"place": room.place, "mtu": room.mtu, "left": room.left} for room in self.rooms],
            "fits": vars(self.fits),
            "too_long": vars(self.too_long),
            "holds": self.holds,
        }


def budgets(lab: Lab) -> list[Budget]:
    """Of the longest way between two pods, in each family that pods have."""
    found = []
    for version in (4, 6):
        ends = next((one for kind in KINDS if (one := pair(lab.cluster, kind, version))), None)
        if ends is not None:
            found.append(budget(lab, ends[0].name, ends[1].name, version))
    return found


def budget(lab: Lab, source: str, target: str, family: int) -> Budget:
    """Three probes: a short one shows the way, then one of the limit's size, and one with a byte more."""
    first = trace(lab, source, target, family=family)
    mtus = {name: _mtus(lab, name) for name in dict.fromkeys(hop.seen.netns for hop in first.forward)}
    rooms = tuple(rooms_of(first.forward, mtus))
    limit = min(room.left for room in rooms)
    fits, longer = (_tried(lab, source, target, family, size) for size in (limit, limit + 1))
    return Budget(source, target, family, lab.wanted.pod_mtu, rooms, fits, longer)


def rooms_of(hops: Sequence[Hop], mtus: Mapping[str, Mapping[str, int]]) -> list[Room]:
    """What each device of a path leaves; `mtus` by namespace and device."""
    found = []
    for hop in hops:
        seen = hop.seen
        if mtu := mtus[seen.netns].get(seen.device):
            found.append(Room(seen.netns, seen.device, mtu, tuple(before(seen.packet.layers))))
    return found


def before(headers: Sequence[Layer]) -> list[tuple[str, int]]:
    """The headers that an MTU counts and that are not the pod's packet: all up to the innermost IP header, without the
    link's own."""
    inner = max((number for number, one in enumerate(headers) if one.kind in IP), default=0)
    start = next((number for number, one in enumerate(headers) if one.kind not in LINK_LAYERS), 0)
    return [(one.kind, one.size) for one in headers[start:inner] if one.size]


def layers(one: Budget) -> list[tuple[str, int, int]]:
    """The budget from the link between the nodes down to the payload of an echo: layer, its bytes, what is left. What a
    device before the link takes less is a line of its own."""
    left = one.wire.mtu
    found = [(f"MTU of {one.wire.place}", 0, left)]
    for name, size in one.wire.headers:
        left -= size
        found.append((name, size, left))
    if one.limit < left:
        found.append((f"kept free by {one.tightest.place}", left - one.limit, one.limit))
    header = ip_header(one.family)
    found.append((f"IPv{one.family} of the pod", header, one.limit - header))
    found.append(("ICMP", ECHO_HEADER, one.limit - header - ECHO_HEADER))
    return found


def ip_header(family: int) -> int:
    """Bytes of an IP header without options (RFC 791, RFC 8200)."""
    return 20 if family == 4 else 40


def _mtus(lab: Lab, name: str) -> dict[str, int]:
    return {link.name: link.mtu for link in lab.engine.read(name).links if link.mtu}


def _tried(lab: Lab, source: str, target: str, family: int, size: int) -> Tried:
    seen: Trace = trace(lab, source, target, family=family, size=size - ip_header(family) - ECHO_HEADER, timeout_s=1.0)
    return Tried(size, seen.delivered, seen.place, seen.reason)
