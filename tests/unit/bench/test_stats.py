from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.stats import median, percentile, ratio

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
