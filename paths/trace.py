"""A packet's story: what was observed of a probe, explained, and if it was lost, where and why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from paths.case import Case
from paths.diagnose import diagnose
from paths.explain import Explainer
from paths.lab import Lab
from paths.model import DELIVERED, DROPPED, REPLIED, Setting, Trace
from paths.observe import Observation, observe
from paths.parting import parting
from paths.predict import Prediction, Predictor
from paths.probe import Part
from paths.wires import Chain, Wires, stray

PROTOCOLS = {("icmp", 4): "icmp", ("icmp", 6): "ipv6-icmp"} | {
    (kind, family): kind for kind in ("udp", "tcp") for family in (4, 6)
}
"""As iptables calls what a probe is made of."""


def trace(lab: Lab, source: str, target: str, **options: Any) -> Trace:
    """Sends a probe and tells its story; `options` and what is raised are those of paths.observe.observe."""
    return tell(lab, observe(lab, source, target, **options))


def tell(lab: Lab, seen: Observation) -> Trace:
    """The story of an observation that was just made: routes, neighbours and FDB entries are asked for now."""
    with Explainer(lab.namespaces, Wires(lab.state)) as explainer:
        ways, everything = seen.ways(explainer.wires)
        hops = {part: tuple(explainer.hops(way.path, part != "probe")) for part, way in ways.items()}
        first = ways["probe"].path[0].packet.inner if ways["probe"].path else None
        told = Trace(
            Setting(lab.plugin, lab.mode, kernel()),
            seen.source,
            seen.target,
            (first.src if first else seen.probe.source, seen.probe.target),
            seen.probe.kind,
            6 if seen.probe.six else 4,
            REPLIED,
            hops["probe"],
            hops["answer"],
            rtt_us=_round_trip(seen, ways),
        )
        told = _beside_expected(told, lab, seen.owner)
        told = replace(told, notes=(*_asymmetry(told), *_flooded(ways["probe"], explainer.wires), *_lost(seen)))
        if seen.rtt_us is not None:
            return told
        case = Case(lab, explainer, seen.probe, seen.source, seen.owner, told.forward, told.back, everything.asked)
        return _lost_on_the_way(replace(told, errors=hops["error"]), case)


def _round_trip(seen: Observation, ways: dict[Part, Chain]) -> float | None:
    """By the kernel's stamps, from the source's device to the source's device; else as the probe's socket saw it."""
    there, again = ways["probe"].path, ways["answer"].path
    if seen.rtt_us is None or not there or not again:
        return seen.rtt_us
    return (again[-1].time_ns - there[0].time_ns) / 1000


def _beside_expected(told: Trace, lab: Lab, owner: str | None) -> Trace:
    """The same with what the wanted state predicts, and where the observed way is another one."""
    predictor = Predictor(lab.state, lab.wanted.routers)
    (source, target), protocol = told.addresses, PROTOCOLS[told.probe, told.family]
    out = predictor.way(told.source, source, target, protocol)
    back = predictor.answer(out, owner, target, protocol) if owner and not out.lost else Prediction(())
    wrong = parting("out", out.steps, told.forward, out.lost)
    if wrong is None and not out.lost:
        wrong = parting("back", back.steps, told.back, back.lost)
    return replace(told, expected=out.steps, expected_back=back.steps, parting=wrong)


def _lost_on_the_way(told: Trace, case: Case) -> Trace:
    """The same with how it ended."""
    found = diagnose(case, told.errors)
    last = told.forward[-1].seen if told.forward else None
    arrived = last is not None and last.netns == case.owner and last.direction == "in"
    return replace(
        told,
        disposition=DELIVERED if arrived else DROPPED,
        place=found.place,
        reason=found.reason,
        evidence=found.evidence,
        differences=found.differences,
    )


def kernel() -> str:
    """Which kernel this is: the place where the lab runs, and the release."""
    place = os.environ.get("PODPATH_KERNEL", "")
    return f"{place} kernel, Linux {os.uname().release}".strip()


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


def _lost(seen: Observation) -> Iterator[str]:
    """What the captures lost."""
    yield from (f"{count} frames of {name} were not captured: its buffer was full" for name, count in seen.lost.items())
