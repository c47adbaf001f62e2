import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.face.tracked import TrackedFace, forth_and_back


@given(st.integers(1, 400), st.integers(1, 120), st.integers(0, 50))
def test_forth_and_back_stays_inside_and_never_jumps(frames, available, start):
    start = min(start, available - 1)
    indices = forth_and_back(frames, available, start)
    assert len(indices) == frames
    assert indices.min() >= 0 and indices.max() < available
    if available > 1:
        assert np.abs(np.diff(indices)).max(initial=0) <= 2


def test_a_source_that_is_long_enough_is_played_unchanged():
    assert forth_and_back(50, 50).tolist() == list(range(50))
    assert forth_and_back(30, 50, start=20).tolist() == list(range(20, 50))


def test_the_turn_is_soft():
    indices = forth_and_back(240, 100)
    speed = np.abs(np.diff(indices.astype(float)))
    around = speed[95:104]
    assert around.mean() < 0.6, "it slows down at the turn"
    assert np.diff(indices).min() < 0, "and comes back"


def test_a_face_says_what_is_wrong_with_its_landmarks():
    with pytest.raises(ValueError, match=r"478, 3"):
        TrackedFace(np.zeros((468, 3)))
