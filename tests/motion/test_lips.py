"""Conversion between mouth controls and lip keypoints."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from liveportrait_talker.motion import LipKeypoints, MouthControls, controls_from_keypoints, keypoints_from_controls
from liveportrait_talker.motion.lips import LIP_KEYPOINTS
from liveportrait_talker.motion.track import MOUTH_CONTROLS

MOUTHS = arrays(np.float64, st.tuples(st.integers(0, 6), st.just(5)), elements=st.floats(-0.5, 0.5))


def offsets_of(control: str, size: float) -> np.ndarray:
    """Keypoint offsets (6, 3) of a single control."""
    values = np.zeros((1, 5))
    values[0, MOUTH_CONTROLS.index(control)] = size
    return keypoints_from_controls(MouthControls(values)).offsets[0]


@given(MOUTHS)
def test_controls_survive_the_round_trip(values):
    back = controls_from_keypoints(keypoints_from_controls(MouthControls(values)))
    np.testing.assert_allclose(back.values, values, atol=1e-5)


@given(MOUTHS, MOUTHS)
def test_the_map_is_linear(one, other):
    frames = min(len(one), len(other))
    one, other = one[:frames], other[:frames]
    both = keypoints_from_controls(MouthControls(one + 2 * other)).offsets
    parts = (
        keypoints_from_controls(MouthControls(one)).offsets + 2 * keypoints_from_controls(MouthControls(other)).offsets
    )
    np.testing.assert_allclose(both, parts, atol=1e-6)


@pytest.mark.parametrize(
    ("control", "size", "moves"),
    [
        ("open", 1.0, {(19, 1): 0.29, (19, 2): 0.029, (17, 1): -0.029}),
        ("spread", 0.06, {(20, 2): -0.015, (20, 1): -0.015, (14, 1): -0.015}),
        ("round", 0.1, {(14, 1): 0.015, (17, 2): -0.0075}),
        ("press", 0.1, {(19, 1): -0.022, (20, 1): 0.022}),
        ("corner_up", 0.1, {(20, 1): -0.013, (14, 1): -0.026, (17, 1): 0.00845, (17, 2): 0.0039}),
    ],
)
def test_each_control_moves_its_keypoints(control, size, moves):
    wanted = np.zeros((6, 3))
    for (keypoint, axis), value in moves.items():
        wanted[LIP_KEYPOINTS.index(keypoint), axis] = value
    np.testing.assert_allclose(offsets_of(control, size), wanted, atol=1e-7)


def test_small_errors_of_the_keypoints_stay_small():
    """Noise of the networks is about 0.001 canonical units."""
    noise = np.random.default_rng(0).normal(0, 0.001, (2000, 6, 3))
    assert controls_from_keypoints(LipKeypoints(noise)).values.std(axis=0).max() < 0.03


def test_other_motion_is_dropped():
    offsets = np.zeros((1, 6, 3))
    offsets[0, 0] = 0.1  # keypoint 6
    offsets[0, :, 0] = 0.1  # sideways
    np.testing.assert_allclose(controls_from_keypoints(LipKeypoints(offsets)).values, 0, atol=1e-12)
