"""Documented path against observed path, for every kind of pair that a mode has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from kernel.errors import BadInput
from paths.documented import Stage, document
from paths.kinds import End, backwards, pair
from paths.lab import Lab
from paths.model import Hop, Trace
from paths.trace import trace


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


def verify(lab: Lab, progress: Callable[[str], None] = lambda _: None) -> list[Verdict]:
    """Traces one pair of each documented kind in each family, and compares both ways with the documents. Raises
    BadInput when the lab has no such pair or its mode no document."""
    found: list[Verdict] = []
    paths = document(lab.plugin, lab.mode)
    for kind, path in paths.items():
        said = kind.replace("-", " ")
        for family in (4, 6):
            if (chosen := pair(lab.cluster, kind, family)) is None:
                continue
            source, target = chosen
            progress(f"{said}, IPv{family}: {source.name} -> {target.name}")
            one = trace(lab, source.name, target.name, family=family)
            found.append(_judge(one, path, said, "out", source, target, one.forward))
            found.append(_judge(one, paths[backwards(kind)], said, "back", target, source, one.back))
    if not found:
        raise BadInput("the lab has no two pods with a family in common", remedy="give the topology at least two pods")
    return found


def _judge(
    one: Trace, path: tuple[Stage, ...], kind: str, way: str, source: End, target: End, hops: Sequence[Hop]
) -> Verdict:
    roles = {"source": source.name, "near": source.node, "far": target.node, "target": target.name}
    expected, observed = diverges(path, roles, hops)
    if not expected and not one.delivered and not (way == "out" and one.back):
        expected, observed = "an answer", one.reason or "none"
    agrees = not expected
    return Verdict(source.name, target.name, one.family, way, kind, agrees, path, one, expected, observed)


def diverges(path: Sequence[Stage], roles: dict[str, str], hops: Sequence[Hop]) -> tuple[str, str]:
    """The first stage that the hops do not follow and what was seen instead; two empty texts when all agree."""
    left = list(hops)
    for stage in path:
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
        if wrong := _headers(stage, hop):
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


def _named(stage: Stage, roles: dict[str, str]) -> str:
    return str(stage).replace(f"{stage.at}:", f"{roles[stage.at]}:", 1)


def _last(hops: Sequence[Hop]) -> str:
    return hops[-1].seen.place if hops else "it was sent"
