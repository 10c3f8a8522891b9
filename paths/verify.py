"""Documented path against observed path, for every kind of pair that a mode has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from typing import Any

from cluster.model import Cluster
from kernel.errors import BadInput
from paths.documented import Stage, Ways, ways
from paths.kinds import End, pair, vlan
from paths.lab import Lab
from paths.model import Hop, Trace
from paths.observe import addresses_of
from paths.trace import trace

ANSWER_S, LOST_S = 2.0, 1.0
"""How long an answer is waited for, seconds, and one to a packet that is documented to arrive nowhere."""


@dataclass(frozen=True)
class Verdict:
    """One pair, one family, one direction. `expected` and `observed` are the first that differ."""

    source: str
    target: str
    family: int
    way: str
    kind: str
    agrees: bool
    stages: tuple[Stage, ...]
    trace: Trace
    expected: str = ""
    observed: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "source": self.source,
            "target": self.target,
            "family": self.family,
            "way": self.way,
            "kind": self.kind,
            "agrees": self.agrees,
            "stages": len(self.stages),
            "expected": self.expected,
            "observed": self.observed,
            "disposition": self.trace.disposition,
            "place": self.trace.place,
            "reason": self.trace.reason,
        }


@dataclass(frozen=True)
class Scenario:
    """One documented kind of pair in one family, traced: what came of both ways, and in how many seconds."""

    kind: str
    family: int
    source: str
    target: str
    seconds: float
    verdicts: tuple[Verdict, ...]

    @property
    def agrees(self) -> bool:
        """Both ways are as documented."""
        return all(one.agrees for one in self.verdicts)


def scenarios(lab: Lab, progress: Callable[[str], None] = lambda _: None) -> Iterator[Scenario]:
    """Traces one pair of each documented kind in each family that the lab has, and compares both ways with the
    documents. Raises BadInput when the mode has none."""
    for kind, way in ways(lab.plugin, lab.mode).items():
        for family in (4, 6):
            if (chosen := pair(lab.cluster, kind, family)) is not None:
                source, target = (end.name for end in chosen)
                progress(f"{kind.replace('-', ' ')}, IPv{family}: {source} -> {target}")
                start = time.monotonic()
                verdicts = tuple(_both_ways(lab, way, kind, chosen, family))
                yield Scenario(kind.replace("-", " "), family, source, target, time.monotonic() - start, verdicts)


def verify(lab: Lab, progress: Callable[[str], None] = lambda _: None) -> list[Verdict]:
    """The verdicts of all scenarios. Raises BadInput when the lab has no such pair or its mode no document."""
    found = [verdict for scenario in scenarios(lab, progress) for verdict in scenario.verdicts]
    if not found:
        raise BadInput("the lab has no two pods with a family in common", remedy="give the topology at least two pods")
    return found


def _both_ways(lab: Lab, way: Ways, kind: str, ends: tuple[End, End], family: int) -> Iterator[Verdict]:
    """There, and unless the packet is to be lost the answer's way back."""
    source, target = ends
    said, owned = kind.replace("-", " "), addresses_of(lab.state)
    lost = way.out[-1].lost
    wait_s = LOST_S if lost or way.back[-1].lost else ANSWER_S
    one = trace(lab, source.name, target.name, family=family, timeout_s=wait_s)
    yield _judge(one, _fitting(lab.cluster, way.out, source, target, family), said, "out", source, target, owned)
    if not lost:
        yield _judge(one, _fitting(lab.cluster, way.back, target, source, family), said, "back", target, source, owned)


def _fitting(cluster: Cluster, path: Sequence[Stage], source: End, target: End, version: int) -> tuple[Stage, ...]:
    """The path as it is for a pod in an untagged subnet, which has no VLAN device: without those, and untagged."""
    plain = {role for role, end in (("near", source), ("far", target)) if vlan(cluster, end, version) == 0}
    return tuple(
        replace(stage, tagged=False) if stage.tagged and stage.at in plain else stage
        for stage in path
        if not (stage.of_vlan and stage.at in plain)
    )


def _judge(
    one: Trace,
    path: tuple[Stage, ...],
    kind: str,
    way: str,
    source: End,
    target: End,
    owned: Mapping[str, Sequence[str]],
) -> Verdict:
    roles = {"source": source.name, "near": source.node, "far": target.node, "target": target.name}
    expected, observed = diverges(path, roles, one.forward if way == "out" else one.back, owned)
    if not expected and path[-1].lost:
        expected, observed = (str(path[-1]), "it was answered") if one.delivered else ("", "")
    elif not expected and not one.delivered and not (way == "out" and one.back):
        expected, observed = "an answer", one.reason or "none"
    agrees = not expected
    return Verdict(source.name, target.name, one.family, way, kind, agrees, path, one, expected, observed)


def diverges(
    path: Sequence[Stage],
    roles: dict[str, str],
    hops: Sequence[Hop],
    owned: Mapping[str, Sequence[str]] | None = None,
) -> tuple[str, str]:
    """The first stage that the hops do not follow and what was seen instead; two empty texts when all agree. `owned`
    are the addresses of each namespace, for stages that say whose a packet bears."""
    left = list(hops)
    for stage in path:
        if stage.lost:
            break
        if stage.wire:
            while left and left[0].seen.netns not in roles.values():
                if wrong := _headers(stage, left[0]):
                    return str(stage), wrong
                left.pop(0)
            continue
        if not left:
            return _named(stage, roles), "nothing more: the packet was seen nowhere after " + _last(hops)
        hop = left.pop(0)
        seen = hop.seen
        if (seen.netns, seen.direction) != (roles[stage.at], stage.direction) or not fnmatch(seen.device, stage.device):
            return _named(stage, roles), f"{seen.place} {seen.direction}"
        if stage.table is not None and hop.table != stage.table:
            return _named(stage, roles), f"{seen.place} {seen.direction}, led by table {hop.table}"
        if wrong := _headers(stage, hop) or _source(stage, hop, (owned or {}).get(roles.get(stage.src or "", ""), ())):
            return _named(stage, roles), wrong
    if left:
        return "the end of the path", f"{left[0].seen.place} {left[0].seen.direction}"
    return "", ""


def _headers(stage: Stage, hop: Hop) -> str:
    tunnel = hop.seen.packet.tunnel
    kind = tunnel.kind if tunnel else "none"
    if stage.tunnel is not None and kind != stage.tunnel:
        return f"{hop.seen.place} {hop.seen.direction}, encapsulation {kind}"
    if stage.tagged is not None and stage.tagged != (hop.seen.packet.vlan is not None):
        return f"{hop.seen.place} {hop.seen.direction}, {'untagged' if stage.tagged else 'tagged'}"
    udp = next((layer for layer in hop.seen.packet.layers if layer.kind == "UDP"), None)
    if stage.port is not None and (udp is None or udp.dst != str(stage.port)):
        return f"{hop.seen.place} {hop.seen.direction}, UDP port {udp.dst if udp else 'none'}"
    return ""


def _source(stage: Stage, hop: Hop, addresses: Sequence[str]) -> str:
    inner = hop.seen.packet.inner
    if stage.src is None or (inner and inner.src in addresses):
        return ""
    return f"{hop.seen.place} {hop.seen.direction}, from {inner.src if inner else 'no IP address'}"


def _named(stage: Stage, roles: dict[str, str]) -> str:
    return str(stage).replace(f"{stage.at}:", f"{roles[stage.at]}:", 1)


def _last(hops: Sequence[Hop]) -> str:
    return hops[-1].seen.place if hops else "it was sent"
