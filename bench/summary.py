"""From samples to rows: medians, intervals, ratios to the baseline round by round, ranks, the noise floor. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from random import Random
from typing import Any

from bench.metrics import METRICS, Metric
from bench.plan import AGAIN, RAW
from bench.rounds import paired
from bench.stats import Interval, bootstrap

Row = dict[str, Any]
Series = dict[int, float]
"""Value by round."""
NO_DIFFERENCE, TOO_FEW = "no difference seen", "too few rounds"
LEAST = 3
"""Rounds without which nothing is told apart."""
BASELINE, CONTROL, ALONE = "baseline", "control", "no baseline"


def series(samples: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str, str, str], Series]:
    """Values by (setting, metric, mode, scenario)."""
    found: dict[tuple[str, str, str, str], Series] = {}
    for one in samples:
        for metric, value in one["values"].items():
            key = (one["setting"], metric, one["mode"], one["scenario"])
            found.setdefault(key, {})[one["round"]] = value
    return found


def rows(samples: Sequence[Mapping[str, Any]], seed: int = 1) -> list[Row]:
    """A row for each setting, metric, mode and scenario: median and interval, ratio to `raw`, verdict, rank."""
    every = series(samples)
    found = []
    for (setting, metric, mode, scenario), values in every.items():
        base = every.get((setting, metric, RAW, RAW), {})
        floor = noise(every, setting, metric, seed)
        against = paired(values, base, seed) if mode != RAW else None
        found.append(
            {
                "setting": setting,
                "metric": metric,
                "unit": METRICS[metric].unit,
                "mode": mode,
                "scenario": scenario,
                **asdict(bootstrap(list(values.values()), Random(seed))),
                "against_raw": asdict(against) if against else None,
                "noise": floor,
                "verdict": verdict(METRICS[metric], mode, against, floor),
            }
        )
    for row in found:
        row["rank"] = _rank(row, found, every, seed)
    return found


def noise(every: Mapping[tuple[str, str, str, str], Series], setting: str, metric: str, seed: int) -> float | None:
    """The smallest relative difference that this run could have seen: how far from 1 the interval of the second
    baseline over the first reaches. None without a control."""
    found = paired(every.get((setting, metric, AGAIN, RAW), {}), every.get((setting, metric, RAW, RAW), {}), seed)
    return max(abs(found.low - 1), abs(found.high - 1)) if found else None


def apart(ratio: Interval | None, floor: float | None) -> bool:
    """The two are told apart: the interval leaves out 1, and the median is beyond the noise floor."""
    return ratio is not None and ratio.n >= LEAST and not ratio.holds(1.0) and abs(ratio.median - 1) > (floor or 0.0)


def verdict(metric: Metric, mode: str, against: Interval | None, floor: float | None) -> str:
    """The mode against `raw` in words."""
    if mode == RAW:
        return BASELINE
    if mode == AGAIN:
        return CONTROL
    if against is None:
        return ALONE
    if against.n < LEAST:
        return TOO_FEW
    if not apart(against, floor):
        return NO_DIFFERENCE
    return "better" if (against.median > 1) == (metric.better == "higher") else "worse"


def _rank(row: Row, every: Sequence[Row], values: Mapping[tuple[str, str, str, str], Series], seed: int) -> int | None:
    """1 + how many are surely better in the same setting, metric and scenario; pairs not told apart share a rank."""
    if row["mode"] in (RAW, AGAIN):
        return None
    better = 0
    for other in every:
        same = all(other[name] == row[name] for name in ("setting", "metric", "scenario"))
        if same and other["mode"] != row["mode"]:
            better += _beats(other, row, values, seed)
    return 1 + better


def _beats(one: Row, other: Row, values: Mapping[tuple[str, str, str, str], Series], seed: int) -> bool:
    def of(row: Row) -> Series:
        return values[row["setting"], row["metric"], row["mode"], row["scenario"]]

    found = paired(of(one), of(other), seed)
    if found is None or not apart(found, one["noise"]):
        return False
    return (found.median > 1) == (METRICS[one["metric"]].better == "higher")


def ties(found: Sequence[Row], samples: Sequence[Mapping[str, Any]], seed: int = 1) -> list[Row]:
    """The pairs of modes that were not told apart: never ranked."""
    values = series(samples)
    said = []
    ranked = [row for row in found if row["rank"] is not None]
    for index, one in enumerate(ranked):
        for other in ranked[index + 1 :]:
            same = all(other[name] == one[name] for name in ("setting", "metric", "scenario"))
            if same and not _beats(one, other, values, seed) and not _beats(other, one, values, seed):
                said.append(
                    {name: one[name] for name in ("setting", "metric", "scenario")}
                    | {"modes": [one["mode"], other["mode"]]}
                )
    return said


def spreads(samples: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The latency distribution of all rounds together, by setting, probe, mode and scenario."""
    found: dict[tuple[str, str, str, str], dict[float, int]] = {}
    for one in samples:
        if slots := one["more"].get("slots"):
            counts = found.setdefault((one["setting"], one["probe"], one["mode"], one["scenario"]), {})
            for bound, count in slots:
                counts[bound] = counts.get(bound, 0) + count
    names = ("setting", "probe", "mode", "scenario")
    return [dict(zip(names, key, strict=True)) | {"slots": sorted(map(list, c.items()))} for key, c in found.items()]
