"""A head and lids that follow another video, which is tracked once and kept by its content."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from ..arrays import Floats
from ..face.ratios import eye_ratios
from ..face.tracked import forth_and_back
from ..face.tracker import track
from ..media.footage import open_footage
from ..motion.smoothing import moving_average, smoothstep
from ..system.cache import cache_folder

log = logging.getLogger(__name__)

COMFORTABLE_DEG = np.array([7.5, 9.0, 7.5])  # pitch, yaw, roll that any portrait bears
_EASE_S = 0.4  # from the source's own pose into the reference's motion
_SMOOTH_S = 0.12  # FaceMesh trembles by 0.3°
_CACHE_VERSION = 3

# Of twelve talking clips: open lids waver down to four fifths of their usual ratio, blinks come to 0.03–0.35 of it.
_OPEN_PERCENTILE = 80
_OPEN, _SHUT = 0.8, 0.3  # shares of the open eye's ratio from which on a lid is open or shut


@dataclass(frozen=True, eq=False)
class ReferenceMotion:
    """What head and lids do in a reference of N frames."""

    rotation_deg: Floats
    """(N, 3) pitch, yaw, roll in degrees."""
    eye_ratios: Floats
    """(N, 2) lid distance over eye width, left and right in the picture."""
    fps: float | None
    """Frames a second; None for a still."""

    def __post_init__(self) -> None:
        frames = len(self.rotation_deg)
        for name, shape in (("rotation_deg", (frames, 3)), ("eye_ratios", (frames, 2))):
            array = getattr(self, name)
            if not frames or array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"ReferenceMotion.{name} must be a finite {shape} with N ≥ 1, got {array.shape}")
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"ReferenceMotion.fps must be positive or None, got {self.fps}")

    def __len__(self) -> int:
        return len(self.rotation_deg)

    def __repr__(self) -> str:
        return f"ReferenceMotion(N={len(self)}, fps={self.fps})"


def track_reference(
    path: Path, *, max_seconds: float = 3600.0, on_frame: Callable[[int, int], None] | None = None
) -> ReferenceMotion:
    """Head and lids in every frame of `path`, a video or a picture.

    Raises:
        MediaError: `path` cannot be read.
        NoFaceError: nobody is seen in it.
    """
    kept = cache_folder() / "poses" / f"{_content_hash(path)}.v{_CACHE_VERSION}.npz"
    try:
        with np.load(kept, allow_pickle=False) as data:
            return ReferenceMotion(data["rotation_deg"], data["eye_ratios"], float(data["fps"]) or None)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        pass  # not kept yet, or damaged: track it
    with open_footage(path, max_seconds=max_seconds) as footage:
        faces = track(footage, drawn=False, on_frame=on_frame).faces
        motion = ReferenceMotion(
            np.stack([face.rotation_deg for face in faces]),
            np.stack([eye_ratios(face.landmarks) for face in faces]),
            footage.fps,
        )
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f".{kept.name}.{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez(file, rotation_deg=motion.rotation_deg, eye_ratios=motion.eye_ratios, fps=motion.fps or 0.0)
        part.replace(kept)
    except OSError as error:
        log.warning("the motion of %s could not be kept in %s (%s).", path.name, kept.parent, error.strerror)
    return motion


def reference_head(
    poses: Floats,
    reference_fps: float | None,
    source_deg: Floats,
    fps: float,
    rng: np.random.Generator,
    *,
    from_zero: bool,
) -> Floats:
    """Rotation (T, 3) in degrees relative to the source, so that it follows a reference.

    `source_deg` (T, 3) is the source's own pose at every output frame, the same throughout for a picture. A video
    turns the source about its own pose as the reference turns about its usual one, and the first frame is the
    source's own, so that nothing jumps; turns wider than a portrait bears are made smaller as a whole. A still gives
    its own pose, held. A reference shorter than the voice is played forth and back; a longer one starts at a random
    frame unless `from_zero`.
    """
    frames = len(source_deg)
    if reference_fps is None:
        log.warning("the reference is a picture: the head is held in its pose.")
        return np.asarray(poses[:1] - source_deg)
    smooth = moving_average(poses, max(1, round(_SMOOTH_S * reference_fps)))
    resampled = _resampled(smooth, reference_fps, fps)
    turns = resampled[_played(frames, len(resampled), rng, from_zero)]
    turns = turns - np.median(turns, axis=0) - (source_deg - np.median(source_deg, axis=0))
    widest = np.percentile(np.abs(turns), 98, axis=0)
    share = np.minimum(1.0, COMFORTABLE_DEG / np.maximum(widest, 1e-6))
    if share.min() < 0.999:
        log.warning(
            "the reference turns its head further than the portrait can follow: its turns are reduced to %.0f %%.",
            100 * share.min(),
        )
    eased = smoothstep(0, _EASE_S, np.arange(frames) / fps)
    return np.asarray(turns * share * eased[:, None])


def reference_blinks(
    eye_ratios: Floats,
    reference_fps: float | None,
    fps: float,
    frames: int,
    rng: np.random.Generator,
    *,
    from_zero: bool,
) -> Floats:
    """Closure (frames, 2) float64 of the lids, 0…1, as in a reference: 0 = open as usual for that person, 1 = shut.

    `eye_ratios` (N, 2) are those of `ReferenceMotion`. The lids waver a little even when open: that gives 0. No
    blink is lost at a lower frame rate: each output frame has the most closed moment of its time. A picture gives
    0 throughout. Length and start are `reference_head`'s, and a generator in the same state gives the same start,
    so that head and lids taken from one video stay together.
    """
    if reference_fps is None:
        log.warning("the reference for the blinks is a picture: its eyes stay open.")
        return np.zeros((frames, 2))
    opened = eye_ratios / np.maximum(np.percentile(eye_ratios, _OPEN_PERCENTILE, axis=0), 1e-6)
    closure = np.clip((_OPEN - opened) / (_OPEN - _SHUT), 0.0, 1.0)
    resampled = _resampled(closure, reference_fps, fps)
    nearest = np.rint(np.arange(len(closure)) * (fps / reference_fps)).astype(np.intp)
    np.maximum.at(resampled, np.minimum(nearest, len(resampled) - 1), closure)
    return resampled[_played(frames, len(resampled), rng, from_zero)]


def _resampled(track: Floats, track_fps: float, fps: float) -> Floats:
    """`track` (N, C) at `fps`, linear between its frames."""
    length = max(1, round(len(track) * fps / track_fps))
    at = np.minimum(np.arange(length) * (track_fps / fps), len(track) - 1)
    return np.stack([np.interp(at, np.arange(len(track)), column) for column in track.T], axis=1)


def _played(frames: int, available: int, rng: np.random.Generator, from_zero: bool) -> npt.NDArray[np.intp]:
    """(frames,) which of a reference's `available` frames are shown: forth and back where it is short.

    A longer one starts at random, the only draw from `rng`, or at its first frame if `from_zero`.
    """
    start = 0 if from_zero or available <= frames else int(rng.integers(0, available - frames + 1))
    return forth_and_back(frames, available, start)


def _content_hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):  # hashlib.file_digest needs Python 3.11
                digest.update(block)
    except OSError:
        return "unreadable"  # opening it as footage will say what is wrong
    return digest.hexdigest()[:32]
