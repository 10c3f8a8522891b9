"""Two modes' traces of one pair beside each other: aligned by what each device is for, and only what differs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from kernel.state import Bridge, State, Tunnel, Veth, Vlan, Vti, Vxlan
from paths.model import IP, TUNNELS
from paths.paint import Paint, wrapped
from paths.wires import Wires

Hop = Mapping[str, Any]
"""A hop of trace.schema.json."""
SIGNS = (("-", "red"), ("+", "green"))
"""As a diff marks its two sides, and in which colour."""
_STATE = re.compile(r" \([A-Z]+\)$")
"""The state of a neighbour entry, which is chance."""


@dataclass(frozen=True)
class Pair:
    """One device of either way, or what two modes have in its place. `role` says what it is for."""

    netns: str
    role: str
    direction: str
    first: Hop | None
    second: Hop | None

    @property
    def same(self) -> bool:
        """Both modes do the same there, whatever they call the device."""
        return bool(self.first and self.second and self._nameless(self.first) == self._nameless(self.second))

    def _nameless(self, hop: Hop) -> dict[str, Any]:
        found = facts(hop)
        why = tuple(text.replace(hop["device"], self.role) for text in found["why"])
        return found | {"device": self.role, "why": why}

    def carries_on(self, before: Pair) -> bool:
        """Nothing happens there but that the packets arrive, or are switched, as they were before."""

        def quiet(hop: Hop | None, was: Hop | None) -> bool:
            now, then = facts(hop) if hop else {}, facts(was) if was else {}
            moved = now.get("action") in ("arrives", "bridged")
            return moved and (now["bytes"], now["headers"]) == (then.get("bytes"), then.get("headers"))

        return quiet(self.first, before.first) and quiet(self.second, before.second)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        sides = [None if one is None else facts(one) for one in (self.first, self.second)]
        return {
            "netns": self.netns,
            "role": self.role,
            "direction": self.direction,
            "first": sides[0],
            "second": sides[1],
            "same": self.same,
        }


def facts(hop: Hop) -> dict[str, Any]:
    """What of a hop can differ between modes: neither times nor neighbours' states."""
    why = tuple(_STATE.sub("", text) for text in hop["why"]) if hop["action"] != "arrives" else ()
    device = {"device": hop["device"], "bytes": hop["bytes"], "action": hop["action"]}
    return device | {"headers": _headers(hop["headers"]), "why": why}


def _headers(layers: Sequence[Mapping[str, Any]]) -> str:
    """The headers in short, outermost first, without MACs and TTLs."""
    parts = []
    for layer in layers:
        if layer["kind"] in IP:
            parts.append(f"{layer['src']} > {layer['dst']}")
        elif layer["kind"] == "802.1Q":
            parts.append(f"VLAN {layer['vid']}")
        elif layer["kind"] in TUNNELS:
            parts.append(f"{layer['kind']} {layer['vni']}" if "vni" in layer else layer["kind"])
        elif layer["kind"] == "UDP":
            parts.append(f"UDP {layer['dst']}")
    return ", ".join(parts)


# -- aligning ---------------------------------------------------------------------------------------------


def align(first: Sequence[Hop], second: Sequence[Hop], states: tuple[State, State]) -> list[Pair]:
    """The devices of both ways in their order; those for the same end stand together."""
    wires = Wires(states[0]), Wires(states[1])
    keys = [
        [(h["netns"], _role(w, h), h["direction"]) for h in hops]
        for w, hops in zip(wires, (first, second), strict=True)
    ]
    found: list[Pair] = []
    for tag, i, j, k, m in SequenceMatcher(None, keys[0], keys[1], autojunk=False).get_opcodes():
        if tag == "equal":
            found += [Pair(*keys[0][i + n], first[i + n], second[k + n]) for n in range(j - i)]
        else:
            found += [Pair(*keys[0][n], first[n], None) for n in range(i, j)]
            found += [Pair(*keys[1][n], None, second[n]) for n in range(k, m)]
    return found


