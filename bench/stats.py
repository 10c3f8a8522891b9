"""The statistics of the benchmarks: medians, bootstrap intervals, a permutation test. Pure; given random numbers."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

RESAMPLES = 2000
"""Enough for two digits of a 95 % interval (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13)."""
LEVEL = 95.0
EXACT = 5000
"""Up to this many ways to split the samples, a permutation test goes through all of them."""


@dataclass(frozen=True)
class Interval:
    """A median with the bounds of its bootstrap interval, out of `n` values."""

    low: float
    median: float
    high: float
    n: int

    def holds(self, value: float) -> bool:
        """The value is not excluded."""
        return self.low <= value <= self.high

    @property
    def half_width(self) -> float:
        """Half of the interval as a share of the median; infinite where that says nothing (fewer than 3 values)."""
        if self.n < 3 or not self.median:
            return float("inf")
        return (self.high - self.low) / 2 / abs(self.median)


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle ones."""
    ordered = sorted(values)
    half, odd = divmod(len(ordered), 2)
    return ordered[half] if odd else (ordered[half - 1] + ordered[half]) / 2


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed (nearest rank).

    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 99)
    (2, 4)
    """
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


def ratio(value: float, base: float) -> float | None:
    """`value` against `base`; None when there is nothing to divide by."""
    return value / base if base else None


def bootstrap(values: Sequence[float], rng: random.Random, resamples: int = RESAMPLES) -> Interval:
    """The median of at least one value with its percentile-bootstrap interval at LEVEL percent.

    It never reaches beyond the least and the largest value, so few values make it too narrow rather than too wide:
    read `n` beside it."""
    tail = (100 - LEVEL) / 2
    made = sorted(median(rng.choices(values, k=len(values))) for _ in range(resamples if len(values) > 1 else 1))
    return Interval(percentile(made, tail), median(values), percentile(made, 100 - tail), len(values))


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The least-squares slope of `ys` over `xs`; over logarithms it is the exponent of a growth."""
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle_x) ** 2 for x in xs)
    return sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread


def permutation(base: Sequence[float], head: Sequence[float], rng: random.Random, count: int = EXACT) -> float:
    """The two-sided p value that `base` and `head` come from one distribution: the share of all ways to split the
    pooled values (or of `count` drawn ones) in which the sum of ranks is as far from its mean as it is (Wilcoxon's
    rank-sum test, by permutation, so that ties are no trouble)."""
    order = ranks([*base, *head])
    middle = sum(order) * len(base) / len(order)
    seen = abs(sum(order[: len(base)]) - middle)

    def as_far(chosen: Sequence[float]) -> bool:
        return abs(sum(chosen) - middle) >= seen - 1e-9

    if comb(len(order), len(base)) <= count:
        ways = [as_far(chosen) for chosen in combinations(order, len(base))]
        return sum(ways) / len(ways)
    hits = sum(as_far(rng.sample(order, len(base))) for _ in range(count))
    return (hits + 1) / (count + 1)


def ranks(values: Sequence[float]) -> list[float]:
    """The place of each value in order, from 1; equal ones share the mean of theirs.

    >>> ranks([30, 10, 10])
    [3.0, 1.5, 1.5]
    """
    ordered = sorted(values)
    return [(2 * bisect_left(ordered, value) + ordered.count(value) + 1) / 2 for value in values]


def holm(chances: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979), in the order given."""
    order = sorted(range(len(chances)), key=lambda index: chances[index])
    corrected, worst = [0.0] * len(chances), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, chances[index] * (len(chances) - rank)))
        corrected[index] = worst
    return corrected
