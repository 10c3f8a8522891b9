"""A packet's path as plain values: sightings, hops, the trace of both directions, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TUNNELS = ("VXLAN", "GRE", "IPIP", "SIT", "IPIP6", "IP6IP6")
"""Kinds of layer that carry a whole packet."""
IP = ("IPv4", "IPv6")
Direction = Literal["in", "out"]
REPLIED, DELIVERED, DROPPED = "replied", "delivered", "dropped"
"""Dispositions: answered; arrived but the answer was lost; lost on the way."""


@dataclass(frozen=True)
class Layer:
    """One header. `src` and `dst` are MACs, addresses or ports, `size` its own length in bytes."""

    kind: str
    src: str = ""
    dst: str = ""
    size: int = 0
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Packet:
    """A decoded frame; `layers` from the outermost in."""

    layers: tuple[Layer, ...]

    @property
    def inner(self) -> Layer | None:
        """The innermost IP header: the probe's own."""
        return next((layer for layer in reversed(self.layers) if layer.kind in IP), None)

    @property
    def outer(self) -> Layer | None:
        """The outermost IP header."""
        return self._first(*IP)

    @property
    def tunnel(self) -> Layer | None:
        """The encapsulation, if any."""
        return self._first(*TUNNELS)

    @property
    def ethernet(self) -> Layer | None:
        """The outermost Ethernet header."""
        return self._first("Ethernet")

    @property
    def udp(self) -> Layer | None:
        """The outermost UDP header."""
        return self._first("UDP")

    @property
    def vlan(self) -> int | None:
        """The outermost 802.1Q tag's VLAN; a tag inside a tunnel is not the frame's."""
        tag = self._first("802.1Q", *IP)
        return tag.more["vid"] if tag and tag.kind == "802.1Q" else None

    def _first(self, *kinds: str) -> Layer | None:
        return next((layer for layer in self.layers if layer.kind in kinds), None)


@dataclass(frozen=True)
class Sighting:
    """The probe or its answer on one device. `length` in bytes with the Ethernet header, `time_ns` of the kernel."""

    netns: str
    device: str
    direction: Direction
    time_ns: int
    length: int
    packet: Packet
    other_host: bool = False
    """Its destination MAC is not the device's."""

    @property
    def place(self) -> str:
        """namespace:device"""
        return f"{self.netns}:{self.device}"

    @property
    def ip_length(self) -> int:
        """Bytes from the outermost IP header on: what an MTU counts, with a link layer or without."""
        link = (layer.size for layer in self.packet.layers[:2] if layer.kind in ("Ethernet", "802.1Q"))
        return self.length - sum(link)


@dataclass(frozen=True)
class Hop:
    """A sighting and what happened before it, each with its reason."""

    seen: Sighting
    action: str
    why: tuple[str, ...] = ()
    rule: int | None = None
    table: int | None = None


@dataclass(frozen=True)
class Step:
    """One device that a predicted packet is to be seen on. `tag` is the 802.1Q VLAN, `tunnel` the encapsulation; rule,
    table and `why` are the route that led out by it, `next_hop` says who answers for its next hop and why."""

    netns: str
    device: str
    direction: Direction
    action: str = ""
    tag: int | None = None
    tunnel: str = ""
    table: int | None = None
    rule: int | None = None
    why: str = ""
    next_hop: str = ""
    src: str = ""
    dst: str = ""
    """Addresses of the innermost IP header."""

    @property
    def place(self) -> str:
        """namespace:device"""
        return f"{self.netns}:{self.device}"

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"netns": self.netns, "device": self.device, "direction": self.direction} | {
            name: getattr(self, name)
            for name in ("action", "tag", "tunnel", "table", "rule", "why", "next_hop", "src", "dst")
        }

    def __str__(self) -> str:
        tunnel = f", in {self.tunnel}" if self.tunnel else ""
        tag = f", VLAN {self.tag}" if self.tag else ""
        ends = f", {self.src} > {self.dst}" if self.src else ""
        return f"{self.place} {self.direction}{tunnel}{tag}{ends}" + (f": {self.why}" if self.why else "")


@dataclass(frozen=True)
class Parting:
    """Where the observed way (`way` is "out" or "back") is first another one; `number` counts its hops from 0."""

    way: str
    number: int
    expected: str
    observed: str

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"way": self.way, "number": self.number, "expected": self.expected, "observed": self.observed}

    def __str__(self) -> str:
        return f"expected {self.expected}; observed {self.observed}"


@dataclass(frozen=True)
class Setting:
    """What the probe was sent in: a lab of this plugin and mode, on this kernel."""

    plugin: str
    mode: str
    kernel: str


@dataclass(frozen=True)
class Trace:
    """A probe's whole story. Times are microseconds; `reason` and `place` say where and why it died."""

    setting: Setting
    source: str
    target: str
    addresses: tuple[str, str]
    probe: str
    family: int
    disposition: str
    forward: tuple[Hop, ...]
    back: tuple[Hop, ...]
    place: str = ""
    reason: str = ""
    evidence: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    """What the kernel has otherwise than is wanted in the namespaces concerned, the closest first."""
    rtt_us: float | None = None
    """From the source's device to the answer there."""
    errors: tuple[Hop, ...] = ()
    """The way of the ICMP error about the probe or its answer, if there was one."""
    expected: tuple[Step, ...] = ()
    expected_back: tuple[Step, ...] = ()
    """The ways that the wanted state predicts (paths.predict)."""
    parting: Parting | None = None
    """Where prediction and observation first part."""
    notes: tuple[str, ...] = ()

    @property
    def delivered(self) -> bool:
        """It was answered."""
        return self.disposition == REPLIED

    def to_json(self) -> dict[str, Any]:
        """For `--json`; the names are those of trace.schema.json and stay."""
        return {
            "plugin": self.setting.plugin,
            "mode": self.setting.mode,
            "kernel": self.setting.kernel,
            "source": self.source,
            "target": self.target,
            "source_address": self.addresses[0],
            "target_address": self.addresses[1],
            "probe": self.probe,
            "family": self.family,
            "disposition": self.disposition,
            "place": self.place,
            "reason": self.reason,
            "evidence": list(self.evidence),
            "differences": list(self.differences),
            "rtt_us": self.rtt_us,
            "forward": self._hops(self.forward),
            "return": self._hops(self.back),
            "icmp_error": self._hops(self.errors),
            "expected_forward": [step.to_json() for step in self.expected],
            "expected_return": [step.to_json() for step in self.expected_back],
            "parting": self.parting.to_json() if self.parting else None,
            "notes": list(self.notes),
        }

    def at_us(self, seen: Sighting) -> float:
        """Microseconds since the first sighting of the probe."""
        start = next((hops[0].seen for hops in (self.forward, self.back, self.errors) if hops), seen)
        return (seen.time_ns - start.time_ns) / 1000

    def _hops(self, hops: tuple[Hop, ...]) -> list[dict[str, Any]]:
        return [_hop(hop, self.at_us(hop.seen)) for hop in hops]


def _hop(hop: Hop, at_us: float) -> dict[str, Any]:
    seen = hop.seen
    layers = [{"kind": x.kind, "src": x.src, "dst": x.dst, "size": x.size, **dict(x.more)} for x in seen.packet.layers]
    return {
        "netns": seen.netns,
        "device": seen.device,
        "direction": seen.direction,
        "bytes": seen.length,
        "at_us": at_us,
        "action": hop.action,
        "why": list(hop.why),
        "rule": hop.rule,
        "table": hop.table,
        "headers": layers,
    }
