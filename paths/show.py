"""A trace as a tree for a terminal: a line for each device, and under it why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from paths.model import DELIVERED, IP, REPLIED, TUNNELS, Hop, Packet, Trace
from paths.paint import Paint, wrapped

WIDTH = 100
"""Columns, when nobody says how many there are."""
ARROWS = {"out": "→", "in": "←"}
ACTIONS = dict.fromkeys(("encapsulated", "decapsulated", "tagged", "untagged"), "magenta")
QUIET = ("arrives",)
COLUMN = 57
"""Where headers begin on a device's line; narrower screens have them below it."""
MOST = 6
"""Differences that are shown; `--json` has all."""
DETAIL = 5
"""Indentation of what is under a device's line."""


def tree(trace: Trace, color: bool = False, width: int = WIDTH) -> str:
    """The whole story in at most `width` columns (but names and addresses are never broken)."""
    paint = Paint(color)
    lines = list(_title(trace, paint))
    for name, hops in (("out", trace.forward), ("back", trace.back), ("ICMP error", trace.errors)):
        if hops:
            lines += ["", *_way(trace, name, hops, paint, width)]
    lines += ["", *_end(trace, paint, width)]
    return "\n".join(line.rstrip() for line in lines)


def _title(trace: Trace, paint: Paint) -> Iterator[str]:
    """Who sent what to whom, and where."""
    (source, target), setting = trace.addresses, trace.setting
    yield f"{paint(f'{trace.source} → {trace.target}', 'bold')}   {trace.probe.upper()}, {source} → {target}"
    yield paint(f"{setting.plugin} {setting.mode} on the {setting.kernel}", "dim")


def _way(trace: Trace, name: str, hops: Sequence[Hop], paint: Paint, width: int) -> Iterator[str]:
    """One direction."""
    yield paint(name, "bold") + paint(_summary(hops), "dim")
    texts = list(headers(hops))
    beside = all(COLUMN + len(text) <= width for text in texts)
    numbers = [list(group) for _, group in groupby(range(len(hops)), lambda number: hops[number].seen.netns)]
    for group in numbers:
        ending = group is numbers[-1]
        yield paint("└─ " if ending else "├─ ", "dim") + paint(hops[group[0]].seen.netns, "bold")
        guide = paint("   " if ending else "│  ", "dim")
        for number in group:
            lines = _hop(trace, hops[number], number + 1, texts[number] if beside else "", paint)
            below = _details(hops[number], "" if beside else texts[number], paint, width - 3)
            yield from (
                guide + line for line in (*lines, *below, *_expected(trace, name, number + 1, paint, width - 3))
            )


def _summary(hops: Sequence[Hop]) -> str:
    first, last = hops[0].seen, hops[-1].seen
    more = max(hop.seen.ip_length for hop in hops) - first.ip_length
    grown = f", up to {more} bytes of encapsulation" if more > 0 else ""
    devices = "1 device" if len(hops) == 1 else f"{len(hops)} devices"
    return f"   {devices} in {(last.time_ns - first.time_ns) / 1000:.0f} µs{grown}"


def _expected(trace: Trace, way: str, number: int, paint: Paint, width: int) -> Iterator[str]:
    """What should have come next, where prediction and observation part."""
    one = trace.parting
    if one and (one.way, one.number) == (way, number):
        for place, line in enumerate(wrapped(f"expected next: {one.expected}", width - DETAIL, 2)):
            yield paint(("   ✘ " if not place else " " * DETAIL) + line, "red")


def _hop(trace: Trace, hop: Hop, number: int, text: str, paint: Paint) -> Iterator[str]:
    """The line of one device."""
    seen = hop.seen
    at = f"{trace.at_us(seen):.0f} µs"
    action = paint(
        f"{hop.action:<12}" if text else hop.action, ACTIONS.get(hop.action, "dim" if hop.action in QUIET else "cyan")
    )
    line = f"{paint(f'{number:2}', 'dim')} {ARROWS[seen.direction]} {paint(f'{seen.device:<15}', 'bold')}"
    yield line + f" {seen.length:>5} B {at:>9}  {action}" + (f"  {text}" if text else "")


def _details(hop: Hop, text: str, paint: Paint, width: int) -> Iterator[str]:
    """What is known of it: headers that had no room beside, and why it is so."""
    if text:
        yield from _below(text, paint, width, ())
    for why in () if hop.action in QUIET and not hop.rule else hop.why:
        yield from _below(why, paint, width, ("dim",))


def _below(text: str, paint: Paint, width: int, styles: Sequence[str]) -> Iterator[str]:
    for line in wrapped(text, width - DETAIL, 2):
        yield " " * DETAIL + paint(line, *styles)


# -- headers ----------------------------------------------------------------------------------------------


def headers(hops: Sequence[Hop]) -> Iterator[str]:
    """For each hop what its headers say that those of the hop before did not."""
    before: list[str] = []
    for hop in hops:
        now = stack(hop.seen.packet)
        fresh = [part for part in now if part not in before]
        yield ", ".join(fresh)
        before = now


def stack(packet: Packet) -> list[str]:
    """The headers of a packet in words, down to the tunnel if there is one, else to the probe's own."""
    parts = []
    for layer in packet.layers:
        if layer.kind == "802.1Q":
            parts.append(f"VLAN {layer.more['vid']}")
        elif layer.kind in IP:
            limit = "TTL" if layer.kind == "IPv4" else "hop limit"
            parts += [f"{layer.src} > {layer.dst}", f"{limit} {layer.more.get('ttl', layer.more.get('hop_limit'))}"]
            if "fragment" in layer.more:
                parts.append("fragment")
        elif layer.kind == "UDP" and packet.tunnel is not None:
            parts.append(f"UDP {layer.dst}")
        elif layer.kind in TUNNELS:
            parts.append(f"{layer.kind} {layer.more['vni']}" if "vni" in layer.more else layer.kind)
            return parts
    return parts


# -- the end ----------------------------------------------------------------------------------------------


def _end(trace: Trace, paint: Paint, width: int) -> Iterator[str]:
    if trace.disposition == REPLIED:
        way = "by another way than" if trace.parting else "on the way that"
        yield paint(f"✔ answered in {trace.rtt_us or 0:.0f} µs, {way} the wanted state predicts", "bold", "green")
    else:
        word = "arrived, but not answered:" if trace.disposition == DELIVERED else "dropped at"
        yield paint(f"✘ {word} {trace.place}", "bold", "red")
        for line in (trace.reason, *trace.evidence):
            yield from ("  " + part for part in wrapped(line, width - 2, 2))
        if trace.differences:
            yield paint("  not as wanted:", "bold")
        more = len(trace.differences) - MOST
        for line in (*trace.differences[:MOST], *([f"and {more} more"] if more > 0 else ())):
            yield from ("    " + part for part in wrapped(line, width - 4, 2))
    for note in trace.notes:
        yield from wrapped(f"note: {note}", width, 2)
