"""Random intervals: sum, minimum, refused arguments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.motion.random_intervals import draw_intervals


@given(st.integers(1, 30), st.integers(0, 20), st.integers(0, 5000), st.integers(0, 2**32 - 1))
def test_parts_add_up_and_respect_the_minimum(count, least, spare, seed):
    parts = draw_intervals(count * least + spare, count, np.random.default_rng(seed), least=least)
    assert parts.shape == (count,)
    assert parts.sum() == count * least + spare
    assert parts.min() >= least


@pytest.mark.parametrize(("total", "count"), [(9, 0), (9, 2)])
def test_impossible_splits_are_refused(total, count):
    with pytest.raises(ValueError):
        draw_intervals(total, count, np.random.default_rng(0), least=5)
