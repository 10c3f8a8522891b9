"""What a measurement costs: CPU time as the kernel accounts it, context switches, bytes on a link."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KINDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""The columns of /proc/stat's first line (proc(5))."""
BUSY = ("user", "nice", "system", "irq", "softirq")
QUIET = 0.2
"""CPU seconds a second that other things may take before a cost cannot be told from theirs."""


@dataclass(frozen=True)
class Clock:
    """Seconds of CPU time by kind of all CPUs together, context switches, and when that was (monotonic)."""

    cpu: Mapping[str, float]
    switches: int
    at: float

    @classmethod
    def now(cls) -> Clock:
        """As /proc/stat has it."""
        return cls(*parse(Path("/proc/stat").read_text(), os.sysconf("SC_CLK_TCK")), time.monotonic())


@dataclass(frozen=True)
class Spent:
    """The difference of two clocks; `background` is the part that the machine would have spent anyway."""

    cpu: Mapping[str, float]
    switches: int
    seconds: float
    background: float = 0.0

    @property
    def known(self) -> bool:
        """The machine had little else to do, so that the figures are of what was measured."""
        return self.background <= QUIET * self.seconds

    @property
    def busy(self) -> float:
        """User, system, irq and softirq seconds, without the background."""
        return max(0.0, sum(self.cpu[kind] for kind in BUSY) - self.background)


def parse(text: str, ticks: int) -> tuple[dict[str, float], int]:
    """CPU seconds and context switches out of /proc/stat with `ticks` a second."""
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    return {kind: int(value) / ticks for kind, value in zip(KINDS, lines["cpu"], strict=False)}, int(lines["ctxt"][0])


def between(start: Clock, end: Clock, idle_busy: float = 0.0) -> Spent:
    """What was spent from `start` to `end`; `idle_busy` is the share of a second that is busy when nothing is
    measured."""
    seconds = end.at - start.at
    cpu = {kind: end.cpu[kind] - start.cpu[kind] for kind in end.cpu}
    return Spent(cpu, end.switches - start.switches, seconds, idle_busy * seconds)


def background(seconds: float = 0.2) -> float:
    """How many CPU seconds a second the machine spends while this process waits."""
    start = Clock.now()
    time.sleep(seconds)
    spent = between(start, Clock.now())
    return spent.busy / spent.seconds


def sent(namespaces: Any, name: str, device: str) -> tuple[int, int]:
    """Bytes and packets that `device` in namespace `name` has transmitted (proc_net_dev(5))."""
    with namespaces.inside(name):
        text = Path("/proc/thread-self/net/dev").read_text()
    return parse_sent(text, device)


def parse_sent(text: str, device: str) -> tuple[int, int]:
    """The same out of the file's text; KeyError when there is no such device."""
    rows = {head.strip(): rest.split() for head, _, rest in (line.partition(":") for line in text.splitlines()) if rest}
    return int(rows[device][8]), int(rows[device][9])
