"""Motion of the head and its steadiness (docs/method/measurements.md, Head, Image)."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats
from .tracks import GRID_FPS, FaceTracks

_SMOOTHING = 5  # frames


def head_figures(tracks: FaceTracks) -> dict[str, float]:
    """Return the spread of angles (°), place (% IOD) and gaze, speed (°/s), frequency (Hz) and jitter (% IOD, px)."""
    pitch, yaw, roll = np.nanstd(tracks.rotation_deg, axis=0)
    iod = float(np.nanmedian(tracks.iod))
    figures = {
        "yaw_std": float(yaw),
        "pitch_std": float(pitch),
        "roll_std": float(roll),
        "shift_std": float(100 * np.hypot(*np.nanstd(tracks.place, axis=0)) / iod),
    }
    figures |= gaze_figures(tracks)
    if len(tracks) > _SMOOTHING + 1:
        figures["pose_speed"] = head_speed(tracks.rotation_deg, GRID_FPS)
        figures["head_hz"] = head_frequency(tracks.rotation_deg, GRID_FPS)
    if len(tracks) > 3:
        figures["jitter_px"] = jitter_px(tracks)
        figures["jitter_pct"] = 100 * figures["jitter_px"] / iod
        figures["shake_pct"] = 100 * shake_px(tracks) / iod
    return figures


def gaze_figures(tracks: FaceTracks) -> dict[str, float]:
    """Return the spread of the gaze while the eyes are open, in eye widths."""
    openness = tracks.eyes.mean(axis=1)
    is_open = openness > 0.8 * np.nanmedian(openness)
    if is_open.sum() < GRID_FPS / 2:
        return {}
    return {"gaze_std": float(np.hypot(*np.nanstd(tracks.gaze[is_open], axis=0)))}


def head_speed(rotation_deg: Floats, fps: float) -> float:
    """Return the mean angular speed in °/s of angles (T, 3), after a mean over five frames."""
    return float(np.nanmean(np.linalg.norm(_steps(rotation_deg), axis=1)) * fps)


def head_frequency(rotation_deg: Floats, fps: float) -> float:
    """Return the mean frequency, Hz, of the spectrum of the angular speed; angles (T, 3), gaps filled linearly."""
    t = np.arange(len(rotation_deg))
    known = np.isfinite(rotation_deg).all(axis=1)
    steps = _steps(np.stack([np.interp(t, t[known], angle[known]) for angle in rotation_deg.T], axis=1))
    window = np.hanning(len(steps))[:, None]
    power = np.square(np.abs(np.fft.rfft((steps - steps.mean(axis=0)) * window, axis=0))).sum(axis=1)
    return float(np.fft.rfftfreq(len(steps), 1 / fps) @ power / max(power.sum(), 1e-12))


def _steps(rotation_deg: Floats) -> Floats:
    """Return the changes (T − 5, 3) of angles (T, 3) from frame to frame, after a mean over five frames."""
    kernel = np.full(_SMOOTHING, 1 / _SMOOTHING)
    smooth = np.stack([np.convolve(angle, kernel, "valid") for angle in rotation_deg.T], axis=1)
    return np.diff(smooth, axis=0)


def jitter_px(tracks: FaceTracks) -> float:
    """Return the mean size of the second difference of the stable landmarks, px."""
    return float(np.nanmean(_second_difference(tracks.stable, tracks)))


def shake_px(tracks: FaceTracks) -> float:
    """Return the median size of the second difference of the stable landmarks' mean, px.

    Noise of single landmarks averages out, and single frames that are repeated or missing do not count.
    """
    return float(np.nanmedian(_second_difference(tracks.stable.mean(axis=1), tracks)))


def _second_difference(points: Floats, tracks: FaceTracks) -> Floats:
    """Return the size (n, …) of the second difference of points (T, …, 2), leaving out cuts."""
    cut = tracks.after_cut[1:-1] | tracks.after_cut[2:]
    size: Floats = np.linalg.norm(np.diff(points, n=2, axis=0)[~cut], axis=-1)
    return size
