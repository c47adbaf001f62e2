"""Measure finished videos as a viewer sees them: decoded frames, and landmarks found in each frame.

The measures are defined in docs/method/measurements.md. Unlike `face.tracker.track`, nothing is smoothed over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from liveportrait_talker.arrays import Flags, Floats, Image
from liveportrait_talker.face.finder import FaceFinder
from liveportrait_talker.face.measurements import measure_faces
from liveportrait_talker.face.tracked import TrackedFace, TrackedSource
from liveportrait_talker.media import Footage

_MAX_LAG_MS, _LAG_STEP_MS = 200, 10
_FACE_MARGIN = 1.6  # scale of the hull of the landmarks that is not background
_SHARPNESS_IOD = 200.0  # px


@dataclass(frozen=True, eq=False)
class FaceTracks:
    """Measurements of one face in T frames."""

    fps: float
    frames: list[Image]
    landmarks: Floats
    """(T, 478, 3) px."""
    aperture: Floats
    """(T,) IOD."""
    eyes: Floats
    """(T,) lid distance over eye width, mean of both eyes."""
    gaze_x: Floats
    """(T,) eye widths, + to the image's right."""
    rotation_deg: Floats
    """(T, 3) pitch, yaw, roll."""

    @property
    def pitch(self) -> Floats:
        """(T,) degrees, + up."""
        return self.rotation_deg[:, 0]

    @property
    def yaw(self) -> Floats:
        """(T,) degrees, + to the image's right."""
        return self.rotation_deg[:, 1]


def decode(path: Path) -> tuple[list[Image], float]:
    """Return the frames (H, W, 3) of a video and its frames per second."""
    with av.open(str(path)) as file:
        rate = file.streams.video[0].average_rate
        assert rate is not None
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)], float(rate)


def measure_video(path: Path) -> FaceTracks:
    """Decode a video and measure its face in each frame."""
    return measure_frames(*decode(path))


def measure_frames(frames: Sequence[Image], fps: float = 25.0) -> FaceTracks:
    """Measure the face in each frame; all must show one."""
    finder, points = FaceFinder(), []
    for frame in frames:
        face = finder.follow(frame, points[-1]) if points else None
        points.append(finder.find(frame)[0] if face is None else face)
    footage = Footage.from_frames("measured", list(frames), fps)
    measured = measure_faces(TrackedSource(footage, tuple(TrackedFace(each) for each in points)))
    return FaceTracks(
        fps=fps,
        frames=list(frames),
        landmarks=np.stack(points),
        aperture=measured.mouth[:, 0],
        eyes=measured.eye_ratios.mean(axis=1),
        gaze_x=measured.gaze[:, 0],
        rotation_deg=measured.rotation_deg,
    )


def correlation(a: Floats, b: Floats) -> float:
    """Return Pearson's r over the common length, ignoring values that are not finite."""
    n = min(len(a), len(b))
    finite = np.isfinite(a[:n]) & np.isfinite(b[:n])
    return float(np.corrcoef(a[:n][finite], b[:n][finite])[0, 1])


def lag_ms(values: Floats, reference: Floats, fps: float) -> float:
    """Return by how much `values` are late: the shift within ±200 ms with the highest correlation."""
    n = min(len(values), len(reference))
    t = np.arange(n)

    def shifted(lag: float) -> Floats:
        at = t + lag * fps / 1000
        return np.where((at >= 0) & (at <= n - 1), np.interp(at, t, values[:n]), np.nan)

    lags = np.arange(-_MAX_LAG_MS, _MAX_LAG_MS + 1, _LAG_STEP_MS)
    return float(lags[np.argmax([correlation(shifted(lag), reference) for lag in lags])])


def silent_frames(loudness: Floats, fps: float) -> Flags:
    """Return (T,) the frames in silences of ≥ 300 ms, less 120 ms at ends next to sound, from the loudness in dB."""
    edge = round(0.12 * fps)
    silent = np.zeros(len(loudness), bool)
    for first, end in _runs(loudness < np.percentile(loudness, 95) - 35):
        if end - first >= 0.3 * fps:
            silent[first + edge * (first > 0) : end - edge * (end < len(loudness))] = True
    return silent


def find_blinks(eyes: Floats, fps: float) -> list[tuple[int, int]]:
    """Return the blinks as (first frame, end) from the openness (T,) of the eyes."""
    reach = round(fps)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(eyes, reach, mode="edge"), 2 * reach + 1)
    opened = np.percentile(windows, 75, axis=1)
    merged: list[tuple[int, int]] = []
    for first, end in _runs(eyes < 0.65 * opened):
        if merged and first - merged[-1][1] <= 0.08 * fps:
            first = merged.pop()[0]
        merged.append((first, end))
    return [
        (first, end)
        for first, end in merged
        if first > 0
        and end < len(eyes)
        and 0.04 * fps <= end - first <= 0.5 * fps
        and (opened[first:end] - eyes[first:end]).max() >= 0.06
    ]


def head_speed(rotation_deg: Floats, fps: float) -> float:
    """Return the mean angular speed in °/s, after a mean over five frames."""
    smooth = np.stack([np.convolve(angle, np.ones(5) / 5, mode="valid") for angle in rotation_deg.T], axis=1)
    return float(np.linalg.norm(np.diff(smooth, axis=0), axis=1).mean() * fps)


def background_psnr_db(tracks: FaceTracks, source: FaceTracks) -> float:
    """Return the PSNR against the source image outside both faces, median over frames."""
    (original,), around = source.frames, ~_face_area(source.landmarks[0], source.frames[0])
    values = []
    for frame, points in zip(tracks.frames, tracks.landmarks, strict=True):
        background = around & ~_face_area(points, frame)
        error = np.square(frame[background].astype(np.float64) - original[background]).mean()
        values.append(10 * np.log10(255**2 / max(error, 1e-2)))
    return float(np.median(values))


def relative_sharpness(tracks: FaceTracks, source: FaceTracks) -> float:
    """Return the sharpness of the face as a ratio to the source image's, median over frames."""
    made = [_sharpness(*each) for each in zip(tracks.frames, tracks.landmarks, strict=True)]
    return float(np.median(made)) / _sharpness(source.frames[0], source.landmarks[0])


def _runs(flags: Flags) -> list[tuple[int, int]]:
    """Return the runs of True as (first, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def _face_area(landmarks: Floats, image: Image) -> Flags:
    points = landmarks[:468, :2].astype(np.float64)
    centre = points.mean(axis=0)
    hull = cv2.convexHull((centre + _FACE_MARGIN * (points - centre)).round().astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros(image.shape[:2], np.uint8), hull, 1)
    return np.asarray(mask, bool)


def _sharpness(image: Image, landmarks: Floats) -> float:
    """Return the variance of the Laplacian of the face, scaled to an IOD of 200 px."""
    (left, top), (right, bottom) = landmarks[:468, :2].min(axis=0), landmarks[:468, :2].max(axis=0)
    face = image[max(int(top), 0) : int(bottom) + 1, max(int(left), 0) : int(right) + 1]
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    scale = _SHARPNESS_IOD / float(np.linalg.norm(landmarks[33] - landmarks[263]))
    grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())
