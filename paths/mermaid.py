"""A trace as a Mermaid flow chart: namespaces as boxes, devices in them, the way out solid and the way back dotted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from paths.model import Hop, Trace
from paths.scene import Scene

BAD = re.compile(r"[^A-Za-z0-9]")


def chart(trace: Trace, scene: Scene) -> str:
    """For a Markdown page: put it between ```mermaid and ```."""
    return "\n".join(_lines(trace, scene)) + "\n"


def _lines(trace: Trace, scene: Scene) -> Iterator[str]:
    yield "---"
    yield f'title: "{trace.setting.plugin} {trace.setting.mode}: {trace.source} to {trace.target}"'
    yield "---"
    yield "flowchart LR"
    hops = (*trace.forward, *trace.back)
    names = list(dict.fromkeys(hop.seen.netns for hop in hops))
    sites = list(dict.fromkeys(scene.site(name) for name in names))
    for site in sites:
        yield f'  subgraph {_id(site)}["{site}"]'
        for pod in (name for name in names if name != site and scene.site(name) == site):
            yield f'    subgraph {_id(pod)}["{pod}"]'
            yield from (f"      {line}" for line in _devices(hops, pod))
            yield "    end"
        yield from (f"    {line}" for line in _devices(hops, site))
        yield "  end"
    yield from _way(trace.forward, scene, "-->")
    yield from _way(trace.back, scene, "-.->", len(trace.forward))
    if trace.place:
        yield f'  lost["✘ {_plain(trace.reason)}"]'
        last = (trace.back or trace.forward)[-1:]
        yield from (f"  {_device(hop)} -.-x lost" for hop in last)


def _devices(hops: Sequence[Hop], netns: str) -> Iterator[str]:
    for hop in dict.fromkeys(_device(hop) for hop in hops if hop.seen.netns == netns):
        device = next(one.seen.device for one in hops if _device(one) == hop)
        yield f'{hop}["{device}"]'


def _way(hops: Sequence[Hop], scene: Scene, arrow: str, before: int = 0) -> Iterator[str]:
    """An arrow to each next device, with its number, what happened, and the headers where they are new."""
    was: tuple[object, ...] = ()
    for number, (hop, after) in enumerate(zip(hops, hops[1:], strict=False), before + 1):
        near = hop.seen.netns, after.seen.netns
        bar = scene.bar(after.seen.packet, near)
        words = " / ".join(text for _, text in bar) if bar != was else ""
        label = f"{number} {after.action}" + (f"<br>{_plain(words)}" if words else "")
        yield f'  {_device(hop)} {arrow}|"{label}"| {_device(after)}'
        was = bar


def _device(hop: Hop) -> str:
    return f"{_id(hop.seen.netns)}__{BAD.sub('_', hop.seen.device)}"


def _id(netns: str) -> str:
    return "ns_" + BAD.sub("_", netns)


def _plain(text: str) -> str:
    """Without what Mermaid reads as its own."""
    return text.replace('"', "'").replace("`", "'").replace(">", "#gt;").replace("<", "#lt;")
