"""A trace's figure as SVG: by hand, in colours that read on light and on dark pages."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from xml.sax.saxutils import escape

from paths.figure import BADGE, BAR_HEIGHT, LETTER, LINE, NAME, Box, Chip, Figure, Line, figure
from paths.model import REPLIED, Trace
from paths.scene import Bar, Scene

MARGIN, HEAD, FOOT_LINE = 28, 84, 20
FONT = "'DejaVu Sans Mono', 'Liberation Mono', Menlo, Consolas, monospace"
STYLE = """
  text { font-family: FONT; fill: #1f2328; }
  .page { fill: #ffffff; }
  .title { font-size: 20px; font-weight: bold; }
  .small { font-size: 13px; fill: #57606a; }
  .node { fill: #f6f8fa; stroke: #8c959f; stroke-width: 1.5; }
  .between { fill: #fff8e6; stroke: #b58a2b; stroke-width: 1.5; }
  .pod { fill: #e7f5ee; stroke: #2f9e6e; stroke-width: 1.5; }
  .box { font-size: 14px; font-weight: bold; }
  .chip { fill: #ffffff; stroke: #57606a; }
  .died { stroke: #cf222e; stroke-width: 2.5; }
  .device { font-size: 13px; font-weight: bold; }
  .bar { font-size: 10px; fill: #1f2328; }
  .led { font-size: 10px; fill: #57606a; }
  .Ethernet { fill: #dde3ea; } .IP { fill: #cfe3ff; } .UDP { fill: #e6dcff; }
  .tunnel { fill: #ffd8e8; } .VLAN { fill: #ffe8a3; } .probe { fill: #cdeccf; }
  .out { stroke: #d9480f; fill: none; stroke-width: 2.2; } .outfill, .outhead { fill: #d9480f; }
  .back { stroke: #1971c2; fill: none; stroke-width: 2.2; } .backfill, .backhead { fill: #1971c2; }
  .number { font-size: 11px; font-weight: bold; fill: #ffffff; text-anchor: middle; }
  .bad { font-size: 13px; fill: #cf222e; font-weight: bold; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .page { fill: #0d1117; } .small { fill: #9aa4af; } .led { fill: #9aa4af; }
    .node { fill: #161b22; stroke: #6e7681; } .between { fill: #2a2413; stroke: #c69a3f; }
    .pod { fill: #12261e; stroke: #3fb27f; } .chip { fill: #0d1117; stroke: #8b949e; }
    .out { stroke: #ff8a4c; } .outfill { fill: #c2410c; } .back { stroke: #5aa9ff; } .backfill { fill: #1864ab; }
    .outhead { fill: #ff8a4c; } .backhead { fill: #5aa9ff; } .bad { fill: #ff7b72; } .died { stroke: #ff7b72; }
    .Ethernet { fill: #39424d; } .IP { fill: #14375f; } .UDP { fill: #3b2a66; }
    .tunnel { fill: #5c1f3d; } .VLAN { fill: #544208; } .probe { fill: #1c4722; } .bar { fill: #e6edf3; }
  }
""".replace("FONT", FONT)
KINDS = {"802.1Q": "VLAN"}
"""Kinds of header whose name is no name of a class."""
HEADERS = "; headers stand where they are new, the outermost first"
SMALL = 7.9
"""Width of a letter of the text around the figure (13 px)."""


def picture(trace: Trace, scene: Scene) -> str:
    """The whole document."""
    drawn = figure(trace, scene)
    width = max(drawn.width + 2 * MARGIN, 760)
    foot = list(_foot(trace, int((width - 2 * MARGIN) / SMALL)))
    below = HEAD + drawn.height + FOOT_LINE
    words = below + FOOT_LINE * sum(map(bool, (trace.forward, trace.back)))
    height = words + FOOT_LINE * len(foot) + MARGIN / 2
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{escape(_title(trace))}</title>",
        f"<style>{STYLE}</style>",
        f"<defs>{_arrow('out')}{_arrow('back')}</defs>",
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        _text(MARGIN, 38, "title", _title(trace)),
        _text(MARGIN, 62, "small", _subtitle(trace)),
        f'<g transform="translate({(width - drawn.width) / 2:.1f} {HEAD})">',
        *_drawing(drawn, trace),
        "</g>",
        *_legend(trace, below),
        *(_text(MARGIN, words + FOOT_LINE * number, kind, text) for number, (kind, text) in enumerate(foot)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _title(trace: Trace) -> str:
    return f"{trace.setting.plugin} {trace.setting.mode}: {trace.source} to {trace.target}"


def _subtitle(trace: Trace) -> str:
    ended = f"answered in {trace.rtt_us:.0f} µs" if trace.disposition == REPLIED and trace.rtt_us else trace.disposition
    ends = f"{trace.addresses[0]} > {trace.addresses[1]}"
    return f"{trace.probe.upper()} {ends}, {ended}, {trace.setting.kernel}"


def _drawing(drawn: Figure, trace: Trace) -> Iterator[str]:
    """Boxes, then lines, then devices: a line that passes behind a device never crosses its text."""
    for box in drawn.boxes:
        yield _box(box)
    for line in drawn.lines:
        yield _line(line)
    for chip in drawn.chips:
        yield from _chip(chip, f"{chip.netns}:{chip.device}" == trace.place)


def _box(box: Box) -> str:
    corner = {"node": 10, "pod": 8, "between": 8}[box.kind]
    rect = f'<rect class="{box.kind}" {_rect(box.x, box.y, box.width, box.height)} rx="{corner}"/>'
    return rect + _text(box.x + 12, box.y + 19, "box", box.title)


def _line(line: Line) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line.points)
    return f'<polyline class="{line.way}" points="{points}" marker-end="url(#{line.way})"/>'


def _chip(chip: Chip, died: bool) -> Iterator[str]:
    kind = "chip died" if died else "chip"
    yield f'<rect class="{kind}" {_rect(chip.x, chip.y, chip.width, chip.height)} rx="6"/>'
    middle = chip.y + LINE / 2
    for number, text in enumerate(chip.out):
        yield _badge(chip.x + 12 + number * BADGE, middle, text, "out")
    for number, text in enumerate(chip.back[::-1]):
        yield _badge(chip.x + chip.width - 12 - number * BADGE, middle, text, "back")
    name = chip.x + 14 + BADGE * len(chip.out)
    yield _text(name, middle + 5, "device", chip.device)
    if chip.led:
        yield _text(name + (len(chip.device) + 1) * NAME, middle + 4, "led", chip.led)
    for number, (way, bar) in enumerate(chip.bars):
        yield from _bar(chip.x + 6, chip.y + LINE + BAR_HEIGHT * number - 2, way, bar)


def _badge(x: float, y: float, number: int, way: str) -> str:
    circle = f'<circle class="{way}fill" cx="{x:.1f}" cy="{y:.1f}" r="9"/>'
    return circle + _text(x, y + 4, "number", str(number))


def _bar(x: float, y: float, way: str, bar: Bar) -> Iterator[str]:
    """Headers side by side, outermost first; the thin line below has the way's colour."""
    begin = x
    for kind, text in bar:
        width = len(text) * LETTER + 8
        yield f'<rect class="{KINDS.get(kind, kind)}" {_rect(x, y, width - 1, BAR_HEIGHT - 5)} rx="2"/>'
        yield _text(x + 3.5, y + 11, "bar", text)
        x += width
    yield f'<rect class="{way}fill" {_rect(begin, y + BAR_HEIGHT - 5, x - begin - 1, 1.6)}/>'


def _legend(trace: Trace, y: float) -> Iterator[str]:
    """The two colours, each with its way's length."""
    for way, hops in (("out", trace.forward), ("back", trace.back)):
        if hops:
            took = (hops[-1].seen.time_ns - hops[0].seen.time_ns) / 1000
            yield _line(Line(way, ((MARGIN, y - 4), (MARGIN + 34, y - 4))))
            text = f"{way}: {len(hops)} devices in {took:.0f} µs"
            yield _text(MARGIN + 44, y, "small", text + (HEADERS if way == "out" else ""))
            y += FOOT_LINE


def _foot(trace: Trace, columns: int) -> Iterator[tuple[str, str]]:
    """What is to be said below: where it died, where it parts from the prediction."""
    said = [("bad", f"✘ {trace.place}: {trace.reason}")] if trace.place else []
    if trace.parting:
        said.append(("bad", f"expected: {trace.parting.expected}"))
    said += [("small", f"not as wanted: {line}") for line in trace.differences[:4]]
    said += [("small", f"note: {note}") for note in trace.notes]
    for kind, text in said:
        yield from ((kind, line) for line in textwrap.wrap(text, max(columns, 40), subsequent_indent="  "))


def _arrow(way: str) -> str:
    return (
        f'<marker id="{way}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="{way}head" d="M0 1 L10 5 L0 9 z"/></marker>'
    )


def _rect(x: float, y: float, width: float, height: float) -> str:
    return f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'


def _text(x: float, y: float, kind: str, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" xml:space="preserve">{escape(text)}</text>'
