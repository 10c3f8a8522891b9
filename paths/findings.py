"""Findings of the flat network's rules as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paths.paint import Paint, wrapped
from paths.rules import Finding

TITLE = "rules of a flat network (article, chapter 1.2)"


def listed(found: Sequence[Finding], color: bool = False, width: int = 100) -> str:
    """One line a rule and family; below it why it does not hold, or what is otherwise than documented."""
    paint = Paint(color)
    size = max(len(one.rule) for one in found)
    lines = [paint(TITLE, "bold")]
    for one in found:
        lines.append(f"{_mark(one, paint)} {one.family}  {one.rule:<{size}}  {_verdict(one)}")
        lines += _said(one, paint, width)
    return "\n".join(lines)


def _mark(one: Finding, paint: Paint) -> str:
    if one.agrees:
        return paint("✔", "green") if one.holds else paint("○", "magenta")
    return paint("✘", "bold", "red")


def _verdict(one: Finding) -> str:
    if one.holds:
        return f"{one.tried} tried"
    return "no, as documented" if one.agrees else "not as documented"


def _said(one: Finding, paint: Paint, width: int) -> Iterator[str]:
    for text in one.said:
        for line in wrapped(text, width - 8, 2):
            yield " " * 8 + paint(line, "dim")
