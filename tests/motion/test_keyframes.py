"""Head angles from keyframes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.motion import keyframe_angles


@pytest.mark.parametrize("case", ["one", "two", "zigzag"])
def test_agrees_with_sadtalker(golden, case):
    """Within two steps: SadTalker counts in whole frames, arrives early and holds the last value."""
    z = golden("sadtalker_extras")
    wanted = z[f"camera.{case}.out"]
    angles = keyframe_angles(z[f"camera.{case}.in"].tolist(), int(z[f"camera.{case}.frames"]))
    step = np.abs(np.diff(wanted)).max()
    assert angles[0] == wanted[0]
    np.testing.assert_allclose(angles, wanted, atol=2 * step)


@given(st.lists(st.floats(-90, 90), min_size=1, max_size=8), st.integers(0, 300))
def test_any_list_at_constant_speed(values, frames):
    angles = keyframe_angles(values, frames)
    assert angles.shape == (frames,) and angles.dtype == np.float64
    assert np.isfinite(angles).all()
    if frames > 1:
        assert angles[0] == values[0] and angles[-1] == pytest.approx(values[-1])
        speed = np.abs(np.diff(values)).sum() / (frames - 1)
        steps = np.abs(np.diff(angles))
        assert steps.max() <= speed + 1e-9
        # A step is shorter only where the angle turns within a frame.
        assert (steps < speed - 1e-9).sum() <= max(len(values) - 2, 0)


def test_each_value_is_reached():
    angles = keyframe_angles([0, 10, 0, -5.5], 52)
    assert angles.max() == pytest.approx(10) and angles.min() == -5.5
    np.testing.assert_allclose(np.abs(np.diff(angles)), 0.5)


@pytest.mark.parametrize("values", [[7.5], [7.5, 7.5], [7.5, 7.5, 7.5]])
@pytest.mark.parametrize("frames", [0, 1, 2, 30])
def test_constant_lists_are_held(values, frames):
    np.testing.assert_array_equal(keyframe_angles(values, frames), np.full(frames, 7.5))


def test_equal_neighbours_take_no_time():
    np.testing.assert_array_equal(keyframe_angles([0, 0, 10, 10, 5], 40), keyframe_angles([0, 10, 5], 40))


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_empty_and_infinite_lists_are_refused(values):
    with pytest.raises(ValueError, match="angles"):
        keyframe_angles(values, 10)
