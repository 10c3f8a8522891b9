"""How a trace's figure is laid out: nodes at the sides, between them switches and routers in the way's order. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from paths.fib import BORN
from paths.figure import BELOW, GAP, GUTTER, NAME, PAD, TITLE, Box, Chip, Figure, Line
from paths.model import Hop, Trace
from paths.routing import corners
from paths.scene import Bar, Scene

Key = tuple[str, str]
"""Namespace and device."""


class Layout:
    """Puts devices into columns, columns beside each other, and lines between devices."""

    def __init__(self, trace: Trace, scene: Scene) -> None:
        self.trace, self.scene = trace, scene
        self.figure = Figure()
        self.chips: dict[Key, Chip] = {}
        self._number(trace.forward, "out")
        self._number(trace.back, "back")
        sites = [scene.site(netns) for netns, _ in self.chips]
        self.source = scene.site(trace.source)
        goal = scene.site(trace.target)
        self.target = goal if goal in sites and goal != self.source else ""

    def _number(self, hops: Sequence[Hop], way: str) -> None:
        """Gives each device its numbers, and its headers where they are new."""
        before: Bar = ()
        known = {bar for chip in self.chips.values() for _, bar in chip.bars}
        for number, hop in enumerate(hops, 1):
            key = hop.seen.netns, hop.seen.device
            chip = self.chips.setdefault(key, Chip(*key))
            (chip.out if way == "out" else chip.back).append(number)
            if hop.rule is not None and hop.rule not in BORN and way == "out":
                chip.led = f"rule {hop.rule}, table {hop.table}"
            near = [one.seen.netns for one in hops[max(0, number - 2) : number + 1]]
            bar = self.scene.bar(hop.seen.packet, near)
            if bar != before and not (way == "back" and (_turned(bar) in known or len(chip.bars) > 1)):
                chip.bars.append((way, bar))
            before = bar

    def made(self) -> Figure:
        """The whole figure."""
        left, shared = self._columns(self.source)
        right, _ = self._columns(self.target) if self.target else ([], [])
        row, roofs = self._between()
        tall = [self._tall(column) + (self._tall(shared) + GAP if shared else 0) for column in left]
        tall += [self._tall(column) for column in right]
        level = max((self._box_height(name) for name in row), default=0)
        tall += [level + sum(self._box_height(r) + GAP for r in roofs.get(name, ())) for name in row]
        bottom = TITLE + PAD + max(tall)
        x = self._node(self.source, left, shared, 0, bottom)
        for name in row:
            x = self._passed(name, roofs.get(name, []), x + GUTTER, bottom, level)
        if right:
            x = self._node(self.target, right, [], x + GUTTER, bottom)
        self.figure.width, self.figure.height = x, bottom + PAD
        self.figure.chips = list(self.chips.values())
        self._lines(self.trace.forward, "out")
        self._lines(self.trace.back, "back")
        return self.figure

    # -- nodes --

    def _columns(self, site: str) -> tuple[list[list[Chip]], list[Chip]]:
        """The devices of a node in one column or two, from the top down, and those below both. Two are for two pods of
        one node. Where the packet climbs to its target it is upside down."""
        chips = [chip for (netns, _), chip in self.chips.items() if self.scene.site(netns) == site]
        target = self.trace.target
        if site != self.source or (self.trace.source == site and self.scene.site(target) == site):
            return [chips[::-1]], []
        second = next((n for n, chip in enumerate(chips) if chip.netns == target), 0)
        if not second or target in (site, self.trace.source):
            return [chips], []
        own = [chip for chip in chips[:second] if chip.netns == site]
        rest = [chip for chip in chips if chip not in own and chip.netns in (self.trace.source, target)]
        mine, theirs = ([chip for chip in rest if chip.netns == netns] for netns in (self.trace.source, target))
        shared = [chip for chip in own if len(chip.out) > 1] or (own if len(own) == 1 else [])
        single = [chip for chip in own if chip not in shared]
        half = (len(single) + 1) // 2
        other = [chip for chip in chips if chip not in (*own, *rest)]
        return [mine + single[:half], theirs + single[half:][::-1] + other], shared

    def _tall(self, chips: Sequence[Chip]) -> float:
        """A column's height: its devices, the gaps, and what a pod's box adds."""
        if not chips:
            return 0
        pods = {chip.netns for chip in chips if chip.netns in self.scene.node_of}
        return sum(chip.height for chip in chips) + GAP * (len(chips) - 1) + len(pods) * (TITLE + PAD)

    def _node(self, site: str, columns: list[list[Chip]], shared: list[Chip], x: float, bottom: float) -> float:
        """A node's box from `x` on; returns where it ends."""
        inner = x + PAD
        above = bottom - PAD - (self._tall(shared) + GAP if shared else 0)
        for chips in columns:
            inner = self._column(chips, inner, above) + PAD
        width = max([inner - x, len(site) * NAME + 2 * PAD, *(chip.least + 4 * PAD for chip in shared)])
        _place(shared, x + 2 * PAD, bottom - PAD - self._tall(shared), width - 4 * PAD)
        self.figure.boxes.insert(0, Box("node", site, x, 0, width, bottom))
        return x + width

    def _column(self, chips: list[Chip], x: float, bottom: float) -> float:
        """One column of devices: pods on top, the rest from the bottom up; returns its right edge."""
        width = max((chip.least for chip in chips), default=0) + 2 * PAD
        y: float = TITLE + PAD
        for netns in dict.fromkeys(chip.netns for chip in chips if chip.netns in self.scene.node_of):
            mine = [chip for chip in chips if chip.netns == netns]
            height = TITLE + PAD + sum(chip.height for chip in mine) + GAP * (len(mine) - 1)
            self.figure.boxes.append(Box("pod", netns, x, y, width, height))
            _place(mine, x + PAD, y + TITLE, width - 2 * PAD)
            y += height + GAP
        rest = [chip for chip in chips if chip.netns not in self.scene.node_of]
        _place(rest, x + PAD, bottom - self._tall(rest), width - 2 * PAD)
        return x + width

    # -- between the nodes --

    def _between(self) -> tuple[list[str], dict[str, list[str]]]:
        """Switches and routers in a row, and above each those that a packet enters from it and leaves to it again."""
        ways = [hop.seen.netns for hop in (*self.trace.forward, *self.trace.back)]
        middle = [n for n in dict.fromkeys(ways) if self.scene.site(n) not in (self.source, self.target)]
        roofs: dict[str, list[str]] = {}
        for name in middle:
            around = {b for a, b in zip(ways, ways[1:], strict=False) if a == name != b}
            around |= {a for a, b in zip(ways, ways[1:], strict=False) if b == name != a}
            if len(around) == 1 and (over := next(iter(around))) in middle and name not in roofs:
                roofs.setdefault(over, []).append(name)
        above = {name for names in roofs.values() for name in names}
        return [name for name in middle if name not in above], roofs

    def _row(self, name: str) -> list[Chip]:
        return [chip for (netns, _), chip in self.chips.items() if netns == name]

    def _box_height(self, name: str) -> float:
        return TITLE + BELOW + max(chip.height for chip in self._row(name))

    def _passed(self, name: str, above: Sequence[str], x: float, bottom: float, level: float) -> float:
        """The box of a switch or router, `level` high as all are, and those above it; returns where they end."""
        row = self._row(name)
        over = {id(chip): self._over(chip, above) for chip in row}
        at = x + PAD
        y = bottom - level
        for chip in row:
            chip.width = max([chip.least, *(other.least for other in over[id(chip)])])
            chip.x, chip.y = at, y + TITLE
            at += chip.width + GAP
        width = max(at - GAP + PAD - x, len(name) * NAME + 2 * PAD)
        self.figure.boxes.append(Box("between", name, x, y, width, bottom - y))
        end = x + width
        for other in above:
            y -= GAP + self._box_height(other)
            end = max(end, self._roof(other, row, over, y))
        return end

    def _roof(self, name: str, row: Sequence[Chip], over: dict[int, list[Chip]], y: float) -> float:
        """The box of a router above a switch, each device above the port that it is wired to; returns where it ends."""
        chips = self._row(name)
        wired = {id(chip): one for one in row for chip in over[id(one)]}
        end = max((wired[id(chip)].right for chip in chips if id(chip) in wired), default=row[0].x)
        for chip in chips:
            under = wired.get(id(chip))
            chip.x, chip.y, chip.width = (under.x, y, under.width) if under else (end + GAP, y, chip.least)
            chip.y += TITLE
            end = max(end, chip.right)
        first = min(chip.x for chip in chips)
        width = max(end - first, len(name) * NAME) + 2 * PAD
        self.figure.boxes.append(Box("between", name, first - PAD, y, width, self._box_height(name)))
        return first - PAD + width

    def _over(self, chip: Chip, above: Sequence[str]) -> list[Chip]:
        """The devices above a switch's port that are wired to it: the next ones on a way."""
        found = []
        for hops in (self.trace.forward, self.trace.back):
            for a, b in zip(hops, hops[1:], strict=False):
                for one, other in ((a, b), (b, a)):
                    here = (one.seen.netns, one.seen.device) == (chip.netns, chip.device)
                    if here and other.seen.netns in above:
                        found.append(self.chips[other.seen.netns, other.seen.device])
        return found

    # -- lines --

    def _lines(self, hops: Sequence[Hop], way: str) -> None:
        for here, there in zip(hops, hops[1:], strict=False):
            a = self.chips[here.seen.netns, here.seen.device]
            b = self.chips[there.seen.netns, there.seen.device]
            if a is not b:
                self.figure.lines.append(Line(way, corners(a, b, way, self.figure.chips)))


def _place(chips: Sequence[Chip], x: float, y: float, width: float) -> None:
    for chip in chips:
        chip.x, chip.y, chip.width = x, y, width
        y += chip.height + GAP


def _turned(bar: Bar) -> Bar:
    """The same headers with their ends swapped."""
    found = []
    for kind, text in bar:
        word, _, rest = text.partition(" ")
        one, arrow, other = rest.partition(">")
        found.append((kind, f"{word} {other}>{one}" if arrow else text))
    return tuple(found)
