import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.motion.rhythm import log_normal_parts


@given(st.integers(1, 30), st.integers(0, 20), st.integers(0, 5000), st.integers(0, 2**32 - 1))
def test_parts_add_up_and_keep_the_least(count, least, spare, seed):
    parts = log_normal_parts(count * least + spare, count, np.random.default_rng(seed), least=least)
    assert parts.shape == (count,)
    assert parts.sum() == count * least + spare
    assert parts.min() >= least


@pytest.mark.parametrize(("total", "count"), [(9, 0), (9, 2)])
def test_refuses_the_impossible(total, count):
    with pytest.raises(ValueError):
        log_normal_parts(total, count, np.random.default_rng(0), least=5)
