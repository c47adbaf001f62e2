"""`FaceTracks`: what one face does over time, on a grid of 25 points a second (docs/method/measurements.md, Tracks)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Flags, Floats, Floats64
from ..face.geometry import STABLE
from ..face.measurements import gaze_offset, to_canonical
from ..face.ratios import eye_openness
from ..face.tracked import TrackedFace

GRID_FPS = 25.0


@dataclass(frozen=True, eq=False)
class FaceTracks:
    """Measurements of one face at T times, k / GRID_FPS seconds from the start; NaN where no face was found."""

    aperture: Floats
    """(T,) opening of the inner lips, IOD."""
    width: Floats
    """(T,) distance of the mouth's corners, IOD."""
    eyes: Floats
    """(T, 2) openness of the right and the left eye."""
    gaze: Floats
    """(T, 2) iris from the middle of the eye, x + to the image's right, y + up, in eye widths."""
    rotation_deg: Floats
    """(T, 3) pitch, yaw, roll."""
    place: Floats
    """(T, 2) point between the outer eye corners, px."""
    iod: Floats
    """(T,) distance of the outer eye corners in 3-D, px."""
    stable: Floats
    """(T, 26, 2) landmarks that speech and blinks move least, px."""
    after_cut: Flags
    """(T,) the first point after a cut."""

    def __len__(self) -> int:
        return len(self.aperture)

    @property
    def valid(self) -> Flags:
        """(T,) where there is a face."""
        return np.isfinite(self.aperture)


class TrackRecorder:
    """Collects the measurements of a face frame by frame, about 400 bytes each."""

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._cuts: list[float] = []
        self._rows: list[Floats] = []
        self._none: Floats = np.full(2 + 2 + 2 + 3 + 2 + 1 + 2 * len(STABLE), np.nan, np.float32)

    def add(self, seconds: float, face: TrackedFace | None, *, is_cut: bool) -> None:
        """Add the next frame.

        Args:
            seconds: when it is shown.
            face: the face in it; None where there is none.
            is_cut: whether a new shot begins with this frame.
        """
        self._seconds.append(max(seconds, self._seconds[-1] + 1e-4) if self._seconds else seconds)
        if is_cut:
            self._cuts.append(seconds)
        self._rows.append(self._none if face is None else _measure(face))

    def tracks(self) -> FaceTracks:
        """Return the tracks of all frames so far, at least one: linear between them, NaN beside those with no face."""
        seconds = np.array(self._seconds)
        step = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 1 / GRID_FPS
        grid = np.arange(max(1, round((seconds[-1] + step) * GRID_FPS))) / GRID_FPS
        values = _interpolate(seconds, np.stack(self._rows), grid)
        after_cut = np.zeros(len(grid), bool)
        after_cut[np.minimum(np.searchsorted(grid, self._cuts), len(grid) - 1)] = True
        aperture, width, eyes, gaze, rotation, place, iod, stable = np.split(values, [1, 2, 4, 6, 9, 11, 12], axis=1)
        return FaceTracks(
            aperture=aperture[:, 0],
            width=width[:, 0],
            eyes=eyes,
            gaze=gaze,
            rotation_deg=rotation,
            place=place,
            iod=iod[:, 0],
            stable=stable.reshape(len(grid), len(STABLE), 2),
            after_cut=after_cut,
        )


def _measure(face: TrackedFace) -> Floats:
    """Return the measurements of one face, in the order of `FaceTracks`."""
    points = face.landmarks
    row: Floats = np.concatenate(
        [
            (face.aperture, face.width),
            eye_openness(points),
            gaze_offset(to_canonical(face)),
            face.rotation_deg,
            points[[33, 263], :2].mean(axis=0),
            (face.pose.iod,),
            points[STABLE, :2].ravel(),
        ]
    ).astype(np.float32)
    return row


def _interpolate(seconds: Floats64, rows: Floats, at: Floats64) -> Floats64:
    """Return rows (N, D), each at its time, linear at the times `at`: (T, D); constant before the first."""
    before = np.clip(np.searchsorted(seconds, at + 1e-6, side="right") - 1, 0, len(seconds) - 1)
    after = np.minimum(before + 1, len(seconds) - 1)
    span = np.maximum(seconds[after] - seconds[before], 1e-9)
    weight = np.clip((at - seconds[before]) / span, 0.0, 1.0) * (after > before)
    weight[weight < 1e-3] = 0.0  # the frame's own time: a missing neighbour does not matter
    blended = (1 - weight[:, None]) * rows[before] + weight[:, None] * rows[after]
    return np.where(weight[:, None] == 0, rows[before], blended)
