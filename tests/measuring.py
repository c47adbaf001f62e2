"""Measure finished videos as a viewer sees them: decoded frames, and landmarks found in each frame.

The measures are defined in docs/method/measurements.md. Unlike `face.tracker.track`, nothing is smoothed over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from liveportrait_talker.arrays import Floats, Image
from liveportrait_talker.face.finder import FaceFinder
from liveportrait_talker.face.measurements import measure_faces
from liveportrait_talker.face.tracked import TrackedFace, TrackedSource
from liveportrait_talker.media import Footage
from liveportrait_talker.scoring.correlation import best_lag
from liveportrait_talker.scoring.picture import PictureMeter


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


def lag_ms(values: Floats, reference: Floats, fps: float) -> float:
    """Return by how much `values` are late: the shift within ±200 ms with the highest correlation."""
    return best_lag(values, reference, fps).lag_ms


def background_psnr_db(tracks: FaceTracks, source: FaceTracks) -> float:
    """Return the PSNR against the source image outside both faces, median over frames."""
    return _picture_figure("bg_psnr_db", tracks, source)


def relative_sharpness(tracks: FaceTracks, source: FaceTracks) -> float:
    """Return the sharpness of the face as a ratio to the source image's, median over frames."""
    return _picture_figure("sharpness", tracks, source)


def _picture_figure(name: str, tracks: FaceTracks, source: FaceTracks) -> float:
    meter = PictureMeter(source.frames[0], TrackedFace(source.landmarks[0]))
    pairs = zip(tracks.frames, tracks.landmarks, strict=True)
    return float(np.median([meter.compare(frame, TrackedFace(points))[name] for frame, points in pairs]))
