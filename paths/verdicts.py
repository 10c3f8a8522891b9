"""Verdicts of `verify` as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paths.paint import Paint, wrapped
from paths.verify import Verdict

COLUMNS = ("pair", "IP", "way", "kind", "stages")


def table(found: Sequence[Verdict], color: bool = False, width: int = 100) -> str:
    """One line a path; below, the first divergence of each that differs."""
    paint = Paint(color)
    rows = [COLUMNS, *(_row(one) for one in found)]
    sizes = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    marks = ["  ", *(paint("✔ ", "green") if one.agrees else paint("✘ ", "bold", "red") for one in found)]
    lines = []
    for number, (mark, row) in enumerate(zip(marks, rows, strict=True)):
        text = "  ".join(f"{cell:<{size}}" for cell, size in zip(row, sizes, strict=True)).rstrip()
        lines.append(mark + paint(text, *(() if number else ("dim",))))
    for one in found:
        if not one.agrees:
            lines += ["", *_divergence(one, paint, width)]
    good = sum(one.agrees for one in found)
    return "\n".join([*lines, f"{good} of {len(found)} paths are as documented"])


def _row(one: Verdict) -> tuple[str, ...]:
    return f"{one.source} → {one.target}", str(one.family), one.way, one.kind, str(len(one.stages))


def _divergence(one: Verdict, paint: Paint, width: int) -> Iterator[str]:
    yield paint(f"{one.source} → {one.target}, IPv{one.family}, {one.way} ({one.kind})", "bold")
    said = [("documented", one.expected), ("observed", one.observed)]
    if one.trace.reason:
        said.append(("why", f"{one.trace.place}: {one.trace.reason}"))
    said += [("not as wanted", line) for line in one.trace.differences]
    for name, text in said:
        lines = list(wrapped(text, width - 17, 2))
        yield f"  {paint(f'{name:<13}', 'dim')}  {lines[0]}"
        yield from (" " * 17 + line for line in lines[1:])
