"""Where and why a packet died: from the last place where it was seen, checks ask the kernel what it did next.

A check is one known way to die. It says what it found, or nothing; the first that finds something is the reason.
What no check can tell is said as what is known: where the packet was last, and what is not as wanted there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paths import hosts, layer2
from paths.case import Case, Check, first
from paths.differences import differences
from paths.model import Hop, Sighting


@dataclass(frozen=True)
class Diagnosis:
    """The place ("namespace:device" or a namespace) and the reason in a sentence; then what else was found."""

    place: str
    reason: str
    evidence: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()


def diagnose(case: Case, errors: Sequence[Hop]) -> Diagnosis:
    """Never guesses: see the module's text."""
    if not case.forward:
        case.concern(case.source)
        place, reason = case.source, hosts.at_source(case)
    else:
        last = case.last
        case.concern(last.netns)
        place = last.place
        arrived = last.netns == case.goal and last.direction == "in"
        checks = hosts.ARRIVED if arrived else _checks(case, last)
        reason = first(checks, case, last) or _unknown(case, arrived)
        layer2.concern_next(case, last)
    case.concern(*(hop.seen.netns for hop in (*case.back, *reversed(case.forward))), case.owner)
    return Diagnosis(place, reason, tuple(_said(errors)), differences(case.lab, case.concerned))


def _checks(case: Case, last: Sighting) -> Sequence[Check]:
    """Those for the kind of place where it was last."""
    place = last.netns, last.device
    if last.direction == "in":
        return layer2.SWITCH if case.wires.is_port(place) else hosts.PASSING
    return hosts.TUNNEL if case.wires.is_upper(place) else layer2.WIRE


def _unknown(case: Case, arrived: bool) -> str:
    if case.probe.error:
        return f"seen here last; the source was told: {case.probe.error}"
    if arrived and case.back:
        return "the answer arrived, but not at the probe's socket"
    return "it arrived and was not answered" if arrived else "seen here last; the kernel gives no reason"


def _said(errors: Sequence[Hop]) -> list[str]:
    """Who sent an ICMP error, and what it says."""
    if not errors:
        return []
    first_seen = errors[0].seen
    error = first_seen.packet.layers[-1]
    mtu = f", MTU {error.more['mtu']}" if error.more.get("mtu") else ""
    sender = first_seen.packet.inner.src if first_seen.packet.inner else "?"
    return [f"{first_seen.netns} ({sender}) sent {error.kind}: {error.more['error']}{mtu}"]
