"""Two reports of one machine: what became worse, by a permutation test on each figure, corrected for their number.

A figure is held as its ratio to `raw` of the same round where there is one, so that a machine that was slower on that
day is no regression.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from bench.machine import DECIDING
from bench.metrics import METRICS
from bench.plan import AGAIN, RAW
from bench.stats import holm, median, percentile, permutation
from bench.summary import Series, series
from kernel.errors import BadInput

WORSE, BETTER, EQUAL, UNKNOWN = "worse", "better", "no difference seen", "inconclusive"
CHANCE = 0.05
"""A difference with a smaller corrected p value is one."""
RESAMPLES = 1000
Report = Mapping[str, Any]
Key = tuple[str, str, str, str]


def compared(base: Report, head: Report, fail_over: float, force: bool = False) -> dict[str, Any]:
    """Rows for each figure that both have: its change (positive is worse), interval, p value, verdict. Raises BadInput
    for reports of different machines or links unless `force`."""
    notes = [_differ(name, base, head) for name in differing(base, head)]
    if notes and not force:
        remedy = "measure both on one machine, or compare all the same: --force"
        raise BadInput(f"not comparable: {'; '.join(notes)}", where="BASE HEAD", remedy=remedy)
    one, other = ratios(base), ratios(head)
    rows = [_row(key, one[key], other[key]) for key in one.keys() & other.keys()]
    rows.sort(key=lambda row: (row["setting"], row["metric"], row["scenario"], row["mode"]))
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row |= {"p": p, "verdict": _verdict(row, p, fail_over)}
    gone = sorted({key[2] for key in one.keys() - other.keys()})
    notes += [f"{mode} is in BASE and not in HEAD in full" for mode in gone]
    return {"rows": rows, "fail_over": fail_over, "notes": notes}


def differing(base: Report, head: Report) -> list[str]:
    """What must agree and does not."""
    names = [name for name in DECIDING if base["machine"].get(name) != head["machine"].get(name)]
    plans = base["run"]["plan"], head["run"]["plan"]
    return names + [name for name in ("rate_bps",) if plans[0][name] != plans[1][name]]


def _differ(name: str, base: Report, head: Report) -> str:
    values = [report["machine"].get(name, report["run"]["plan"].get(name)) for report in (base, head)]
    return f"{name} is {values[0]!r} and {values[1]!r}"


def ratios(report: Report) -> dict[Key, list[float]]:
    """A figure's values, round by round against `raw` where that was measured; the baselines themselves left out."""
    every = series(report["samples"])
    return {
        key: _against(values, every.get((key[0], key[1], RAW, RAW), {}))
        for key, values in every.items()
        if key[2] not in (RAW, AGAIN)
    }


def _against(values: Series, base: Series) -> list[float]:
    common = [values[number] / base[number] for number in sorted(values.keys() & base.keys()) if base[number]]
    return common or list(values.values())


def _row(key: Key, base: list[float], head: list[float]) -> dict[str, Any]:
    setting, metric, mode, scenario = key
    sign = 1 if METRICS[metric].better == "lower" else -1
    rng = Random(1)
    drawn = sorted(
        sign * (median(rng.choices(head, k=len(head))) / median(rng.choices(base, k=len(base))) - 1)
        for _ in range(RESAMPLES)
    )
    return {
        "setting": setting,
        "metric": metric,
        "mode": mode,
        "scenario": scenario,
        "base": median(base),
        "head": median(head),
        "change": sign * (median(head) / median(base) - 1),
        "low": percentile(drawn, 2.5),
        "high": percentile(drawn, 97.5),
        "p": permutation(base, head, rng),
    }


def _verdict(row: Mapping[str, Any], p: float, fail_over: float) -> str:
    """Told apart and by more than `fail_over`: worse or better. Not told apart, but the interval reaches beyond it:
    inconclusive, which is no pass."""
    if p < CHANCE and abs(row["change"]) > fail_over:
        return WORSE if row["change"] > 0 else BETTER
    return UNKNOWN if row["high"] > fail_over else EQUAL


def status(found: Mapping[str, Any]) -> int:
    """0; 1 when something is worse; 2 when there was nothing to compare."""
    if not found["rows"]:
        return 2
    return 1 if any(row["verdict"] == WORSE for row in found["rows"]) else 0
