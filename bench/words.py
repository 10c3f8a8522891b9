"""Figures in words: units with their prefixes, ratios with their intervals. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def amount(value: float, unit: str) -> str:
    """A value with its unit, three digits.

    >>> amount(2.345e9, "bit/s"), amount(23.456, "us"), amount(12.3456, "s/GB")
    ('2.35 Gbit/s', '23.5 us', '12.3 s/GB')
    """
    if unit in ("bit/s", "1/s"):
        for size, prefix in PREFIXES:
            if value >= size:
                return f"{three(value / size)} {prefix}{unit}"
    return f"{three(value)} {unit}"


def three(value: float) -> str:
    """Three digits, never in powers of ten."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def ratio(found: Mapping[str, Any] | None, digits: int = 2) -> str:
    """A ratio with its interval, or a dash.

    >>> ratio({"low": 0.8, "median": 0.82, "high": 0.85, "n": 5})
    '0.82 [0.80, 0.85]'
    """
    if found is None:
        return "-"
    return f"{found['median']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def interval(low: float, high: float) -> str:
    """Bounds of a change, signed.

    >>> interval(-0.123, 0.05)
    '[-12.3%, +5.0%]'
    """
    return f"[{low:+.1%}, {high:+.1%}]"


def machine(found: Mapping[str, Any]) -> str:
    """What it was measured on, in one line."""
    if not found:
        return "unknown machine"
    where = f"kernel {found['kernel']} ({found['place']}), {found['cpus']} x {found['cpu']}"
    return f"{where}, firewall {found['firewall']}"
