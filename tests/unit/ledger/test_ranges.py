"""Ranges of job indices."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dfbatch.ledger.ranges import decode_ranges, in_ranges

RANGES = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), max_size=6).map(
    lambda steps: [
        [gap + sum(a + b for a, b in steps[:k]), gap + n + sum(a + b for a, b in steps[:k])]
        for k, (gap, n) in enumerate(steps)
    ]
)


@given(RANGES)
def test_an_index_is_in_the_ranges_if_they_name_it(ranges):
    named = set(decode_ranges(ranges).tolist())
    indices = np.arange(80)
    assert in_ranges(indices, ranges).tolist() == [k in named for k in indices.tolist()]


def test_no_ranges_name_nothing():
    assert decode_ranges([]).tolist() == []
    assert not in_ranges(np.arange(3), []).any()
