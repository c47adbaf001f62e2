"""Idle gaze: size, share and spacing of glances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.motion import idle_gaze


@given(st.integers(0, 1200), st.floats(10, 60), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_glances_are_small_and_rare(frames, fps, seed):
    gaze = idle_gaze(frames, fps, np.random.default_rng(seed))
    assert gaze.shape == (frames, 2)
    length = np.hypot(*gaze.T)
    assert length.max(initial=0) <= 0.35 + 1e-12
    if frames:
        assert not gaze[0].any() and not gaze[-1].any()
    if frames / fps >= 5:
        assert 0.75 <= np.mean(length == 0) <= 0.85


def test_glances_are_sideways_steps_four_seconds_apart():
    gaze = idle_gaze(15000, 25, np.random.default_rng(3))
    away = np.hypot(*gaze.T) > 0
    starts = np.flatnonzero(np.diff(away.astype(int)) == 1)
    assert 120 <= len(starts) <= 200
    steps = np.abs(np.diff(gaze, axis=0)).max(axis=1) > 0
    assert steps.sum() == 2 * len(starts)  # one step there and one back
    assert np.mean(np.abs(gaze[away, 0]) > np.abs(gaze[away, 1])) > 0.9
    assert 0.3 < np.mean(gaze[away, 0] > 0) < 0.7


def test_the_same_seed_gives_the_same_gaze():
    a, b = (idle_gaze(500, 25, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_a_frame_rate_of_zero_is_refused():
    with pytest.raises(ValueError):
        idle_gaze(10, 0, np.random.default_rng(0))
