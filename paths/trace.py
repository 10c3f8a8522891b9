"""Sends one real probe, captures it on every device of the lab, and tells its story."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_interface

from kernel.errors import BadInput
from kernel.state import State
from paths.capture import Capture, Frame
from paths.case import Case
from paths.decode import decode
from paths.diagnose import diagnose
from paths.explain import Explainer
from paths.lab import Lab
from paths.model import DELIVERED, DROPPED, REPLIED, Setting, Sighting, Trace
from paths.probe import SIZE, Part, Probe
from paths.probes import PROBES
from paths.wires import Chain, Wires, chain, stray

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


def trace(
    lab: Lab,
    source: str,
    target: str,
    *,
    probe: str = "icmp",
    family: int = 4,
    size: int = SIZE,
    timeout_s: float = 2.0,
    captured: list[Frame] | None = None,
) -> Trace:
    """One probe of `size` payload bytes from `source` to `target` (a name in the lab, or an address).

    Raises BadInput for names, families and sizes that cannot be. `captured` gets every
    frame that was on any device meanwhile.
    """
    owner, addresses = _ends(lab, source, target, family)
    one = PROBES[probe](addresses, size)
    try:
        one.open(lab.namespaces, source, owner)
        with Capture(lab.namespaces, lab.state.names) as capture:
            rtt_us = _exchange(one, capture, timeout_s)
            frames, lost = capture.frames, capture.lost()
    finally:
        one.close()
    if captured is not None:
        captured += frames
    with Explainer(lab.namespaces, Wires(lab.state)) as explainer:
        told = _told(lab, explainer, one, (source, target, owner), sightings(frames, one), rtt_us)
    return replace(told, notes=(*told.notes, *(f"{n} frames of {name} were not captured" for name, n in lost.items())))


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


def _ends(lab: Lab, source: str, target: str, family: int) -> tuple[str | None, tuple[str, str]]:
    """The target's namespace (None: nobody's address), and both addresses."""
    known = addresses_of(lab.state)
    if source not in known:
        raise BadInput(f"the lab has no {source!r} to send from", where="trace", remedy=f"one of: {', '.join(known)}")
    if target in known:
        mine = _of_family(known[source], source, family)
        return target, (mine, _of_family(known[target], target, family))
    try:
        text = str(ip_address(target))
    except ValueError:
        what = f"the lab has no {target!r}, and it is no address"
        raise BadInput(what, where="trace", remedy=f"one of: {', '.join(known)}") from None
    family = 6 if ":" in text else 4
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


# -- from frames to a story -------------------------------------------------------------------------------


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


def _told(
    lab: Lab,
    explainer: Explainer,
    one: Probe,
    ends: tuple[str, str, str | None],
    seen: Seen,
    rtt_us: float | None,
) -> Trace:
    source, target, owner = ends
    wires = explainer.wires
    ways: dict[Part, Chain] = {
        "probe": chain(_wired(seen.parts["probe"], source, owner), wires, owner),
        "answer": chain(_wired(seen.parts["answer"], source, owner), wires, source),
        "error": chain(_wired(seen.parts["error"], source, owner), wires, source),
    }
    hops = {part: tuple(explainer.hops(way.path)) for part, way in ways.items()}
    inner = ways["probe"].path[0].packet.inner if ways["probe"].path else None
    addresses = (inner.src if inner else one.source, one.target)
    setting = Setting(lab.plugin, lab.mode, kernel())
    family = 6 if one.six else 4
    parts = hops["probe"], hops["answer"]
    told = Trace(setting, source, target, addresses, one.kind, family, REPLIED, *parts, rtt_us=rtt_us)
    told = replace(told, notes=(*_asymmetry(told), *_flooded(ways["probe"], wires)))
    if rtt_us is not None:
        return told
    last = told.forward[-1].seen if told.forward else None
    arrived = last is not None and last.netns == owner and last.direction == "in"
    case = Case(lab, explainer, one, source, owner, told.forward, told.back, seen.asked)
    found = diagnose(case, hops["error"])
    ended = DELIVERED if arrived else DROPPED
    return replace(
        told,
        disposition=ended,
        place=found.place,
        reason=found.reason,
        evidence=found.evidence,
        differences=found.differences,
        errors=hops["error"],
    )


def kernel() -> str:
    """Which kernel this is: the place where the lab runs, and the release."""
    place = os.environ.get("PODPATH_KERNEL", "")
    return f"{place} kernel, Linux {os.uname().release}".strip()


def _wired(seen: Sequence[Sighting], source: str, owner: str | None) -> list[Sighting]:
    """Without loopback devices, unless that is all there is: a probe to oneself."""
    return [one for one in seen if one.device != "lo" or source == owner]


def _asymmetry(told: Trace) -> Iterator[str]:
    """The answer's way, when it is not the probe's backwards."""
    there = [hop.seen.place for hop in told.forward]
    again = [hop.seen.place for hop in reversed(told.back)]
    if told.rtt_us is not None and there != again:
        only_there = [place for place in there if place not in again]
        only_back = [place for place in again if place not in there]
        parts = [f"only out: {', '.join(only_there)}"] if only_there else []
        parts += [f"only back: {', '.join(only_back)}"] if only_back else []
        yield "the way back differs: " + ("; ".join(parts) or "another order of the same devices")


def _flooded(way: Chain, wires: Wires) -> Iterator[str]:
    """Who else got a copy."""
    others = dict.fromkeys(one.netns for one in way.copies if stray(one, wires))
    if others:
        yield f"a copy also went to {', '.join(others)}: a switch or tunnel did not know the MAC and flooded it"
