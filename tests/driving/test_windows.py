"""Windows of expression coefficients and smoothing of poses."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from scipy.signal import savgol_filter

from liveportrait_talker.driving.sadtalker.smoothing import savitzky_golay, smooth_pose
from liveportrait_talker.driving.sadtalker.windows import coefficient_windows, window_index


def test_goldens(golden, network, close):
    import torch

    z = golden("sadtalker_mappingnet")
    frames = len(z["coeffs"])
    index = window_index(frames)
    np.testing.assert_array_equal(index, z["window_index_inference28"])
    np.testing.assert_array_equal(window_index(frames, 29), z["window_index_training29"])
    windows = coefficient_windows(z["coeffs"], index)
    np.testing.assert_array_equal(windows[0], z["window_first"])
    np.testing.assert_array_equal(windows[-1], z["window_last"])
    few = coefficient_windows(z["few_coeffs"], window_index(len(z["few_coeffs"])))
    with torch.inference_mode():
        close(network("mappingnet", z.salt)(torch.from_numpy(few)), z["few_exp_inference28"], of_largest=1e-5)


def test_goldens_of_sadtalkers_renderer(golden):
    z = golden("sadtalker_extras")
    index = window_index(len(z["coeffs"]), 27)
    np.testing.assert_array_equal(coefficient_windows(z["coeffs"], index[z["window27.frames"]]), z["window27"])


@pytest.mark.parametrize("rows", [27, 28, 29])
@pytest.mark.parametrize("frames", [0, 1, 2, 70])
def test_any_length(rows, frames):
    windows = coefficient_windows(np.zeros((frames, 64)), window_index(frames, rows))
    assert windows.shape == (frames, 64, rows) and windows.dtype == np.float32


@pytest.mark.parametrize("frames", [3, 5, 12, 13, 14, 40])
def test_smoothing_goldens(golden, close, frames):
    z = golden("sadtalker_audio2pose")
    close(smooth_pose(z[f"savgol{frames}.in"][0]), z[f"savgol{frames}.out"][0], of_largest=1e-5)


@pytest.mark.parametrize("clip", ["full", "short", "chunks", "twelve", "three"])
def test_smoothed_poses(golden, close, clip):
    z = golden("sadtalker_audio2pose")
    close(smooth_pose(z[f"{clip}.pose_raw"]), z[f"{clip}.coeffs70_smoothed"][:, 64:], of_largest=1e-5)


@pytest.mark.parametrize(("frames", "window", "order"), [(3, 3, 2), (9, 5, 3), (50, 13, 2), (13, 13, 4)])
def test_savitzky_golay_equals_scipy(frames, window, order):
    track = np.random.default_rng(frames).normal(size=(frames, 2, 3))
    wanted = savgol_filter(track, window, order, axis=0, mode="interp")
    np.testing.assert_allclose(savitzky_golay(track, window, order), wanted, atol=1e-9)


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_short_clips_are_not_smoothed(frames):
    """docs/earlier_systems.md, defect 26."""
    track = np.random.default_rng(0).normal(size=(frames, 6))
    np.testing.assert_array_equal(smooth_pose(track), track)


@pytest.mark.parametrize("window", [4, 1, 15])
def test_wrong_windows_are_refused(window):
    with pytest.raises(ValueError, match="odd window"):
        savitzky_golay(np.zeros((13, 1)), window, 2)
