"""The predicted way beside the observed one: which devices are as expected, and where the two part."""

from __future__ import annotations

from collections.abc import Sequence

from paths.model import Hop, Parting, Step


def parting(way: str, steps: Sequence[Step], hops: Sequence[Hop], lost: str = "") -> Parting | None:
    """The first difference; None when all is as predicted. `lost` is why the prediction ends before the target."""
    for number, (step, hop) in enumerate(zip(steps, hops, strict=False)):
        if wrong := _differs(step, hop):
            return Parting(way, number, str(step), wrong)
    if len(hops) < len(steps):
        return Parting(way, len(hops), str(steps[len(hops)]), "nothing more")
    if len(hops) > len(steps):
        return Parting(way, len(steps), lost or "the end of the way", observed(hops[len(steps)]))
    return None


def _differs(step: Step, hop: Hop) -> str:
    """What was observed, when it is not what the step says."""
    seen = hop.seen
    tunnel = seen.packet.tunnel.kind if seen.packet.tunnel else ""
    same = (seen.netns, seen.device, seen.direction) == (step.netns, step.device, step.direction)
    table = step.table is not None and hop.table is not None and step.table != hop.table
    inner = seen.packet.inner
    headers = (tunnel, seen.packet.vlan, inner.src if inner else "", inner.dst if inner else "")
    expected = (step.tunnel, step.tag, step.src, step.dst)
    return "" if same and not table and headers == expected else observed(hop)


def observed(hop: Hop) -> str:
    """A hop in the words of a step."""
    seen = hop.seen
    tunnel = f", in {seen.packet.tunnel.kind}" if seen.packet.tunnel else ""
    tag = f", VLAN {seen.packet.vlan}" if seen.packet.vlan is not None else ""
    why = f": {hop.why[0]}" if hop.table is not None and hop.why else ""
    ends = f", {seen.packet.inner.src} > {seen.packet.inner.dst}" if seen.packet.inner else ""
    return f"{seen.place} {seen.direction}{tunnel}{tag}{ends}{why}"
