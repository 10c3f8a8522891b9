"""Where everything is in a trace's figure: boxes of nodes with their pods, devices, and lines along the way. Pure.

As in the article's figures a node is a box with its pods on top, the devices of its network stack below, and its NIC at
the bottom; switches and routers are between the nodes, at the height of the NICs. All lengths are pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from paths.model import Trace
from paths.scene import Bar, Scene

LETTER = 6.03
"""Width of a letter of the header bars (a fixed-width font of 10 px, 0.603 em)."""
NAME = 7.9
"""Width of a letter of a device's name (13 px, bold)."""
PAD, GAP, GUTTER = 16, 30, 64
LINE, BAR_HEIGHT, TITLE = 30, 20, 26
BELOW = 26
"""Room below the devices of a switch, for lines that pass under others."""
LANE = 18
"""How far from a device's left edge the way out runs, and from its right edge the way back."""
BADGE = 20


@dataclass
class Chip:
    """A device: where it is, the numbers of both ways on it, and the headers of what passes there."""

    netns: str
    device: str
    out: list[int] = field(default_factory=list)
    back: list[int] = field(default_factory=list)
    bars: list[tuple[str, Bar]] = field(default_factory=list)
    led: str = ""
    """The rule and table that led out by it, where they are none that every host has."""
    x: float = 0
    y: float = 0
    width: float = 0

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def height(self) -> float:
        return LINE + BAR_HEIGHT * len(self.bars)

    @property
    def least(self) -> float:
        """The width that its texts need."""
        badges = BADGE * (len(self.out) + len(self.back)) + 24
        name = len(self.device) * NAME + (len(self.led) + 2) * LETTER * bool(self.led)
        return max([name + badges, *(bar_width(bar) + 12 for _, bar in self.bars)])


@dataclass(frozen=True)
class Box:
    """A namespace or a node around its devices. `kind`: node, pod, between."""

    kind: str
    title: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Line:
    """One step of a way ("out" or "back") as the corners of a line."""

    way: str
    points: tuple[tuple[float, float], ...]


@dataclass
class Figure:
    """All of it, and how large it is."""

    boxes: list[Box] = field(default_factory=list)
    chips: list[Chip] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    width: float = 0
    height: float = 0


def bar_width(bar: Bar) -> float:
    """A header bar's width: its words, and room at both sides of each."""
    return sum(len(text) * LETTER + 8 for _, text in bar)


def figure(trace: Trace, scene: Scene) -> Figure:
    """The figure's parts, from (0, 0) on."""
    from paths.layout import Layout

    return Layout(trace, scene).made()
