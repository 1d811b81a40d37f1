from __future__ import annotations

import numpy as np

from dfbatch.samples.pictures import drawn_picture


def test_a_drawn_picture_is_colourful_and_follows_its_seed():
    one, same, other = (drawn_picture(np.random.default_rng(seed), 60, 80) for seed in (1, 1, 2))
    assert one.shape == (60, 80, 3)
    assert one.std(axis=(0, 1)).min() > 10
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
