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
from paths.wires import Chain, Wires, stray


def trace(lab: Lab, source: str, target: str, **options: Any) -> Trace:
    """Sends a probe and tells its story; `options` and what is raised are those of paths.observe.observe."""
    return tell(lab, observe(lab, source, target, **options))


def tell(lab: Lab, seen: Observation) -> Trace:
    """The story of an observation that was just made: routes, neighbours and FDB entries are asked for now."""
    with Explainer(lab.namespaces, Wires(lab.state)) as explainer:
        ways, everything = seen.ways(explainer.wires)
        hops = {part: tuple(explainer.hops(way.path)) for part, way in ways.items()}
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
            rtt_us=seen.rtt_us,
        )
        told = replace(told, notes=(*_asymmetry(told), *_flooded(ways["probe"], explainer.wires), *_lost(seen)))
        if seen.rtt_us is not None:
            return told
        case = Case(lab, explainer, seen.probe, seen.source, seen.owner, told.forward, told.back, everything.asked)
        return _lost_on_the_way(replace(told, errors=hops["error"]), case)


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
