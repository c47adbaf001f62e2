"""The Kalman smoother against a general one and the goldens; the moving average."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.motion.smoothing import kalman_smooth, moving_average


def matrix_kalman(track: np.ndarray, r: float, q: float) -> np.ndarray:
    """A general Kalman filter and Rauch–Tung–Striebel smoother with 1×1 matrices, one dimension at a time."""
    one = np.eye(1)
    out = np.empty_like(track, dtype=float)
    for d in range(track.shape[1]):
        means, covariances, ahead_means, ahead_covariances = [], [], [], []
        mean, covariance = track[:1, d], one
        for z in track[:, d : d + 1]:
            ahead_means.append(mean)
            ahead_covariances.append(covariance)
            gain = covariance @ one.T @ np.linalg.inv(one @ covariance @ one.T + r * one)
            mean = mean + gain @ (z - one @ mean)
            covariance = covariance - gain @ one @ covariance
            means.append(mean)
            covariances.append(covariance)
            mean, covariance = one @ mean, one @ covariance @ one.T + q * one
        smooth = means[-1]
        out[-1, d] = smooth[0]
        for i in range(len(track) - 2, -1, -1):
            pull = covariances[i] @ one.T @ np.linalg.inv(ahead_covariances[i + 1])
            smooth = means[i] + pull @ (smooth - ahead_means[i + 1])
            out[i, d] = smooth[0]
    return out


def test_liveportrait_goldens(golden):
    g = golden("liveportrait_smooth")
    cases = g.cases
    assert cases
    for case in cases:
        track = g[f"input.{case['input']}"][: case["frames"]]
        got = kalman_smooth(track, case["observation_variance"], case["process_variance"])
        want = g[case["array"]]
        np.testing.assert_allclose(got.reshape(want.shape), want, atol=1e-6, err_msg=case["array"])


def test_talker_goldens(golden):
    g = golden("talker_reference_pose")
    track = g["smooth.in"]
    np.testing.assert_allclose(kalman_smooth(track)[:, 0], g["smooth.out"], atol=1e-6)
    np.testing.assert_allclose(kalman_smooth(track, 1e-4)[:, 0], g["smooth.out_var1e-4"], atol=1e-6)


@given(st.integers(1, 150), st.integers(0, 2**32 - 1), st.floats(-8, 0), st.floats(-8, 0))
def test_equals_a_general_smoother(frames, seed, log_r, log_q):
    track = np.random.default_rng(seed).normal(size=(frames, 2))
    r, q = 10.0**log_r, 10.0**log_q
    np.testing.assert_allclose(kalman_smooth(track, r, q), matrix_kalman(track, r, q), atol=1e-6)


def test_constants_and_single_frames_are_unchanged():
    np.testing.assert_allclose(kalman_smooth(np.full((50, 2, 3), 7.0), 1.0), 7.0)
    np.testing.assert_array_equal(kalman_smooth(np.array([[1.0, 2.0]])), [[1.0, 2.0]])
    assert kalman_smooth(np.arange(9.0)).shape == (9,)


@pytest.mark.parametrize("arguments", [(np.zeros((0, 3)),), (np.zeros(3), 0.0), (np.zeros(3), 1.0, -1.0)])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(ValueError):
        kalman_smooth(*arguments)


@given(st.integers(1, 40), st.integers(1, 60), st.one_of(st.none(), st.floats(-5, 5)))
def test_moving_average_is_the_mean_of_its_window(frames, window, edge):
    x = np.random.default_rng(frames).normal(size=(frames, 2))
    got = moving_average(x, window, edge)
    for i in range(frames):
        rows = [
            x[j] if 0 <= j < frames else (np.full(2, edge) if edge is not None else x[0 if j < 0 else -1])
            for j in range(i - window // 2, i - window // 2 + window)
        ]
        np.testing.assert_allclose(got[i], np.mean(rows, axis=0), atol=1e-9)
