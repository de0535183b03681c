"""Who is paired with whom, beside an independent solver of the same problem."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from service.assignment import assignment

shapes = st.tuples(st.integers(0, 9), st.integers(0, 9))
gains = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.sampled_from([0, 0, 0, 0.5, 0.7, 1, 1.9])))


@given(gains)
def test_the_gain_is_the_greatest_there_is_and_nobody_is_taken_twice_or_for_nothing(values: np.ndarray) -> None:
    pairs = assignment(values)
    rows, columns = linear_sum_assignment(values, maximize=True)
    assert sum(values[pair] for pair in pairs) == pytest.approx(values[rows, columns].sum())
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(values[pair] > 0 for pair in pairs)


@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_beside_a_hundred_in_one_crowd_is_solved_as_well(seed: int) -> None:
    values = np.random.default_rng(seed).random((100, 100))
    rows, columns = linear_sum_assignment(values, maximize=True)
    assert sum(values[pair] for pair in assignment(values)) == pytest.approx(values[rows, columns].sum())
