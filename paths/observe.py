"""Sends one real probe and keeps what every device saw of it, its answer and errors about them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface

from kernel.errors import BadInput
from kernel.state import State
from paths.capture import Capture, Frame
from paths.decode import decode
from paths.lab import Lab
from paths.model import Sighting
from paths.probe import SIZE, Part, Probe
from paths.probes import PROBES
from paths.wires import Chain, Wires, chain

SETTLE_S = 0.05
"""How long after a time-out frames that are still on their way to a capture are collected, seconds."""
SOLICITATION = 135
"""ICMPv6 type (RFC 4861)."""


@dataclass
class Seen:
    """What the captures hold of a probe, in the order of time."""

    parts: dict[Part, list[Sighting]] = field(default_factory=lambda: {"probe": [], "answer": [], "error": []})
    asked: list[Sighting] = field(default_factory=list)
    """ARP requests and IPv6 neighbour solicitations."""


@dataclass(frozen=True)
class Observation:
    """A probe that was sent from `source` to `target`, which is in namespace `owner` (None: nobody's address)."""

    source: str
    target: str
    owner: str | None
    probe: Probe
    frames: Sequence[Frame]
    """Every frame that was on any device meanwhile."""
    rtt_us: float | None = None
    """Microseconds until the answer; None: it did not come."""
    lost: dict[str, int] = field(default_factory=dict)
    """Frames that a capture lost, by namespace."""

    def ways(self, wires: Wires) -> tuple[dict[Part, Chain], Seen]:
        """The way of the probe, of its answer and of an error, and everything that was seen."""
        seen = sightings(self.frames, self.probe)
        goals: dict[Part, str | None] = {"probe": self.owner, "answer": self.source, "error": self.source}
        return {part: chain(self._wired(seen.parts[part]), wires, goal) for part, goal in goals.items()}, seen

    def _wired(self, seen: Sequence[Sighting]) -> list[Sighting]:
        """Without loopback devices, unless that is all there is: a probe to oneself."""
        return [one for one in seen if one.device != "lo" or self.source == self.owner]


def observe(
    lab: Lab,
    source: str,
    target: str,
    *,
    probe: str = "icmp",
    family: int = 4,
    size: int = SIZE,
    timeout_s: float = 2.0,
) -> Observation:
    """One probe of `size` payload bytes from `source` to `target` (a name in the lab, or an address).

    Raises BadInput for names, families and sizes that cannot be.
    """
    owner, addresses = ends(lab.state, source, target, family)
    one = PROBES[probe](addresses, size)
    try:
        one.open(lab.namespaces, source, owner)
        with Capture(lab.namespaces, lab.state.names) as capture:
            rtt_us = _exchange(one, capture, timeout_s)
            return Observation(source, target, owner, one, capture.frames, rtt_us, capture.lost())
    finally:
        one.close()


def _exchange(one: Probe, capture: Capture, timeout_s: float) -> float | None:
    """Sends and waits; returns after how many microseconds the answer came, if it did."""
    capture.drain()
    start = time.monotonic()
    one.send()
    answered = False
    if not one.refused:
        for fd, events in one.watches:
            capture.watch(fd, events)
        while not answered and not one.error and (left := start + timeout_s - time.monotonic()) > 0:
            answered = any([one.ready(fd) for fd in capture.wait(left)]) and not one.error
    took = (time.monotonic() - start) * 1e6
    if not answered:
        capture.wait(SETTLE_S)
    capture.drain()
    return took if answered else None


# -- the two ends -----------------------------------------------------------------------------------------


def ends(state: State, source: str, target: str, family: int) -> tuple[str | None, tuple[str, str]]:
    """The target's namespace (None: nobody's address), and both addresses."""
    known = addresses_of(state)
    if source not in known:
        raise BadInput(f"the lab has no {source!r} to send from", where="trace", remedy=f"one of: {', '.join(known)}")
    if target in known:
        mine = _of_family(known[source], source, family)
        return target, (mine, _of_family(known[target], target, family))
    try:
        address = ip_address(target)
    except ValueError:
        what = f"the lab has no {target!r}, and it is no address"
        raise BadInput(what, where="trace", remedy=f"one of: {', '.join(known)}") from None
    text = str(address)
    if address.is_loopback or address.is_unspecified:
        remedy = "give an address on the network, or a name in the lab"
        raise BadInput(f"{text} never leaves a host", where="trace", remedy=remedy)
    family = address.version
    owner = next((name for name, addresses in known.items() if text in addresses), None)
    return owner, (_of_family(known[source], source, family), text)


def _of_family(addresses: Iterable[str], name: str, family: int) -> str:
    for address in addresses:
        if (":" in address) == (family == 6):
            return address
    raise BadInput(f"{name!r} has no IPv{family} address", where="trace", remedy=f"use IPv{10 - family}")


def addresses_of(state: State) -> dict[str, list[str]]:
    """The stated addresses of each namespace that has any, its NIC's first."""
    found = {}
    for ns in state.namespaces:
        texts = [str(ip_interface(item.address).ip) for item in sorted(ns.addresses, key=lambda a: a.dev != "eth0")]
        if texts:
            found[ns.name] = list(dict.fromkeys(texts))
    return found


# -- from frames to sightings -----------------------------------------------------------------------------


def sightings(frames: Iterable[Frame], one: Probe) -> Seen:
    """What the frames hold of the probe, its answer, errors about them and questions for MAC addresses."""
    seen = Seen()
    for frame in sorted(frames, key=lambda frame: frame.time_ns):
        packet = decode(frame.raw, frame.bare)
        sighting = Sighting(
            frame.netns,
            frame.device,
            "out" if frame.outgoing else "in",
            frame.time_ns,
            len(frame.raw),
            packet,
            frame.other_host,
        )
        last = packet.layers[-1] if packet.layers else None
        if part := one.ours(packet, frame.raw):
            seen.parts[part].append(sighting)
        elif last and (last.more.get("op") == "request" or last.more.get("type") == SOLICITATION):
            seen.asked.append(sighting)
    return seen
