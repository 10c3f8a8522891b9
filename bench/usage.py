"""CPU time of the process that is the embedded kernel, read on the machine while the guest measures.

The guest's own /proc/stat counts its ticks; what a packet costs the machine is what its processes are charged.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.metrics import METRICS

TICKS = os.sysconf("SC_CLK_TCK")
Point = tuple[float, float]
"""Time of day and CPU seconds so far."""


class Usage:
    """Samples the descendants of a lab's keeper; without one it does nothing."""

    def __init__(self, keeper: int | None) -> None:
        self._keeper = keeper
        self._points: list[Point] = []

    def look(self) -> None:
        """Takes a sample."""
        if self._keeper is not None:
            self._points.append((time.time(), sum(_spent(pid) for pid in descendants(self._keeper))))

    def joined(self, lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The lines, their samples' costs replaced by those of the kernel's process."""
        return [charged(line, self._points) if line["kind"] == "sample" else dict(line) for line in lines]


def charged(line: Mapping[str, Any], points: Sequence[Point]) -> dict[str, Any]:
    """One sample with the CPU costs that `points` show for it; as it is where they do not reach."""
    spent = between(points, line["began"], line["ended"])
    guest = sum(line["more"].get("cpu_s", {}).get(kind, 0.0) for kind in ("user", "system", "irq", "softirq", "nice"))
    if spent is None or not guest:
        return dict(line)
    values = dict(line["values"])
    for name in (name for name in values if METRICS[name].unit in ("s/GB", "s/M")):
        values[name] *= spent / guest
    return {**line, "values": values, "more": {**line["more"], "machine_cpu_s": spent}}


def between(points: Sequence[Point], start: float, end: float) -> float | None:
    """CPU seconds from `start` to `end`, in between the points by straight lines; None outside of them."""
    first, last = _at(points, start), _at(points, end)
    return None if first is None or last is None else last - first


def _at(points: Sequence[Point], when: float) -> float | None:
    index = bisect_left(points, (when, 0.0))
    if not 0 < index < len(points):
        return None
    (t0, c0), (t1, c1) = points[index - 1], points[index]
    return c0 + (c1 - c0) * (when - t0) / (t1 - t0) if t1 > t0 else c1


def descendants(pid: int) -> list[int]:
    """The process and all below it (proc_pid_task(5), children)."""
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        for task in _tasks(one):
            try:
                left += map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split())
            except OSError:
                continue
    return found


def _tasks(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def _spent(pid: int) -> float:
    """User and system seconds of a process and of its children that were waited for (proc_pid_stat(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS
