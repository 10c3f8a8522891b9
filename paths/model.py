"""A packet's path as plain values: sightings, hops, the trace of both directions, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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

    def __str__(self) -> str:
        ends = f" {self.src} > {self.dst}" if self.src or self.dst else ""
        more = "".join(
            f" {key} {value}" for key, value in self.more.items() if key in ("vni", "vid", "ttl", "hop_limit")
        )
        return f"{self.kind}{ends}{more}"


@dataclass(frozen=True)
class Packet:
    """A decoded frame; `layers` from the outermost in."""

    layers: tuple[Layer, ...]

    @property
    def inner(self) -> Layer | None:
        """The innermost IP header: the probe's own."""
        return next((layer for layer in reversed(self.layers) if layer.kind in ("IPv4", "IPv6")), None)

    @property
    def outer(self) -> Layer | None:
        """The outermost IP header."""
        return next((layer for layer in self.layers if layer.kind in ("IPv4", "IPv6")), None)

    @property
    def tunnel(self) -> Layer | None:
        """The encapsulation, if any."""
        return next((layer for layer in self.layers if layer.kind in ("VXLAN", "IPIP")), None)

    @property
    def ethernet(self) -> Layer | None:
        """The outermost Ethernet header."""
        return next((layer for layer in self.layers if layer.kind == "Ethernet"), None)

    @property
    def vlan(self) -> int | None:
        """The 802.1Q tag's VLAN."""
        return next((layer.more["vid"] for layer in self.layers if layer.kind == "802.1Q"), None)


@dataclass(frozen=True)
class Sighting:
    """The probe or its answer on one device. `length` in bytes with the Ethernet header, `time_ns` of the kernel."""

    netns: str
    device: str
    direction: Direction
    time_ns: int
    length: int
    packet: Packet
    raw: bytes = b""

    @property
    def place(self) -> str:
        """namespace:device"""
        return f"{self.netns}:{self.device}"


@dataclass(frozen=True)
class Hop:
    """A sighting and what happened before it, each with its reason."""

    seen: Sighting
    action: str
    why: tuple[str, ...] = ()
    rule: int | None = None
    table: int | None = None


@dataclass(frozen=True)
class Trace:
    """A probe's whole story. Times are microseconds; `reason` and `place` say where and why it died."""

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
    rtt_us: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def delivered(self) -> bool:
        """It was answered."""
        return self.disposition == REPLIED

    def to_json(self) -> dict[str, Any]:
        """For `--json`; the names are stable."""
        return {
            "source": self.source,
            "target": self.target,
            "source_address": self.addresses[0],
            "target_address": self.addresses[1],
            "probe": self.probe,
            "family": self.family,
            "disposition": self.disposition,
            "place": self.place,
            "reason": self.reason,
            "rtt_us": self.rtt_us,
            "forward": [_hop(hop, self.forward) for hop in self.forward],
            "return": [_hop(hop, self.back) for hop in self.back],
            "notes": list(self.notes),
        }


def _hop(hop: Hop, hops: tuple[Hop, ...]) -> dict[str, Any]:
    seen = hop.seen
    layers = [{"kind": x.kind, "src": x.src, "dst": x.dst, "size": x.size, **dict(x.more)} for x in seen.packet.layers]
    return {
        "netns": seen.netns,
        "device": seen.device,
        "direction": seen.direction,
        "bytes": seen.length,
        "at_us": (seen.time_ns - hops[0].seen.time_ns) / 1000,
        "action": hop.action,
        "why": list(hop.why),
        "rule": hop.rule,
        "table": hop.table,
        "headers": layers,
    }
