"""The classic head against the 2024 system's numbers, its gate and its time axis."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.motion import LipKeypoints, MouthControls, classic_head_pose, kalman_smooth
from liveportrait_talker.motion.classic import classic_moves, lip_gate, lip_pair
from liveportrait_talker.motion.rotation import matrix_from_degrees


def test_goldens(golden):
    """With the time axis of the goldens, which ends at int(T / fps) (docs/earlier_systems.md, defect 40)."""
    g = golden("talker_headpose")
    names = sorted({key.split(".")[0] for key in g})
    assert names
    for n in names:
        c = {key.split(".", 1)[1]: value for key, value in g.arrays.items() if key.startswith(n + ".")}
        moves = classic_moves(c["t"], c["degree"], c["frequency"], c["jitter"])
        np.testing.assert_allclose(moves.T, c["moves_pyr"], atol=1e-5)
        weight = lip_gate(lip_pair(LipKeypoints(c["lip_exp"])), float(c["threshold"]), int(c["window_size"]))
        np.testing.assert_allclose(weight, c["weight"], atol=1e-6)
        angles = moves * weight[:, None] + c["source_pyr"]
        np.testing.assert_allclose(angles.T, c["angles_pyr"], atol=1e-5)
        np.testing.assert_allclose(matrix_from_degrees(angles), c["R"], atol=1e-6)
        np.testing.assert_allclose(kalman_smooth(matrix_from_degrees(angles)), c["R_smoothed"], atol=1e-6)


def test_liveportrait_goldens(golden):
    g = golden("liveportrait_talker")
    lips = g["input.lips_long"].copy()
    lips[20:35] = lips[20]  # silence, as the golden was made
    np.testing.assert_allclose(lip_gate(lips, 0.02, 7), g["headpose_weight"], atol=1e-6)
    t = g["headpose_t"]
    moves = classic_moves(t, np.full(3, 2.0), np.full(3, 0.8), np.ones((3, len(t))))
    for axis in moves.T:
        np.testing.assert_allclose(axis, g["headpose_moves"], atol=1e-5)


def talking(frames: int, seed: int = 0) -> LipKeypoints:
    return LipKeypoints(np.random.default_rng(seed).normal(0, 0.02, (frames, 6, 3)))


@given(st.integers(0, 200), st.floats(10, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_length_and_rate_is_finite_and_bounded(frames, fps, seed):
    for mouth in (talking(frames), MouthControls.neutral(frames)):
        pose = classic_head_pose(mouth, fps, np.random.default_rng(seed))
        assert pose.shape == (frames, 3)
        assert np.isfinite(pose).all()
        assert np.abs(pose).max(initial=0) <= 3 + 1e-9


def test_short_clips_move_and_time_is_in_seconds():
    short = classic_moves(np.arange(20) / 25, np.full(3, 3.0), np.ones(3), np.zeros((3, 20)))
    assert np.ptp(short, axis=0).min() > 1
    # At 1 Hz with an ease of period 2 s, the third second repeats the first.
    long = classic_moves(np.arange(73) / 25, np.full(3, 3.0), np.ones(3), np.zeros((3, 73)))
    np.testing.assert_allclose(long[50:], long[:23], atol=1e-9)


@pytest.mark.parametrize("window", range(1, 12))
@pytest.mark.parametrize("frames", [1, 2, 5, 50])
def test_gate_keeps_the_length_for_any_window(window, frames):
    weight = lip_gate(lip_pair(talking(frames)), 0.02, window)
    assert weight.shape == (frames,)
    assert ((weight >= -1e-12) & (weight <= 1 + 1e-12)).all()


def test_gate_closes_in_silence_and_opens_for_both_mouth_types():
    assert lip_gate(lip_pair(MouthControls.neutral(60)), 0.02, 7)[4:-4].max() < 1e-12
    assert lip_gate(lip_pair(LipKeypoints(np.full((60, 6, 3), 0.3))), 0.02, 7)[4:-4].max() < 1e-12
    rng = np.random.default_rng(1)
    for column in range(4):
        values = np.zeros((100, 5))
        values[50:, column] = rng.uniform(0, 0.2, 50)
        weight = lip_gate(lip_pair(MouthControls(values)), 0.02, 7)
        assert weight[5:44].max() < 1e-9
        assert weight[55:90].mean() > 0.75
    values = np.zeros((100, 5))
    values[:, 4] = rng.uniform(0, 0.2, 100)  # a smile is not speech
    assert lip_gate(lip_pair(MouthControls(values)), 0.02, 7)[5:-5].max() < 1e-9


class MeanDraws:
    """A generator that draws the middle of each range and no jitter."""

    def uniform(self, low, high, size):
        return np.full(size, (low + high) / 2)

    def standard_normal(self, shape):
        return np.zeros(shape)


def test_time_does_not_depend_on_the_length():
    """Defect 40: not stretched to whole seconds, and not at rest in clips under a second."""
    mouth = talking(100).offsets
    heads = {n: classic_head_pose(LipKeypoints(mouth[:n]), 25.0, MeanDraws()) for n in (20, 74, 75, 99)}
    for frames in (20, 74, 99):
        both = min(frames, 75) - 6
        np.testing.assert_allclose(heads[frames][:both], heads[75][:both], atol=0.02)
    assert np.ptp(heads[20], axis=0).min() > 0.5
