"""A trace as a tree for a terminal, and verdicts as a table."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from paths.model import DELIVERED, REPLIED, Hop, Sighting, Trace
from paths.verify import Verdict

WIDTH = 110
ARROWS = {"out": "→", "in": "←"}
STYLES = {
    "encapsulated": "magenta",
    "decapsulated": "magenta",
    "bridged": "dim",
    "arrives": "dim",
    "routed": "cyan",
    "sent": "cyan",
}


def tree(trace: Trace, color: bool = False, width: int = WIDTH) -> str:
    """The trace for people: numbered hops out and back, what happened and why, and how it ended."""
    root = Tree(_title(trace), guide_style="dim")
    if trace.forward:
        _way(root, "out", trace.forward)
    if trace.back:
        _way(root, "back", trace.back)
    root.add(_end(trace))
    for note in trace.notes:
        root.add(Text(f"note: {note}", "yellow"))
    return _rendered(root, color, width)


def _title(trace: Trace) -> Text:
    ends = f"{trace.source} ({trace.addresses[0]}) → {trace.target} ({trace.addresses[1]})"
    return Text.assemble((ends, "bold"), f"   {trace.probe.upper()}, IPv{trace.family}")


def _way(root: Tree, name: str, hops: Sequence[Hop]) -> None:
    first, last = hops[0].seen, hops[-1].seen
    most = max(hop.seen.length for hop in hops) - first.length
    grown = f", {most} bytes of encapsulation" if most > 0 else ""
    took = (last.time_ns - first.time_ns) / 1000
    branch = root.add(Text.assemble((name, "bold"), f"   {len(hops)} devices, {max(took, 0):.0f} µs{grown}"))
    netns, before = "", first
    host = branch
    for number, hop in enumerate(hops, 1):
        if hop.seen.netns != netns:
            netns = hop.seen.netns
            host = branch.add(Text(netns, "bold blue"))
        line = host.add(_hop(number, hop, before))
        for why in hop.why:
            if hop.action != "arrives":
                line.add(Text(why, "dim"))
        before = hop.seen


def _hop(number: int, hop: Hop, before: Sighting) -> Text:
    seen = hop.seen
    arrow = ARROWS[seen.direction]
    more = seen.length - before.length
    grown = f" ({more:+d})" if more else ""
    style = STYLES.get(hop.action, "")
    return Text.assemble(
        (f"{number:2} ", "dim"),
        f"{arrow} ",
        (f"{seen.device:<16}", "bold"),
        (f"{hop.action:<13}", style),
        f"{seen.length:>5} B{grown:<6} ",
        (_headers(seen), ""),
    )


def _headers(seen: Sighting) -> str:
    """The addresses that count at this place, in short."""
    parts = []
    outer, inner, tunnel = seen.packet.outer, seen.packet.inner, seen.packet.tunnel
    if seen.packet.vlan is not None:
        parts.append(f"VLAN {seen.packet.vlan}")
    if tunnel is not None and outer is not None:
        vni = f" {tunnel.more['vni']}" if "vni" in tunnel.more else ""
        parts.append(f"{outer.src} > {outer.dst} {tunnel.kind}{vni} [")
    if inner is not None:
        ttl = inner.more.get("ttl", inner.more.get("hop_limit"))
        parts.append(f"{inner.src} > {inner.dst} ttl {ttl}")
    text = " ".join(parts).replace("[ ", "[")
    return text + ("]" if tunnel is not None else "")


def _end(trace: Trace) -> Text:
    if trace.disposition == REPLIED:
        return Text(f"✔ answered in {trace.rtt_us or 0:.0f} µs", "bold green")
    word = "arrived, not answered" if trace.disposition == DELIVERED else "dropped"
    return Text.assemble((f"✘ {word} ", "bold red"), f"at {trace.place}: {trace.reason}")


def verdicts(found: Sequence[Verdict], color: bool = False, width: int = WIDTH) -> str:
    """One line a path; below, the first divergence of each that differs."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "pair", "IP", "way", "kind", "stages"):
        table.add_column(name)
    for one in found:
        mark = Text("✔", "green") if one.agrees else Text("✘", "bold red")
        table.add_row(mark, f"{one.source} → {one.target}", str(one.family), one.way, one.kind, str(len(one.stages)))
    parts = [_rendered(table, color, width)]
    for one in found:
        if not one.agrees:
            parts.append(_rendered(_divergence(one), color, width))
    good = sum(one.agrees for one in found)
    parts.append(f"{good} of {len(found)} paths are as documented")
    return "\n".join(parts)


def _divergence(one: Verdict) -> Tree:
    title = f"{one.source} → {one.target}, IPv{one.family}, {one.way} ({one.kind})"
    root = Tree(Text(title, "bold"), guide_style="dim")
    root.add(Text.assemble(("expected  ", "dim"), one.expected))
    root.add(Text.assemble(("observed  ", "dim"), one.observed))
    if one.trace.reason:
        root.add(Text.assemble(("why       ", "dim"), f"{one.trace.place}: {one.trace.reason}"))
    return root


def _rendered(thing: Table | Tree, color: bool, width: int) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, color_system="standard" if color else None, highlight=False
    )
    console.print(thing)
    return out.getvalue().rstrip("\n")
