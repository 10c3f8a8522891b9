"""Sends one real probe, captures it on every device of the lab, and tells its story."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from pathlib import Path

from kernel.errors import BadInput
from kernel.state import State
from paths.capture import Capture, Frame
from paths.decode import decode
from paths.diagnose import diagnose
from paths.explain import Explainer
from paths.lab import Lab
from paths.model import DELIVERED, DROPPED, REPLIED, Sighting, Trace
from paths.probe import PROBES, SIZE, Probe

SETTLE_S = 0.05
"""How long after the answer frames that are still on their way to a capture are collected, seconds."""


def trace(
    lab: Lab,
    source: str,
    target: str,
    *,
    probe: str = "icmp",
    family: int = 4,
    size: int = SIZE,
    timeout_s: float = 2.0,
    pcap_folder: str | None = None,
) -> Trace:
    """One probe of `size` payload bytes from `source` to `target` (a name in the lab, or an address).

    Raises BadInput for names, families and sizes that cannot be. With `pcap_folder` one pcapng a device is left there.
    """
    owner, addresses = _ends(lab, source, target, family)
    one = PROBES[probe](addresses, size)
    try:
        one.open(lab.namespaces, source, owner)
        with Capture(lab.namespaces, lab.state.names) as capture:
            answered, took = _exchange(one, capture, timeout_s)
            frames = capture.frames
    finally:
        one.close()
    if pcap_folder:
        from paths.pcap import write

        write(Path(pcap_folder), frames)
    forward, back = sightings(frames, one)
    return _told(lab, one, (source, target, owner), (forward, back), took if answered else None)


def _exchange(one: Probe, capture: Capture, timeout_s: float) -> tuple[bool, float]:
    """Sends and waits; returns whether the answer came, and after how many microseconds."""
    start = time.monotonic()
    one.send()
    answered = False
    if not one.refused:
        for fd, events in one.watches:
            capture.watch(fd, events)
        while not answered and not one.error and (left := start + timeout_s - time.monotonic()) > 0:
            answered = any([one.ready(fd) for fd in capture.wait(left)]) and not one.error
    took = (time.monotonic() - start) * 1e6
    while capture.wait(SETTLE_S if not answered else 0.0):
        break
    capture.drain()
    return answered, took


def _ends(lab: Lab, source: str, target: str, family: int) -> tuple[str | None, tuple[str, str]]:
    """The target's namespace (None: nobody's address), and both addresses."""
    known = addresses_of(lab.state)
    if source not in known:
        raise BadInput(f"the lab has no {source!r} to send from", where="trace", remedy=f"one of: {', '.join(known)}")
    mine = _of_family(known[source], source, family)
    if target in known:
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


def sightings(frames: Iterable[Frame], one: Probe) -> tuple[list[Sighting], list[Sighting]]:
    """The probe's and its answer's sightings, each in the order of time."""
    ways: dict[bool, list[Sighting]] = {True: [], False: []}
    for frame in sorted(frames, key=lambda frame: frame.time_ns):
        packet = decode(frame.raw, frame.vid)
        mine = one.ours(packet, frame.raw)
        if mine is not None and frame.device != "lo":
            direction = "out" if frame.outgoing else "in"
            length = len(frame.raw) + (4 if frame.vid is not None else 0)
            seen = Sighting(frame.netns, frame.device, direction, frame.time_ns, length, packet, frame.raw)  # type: ignore[arg-type]
            ways[mine].append(seen)
    return ways[True], ways[False]


def _told(
    lab: Lab,
    one: Probe,
    ends: tuple[str, str, str | None],
    ways: tuple[list[Sighting], list[Sighting]],
    rtt_us: float | None,
) -> Trace:
    source, target, owner = ends
    explainer = Explainer(lab)
    forward, back = (tuple(explainer.hops(way)) for way in ways)
    name = next(name for name, kind in PROBES.items() if isinstance(one, kind))
    told = Trace(
        source, target, (one.source, one.target), name, 6 if one.six else 4, REPLIED, forward, back, rtt_us=rtt_us
    )
    if rtt_us is not None:
        return replace(told, notes=tuple(_asymmetry(told)))
    arrived = bool(forward) and forward[-1].seen.netns == owner and forward[-1].seen.direction == "in"
    place, reason = diagnose(lab, explainer, one, source, owner, forward, back)
    return replace(told, disposition=DELIVERED if arrived else DROPPED, place=place, reason=reason)


def _asymmetry(told: Trace) -> Iterable[str]:
    """The answer's way, when it is not the probe's backwards."""
    there = [hop.seen.place for hop in told.forward]
    again = [hop.seen.place for hop in reversed(told.back)]
    if there != again:
        only_there = [place for place in there if place not in again]
        only_back = [place for place in again if place not in there]
        parts = [f"only out: {', '.join(only_there)}"] if only_there else []
        parts += [f"only back: {', '.join(only_back)}"] if only_back else []
        yield "the way back differs: " + ("; ".join(parts) or "another order of the same devices")