def _role(wires: Wires, hop: Hop) -> str:
    """What a device is for: modes name host ends and tunnels each in its way."""
    place = hop["netns"], hop["device"]
    link, peer = wires.devices.get(place), wires.peers.get(place)
    if isinstance(link, Vxlan | Tunnel | Vti):
        return "tunnel device"
    if isinstance(link, Vlan):
        return "VLAN device"
    if isinstance(link, Bridge):
        return "bridge"
    switch_port = link is not None and link.master == hop["netns"]
    if isinstance(link, Veth) and peer and hop["device"] != "eth0" and not switch_port and not wires.is_port(peer):
        return f"{peer[0]}'s host end"
    return str(hop["device"])


# -- showing ----------------------------------------------------------------------------------------------


def shown(
    names: tuple[str, str],
    traces: tuple[Mapping[str, Any], Mapping[str, Any]],
    ways: Sequence[Sequence[Pair]],
    paint: Paint,
    width: int,
) -> str:
    """Only what differs, way by way; `names` are the modes, `ways` out and back."""
    lines = [paint(f"{traces[0]['source']} → {traces[0]['target']}   {traces[0]['probe'].upper()}", "bold")]
    for (sign, style), name, trace in zip(SIGNS, names, traces, strict=True):
        lines += wrapped(f"{paint(sign, style)} {name}: {_ended(trace)}", width, 2)
    for heading, pairs in zip(("out", "back"), ways, strict=True):
        same = sum(pair.same for pair in pairs)
        lines += ["", paint(heading, "bold") + paint(f"   {same} of {len(pairs)} devices alike", "dim")]
        lines += _way([pair for pair in pairs if not pair.same], paint, width)
    return "\n".join(lines)


def _ended(trace: Mapping[str, Any]) -> str:
    ends = f"{trace['source_address']} > {trace['target_address']}, {trace['kernel']}"
    if trace["disposition"] != "replied":
        return f"{ends}, {trace['disposition']} at {trace['place']}: {trace['reason']}"
    return f"{ends}, answered in {trace['rtt_us']:.0f} µs"


def _way(pairs: Sequence[Pair], paint: Paint, width: int) -> Iterator[str]:
    """The devices that differ; those where the same packets only pass stand together in one line."""
    passed: list[str] = []
    for before, pair in zip((None, *pairs), pairs, strict=False):
        if before and pair.carries_on(before):
            passed.append(f"{pair.netns}: {pair.role} {pair.direction}")
            continue
        yield from _as_before(passed, paint, width)
        passed = []
        yield from _pair(pair, paint, width)
    yield from _as_before(passed, paint, width)


def _as_before(passed: Sequence[str], paint: Paint, width: int) -> Iterator[str]:
    if passed:
        yield from (paint(f"  {line}", "dim") for line in wrapped(f"{', '.join(passed)}: as before", width - 2, 2))


def _pair(pair: Pair, paint: Paint, width: int) -> Iterator[str]:
    yield f"  {paint(pair.netns, 'bold')}: {pair.role} {pair.direction}"
    sides = [
        (sign, style, facts(hop)) for sign, style, hop in (("-", "red", pair.first), ("+", "green", pair.second)) if hop
    ]
    for sign, style, mine in sides:
        others = [side[2] for side in sides if side[2] is not mine]
        for text in _said(mine, others[0] if others else None):
            first, *rest = wrapped(text, width - 6, 2)
            yield f"    {paint(f'{sign} {first}', style)}"
            yield from (f"      {paint(line, style)}" for line in rest)


def _said(mine: Mapping[str, Any], other: Mapping[str, Any] | None) -> Iterator[str]:
    """The facts that the other side has not."""
    if other is None or any(mine[key] != other[key] for key in ("device", "bytes", "action")):
        yield f"{mine['device']}, {mine['bytes']} bytes, {mine['action']}"
    if mine["headers"] and (other is None or mine["headers"] != other["headers"]):
        yield str(mine["headers"])
    yield from (text for text in mine["why"] if other is None or text not in other["why"])
