"""Lines between the devices of a figure: straight where nothing is in between, else round what is. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from paths.figure import LANE, LINE, Chip

Points = tuple[tuple[float, float], ...]
APART = 4
"""Half the distance between the way out and the way back where they are side by side."""
UNDER = 8
"""How far below the devices a line passes."""


def corners(a: Chip, b: Chip, way: str, chips: Sequence[Chip]) -> Points:
    """From one device to the next."""
    side = APART if way == "out" else -APART
    left, right = max(a.x, b.x), min(a.right, b.right)
    top, bottom = max(a.y, b.y), min(a.bottom, b.bottom)
    if right - left > 2 * LANE and top > bottom:
        return _upright(a, b, left + LANE if way == "out" else right - LANE)
    if bottom - top > 2 * APART + 4:
        if _free(a, b, top, bottom, chips):
            return _level(a, b, (top + bottom) / 2 + side)
        return _under(a, b, way, max(one.bottom for one in chips if one.netns in (a.netns, b.netns)) + UNDER + side)
    return _bent(a, b, side)


def _upright(a: Chip, b: Chip, x: float) -> Points:
    return ((x, a.bottom), (x, b.y)) if b.y > a.y else ((x, a.y), (x, b.bottom))


def _level(a: Chip, b: Chip, y: float) -> Points:
    return ((a.right, y), (b.x, y)) if b.x > a.x else ((a.x, y), (b.right, y))


def _free(a: Chip, b: Chip, top: float, bottom: float, chips: Sequence[Chip]) -> bool:
    """No other device is between two that are side by side."""
    begin, end = (a.right, b.x) if b.x > a.x else (b.right, a.x)
    between = (one for one in chips if one is not a and one is not b and begin < one.x + one.width and one.x < end)
    return not any(one.y < bottom and top < one.bottom for one in between)


def _under(a: Chip, b: Chip, way: str, y: float) -> Points:
    """Below the devices in between."""
    here, there = ((one.x + LANE if way == "out" else one.right - LANE) for one in (a, b))
    return (here, a.bottom), (here, y), (there, y), (there, b.bottom)


def _bent(a: Chip, b: Chip, side: float) -> Points:
    """With two corners, halfway."""
    start, end = a.y + LINE / 2 + side, b.y + LINE / 2 + side
    begin, stop = (a.right, b.x) if b.x > a.x else (a.x, b.right)
    turn = (begin + stop) / 2 + side
    return (begin, start), (turn, start), (turn, end), (stop, end)
