from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import bootstrap, holm, median, percentile, permutation, ratio, slope

numbers = st.lists(st.floats(-1e9, 1e9), min_size=1)


def test_median() -> None:
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2.5


@given(numbers, st.floats(0.1, 100))
def test_percentile_is_the_smallest_value_that_enough_do_not_exceed(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(v <= found for v in values) * 100 >= percent * len(values) * (1 - 1e-9)
    assert percentile(values, 100) == max(values)


def test_ratio() -> None:
    assert ratio(3, 2) == 1.5
    assert ratio(3, 0) is None


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=20), st.integers(0, 99))
def test_an_interval_holds_its_median_and_stays_within_the_values(values: list[float], seed: int) -> None:
    found = bootstrap(values, random.Random(seed), 200)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)
    assert found == bootstrap(values, random.Random(seed), 200)


def test_an_interval_narrows_with_more_values() -> None:
    drawn = random.Random(3)
    few = bootstrap([drawn.gauss(100, 10) for _ in range(5)], random.Random(1))
    many = bootstrap([drawn.gauss(100, 10) for _ in range(200)], random.Random(1))
    assert many.half_width < few.half_width / 2


@given(st.lists(st.floats(0, 100), min_size=3, max_size=5))
def test_equal_samples_are_never_different(values: list[float]) -> None:
    assert permutation(values, values, random.Random(1)) > 0.5


def test_a_permutation_test_is_exact_where_it_can_be() -> None:
    # of 20 ways to split six values in two halves, two are as far apart as low against high
    assert permutation([1, 2, 3], [7, 8, 9], random.Random(1)) == 2 / 20
    drawn = random.Random(5)
    base, head = ([drawn.gauss(middle, 1) for _ in range(15)] for middle in (10, 13))
    assert permutation(base, head, random.Random(1), count=500) < 0.01


def test_holm_is_no_stricter_than_bonferroni_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.floats(-2, 3), st.floats(-5, 5))
def test_the_slope_of_a_line(rise: float, start: float) -> None:
    xs = [1.0, 2.0, 4.0, 8.0]
    assert slope(xs, [start + rise * x for x in xs]) == pytest.approx(rise, abs=1e-9)
