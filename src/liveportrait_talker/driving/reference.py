"""Head motion and blinks from a reference video, which is tracked once and cached by its content.

Source: docs/method/motion.md, Reference videos.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arrays import Floats, Indices
from ..face.ratios import eye_ratios
from ..face.tracked import ping_pong_indices
from ..face.tracker import track
from ..media.footage import open_footage
from ..motion.rotation import MAX_TURN_DEG
from ..motion.smoothing import moving_average, smoothstep
from ..progress import OnStep
from ..system.cache import cache_folder, replacing

log = logging.getLogger(__name__)

_EASE_S, _EASE_S_PER_DEG = 0.4, 0.1  # longest transition from the source's own pose; up to 4° it adds 15 °/s at most
SMOOTH_S = 0.12  # FaceMesh has 0.3° of noise
_CACHE_VERSION = 3

# In twelve talking clips, open lids vary down to 0.8 of their usual ratio, blinks reach 0.03–0.35 of it.
OPEN_PERCENTILE = 80  # of the eye ratios: open eyes
SHUT_SHARE = 0.30  # of the open eye's ratio: shut eyes
# Share of the open eye's ratio → closure. Landmarks hold on to the open eye: a lid closed by 0.4 is read as 0.8 of its
# ratio, by 0.6 as 0.6, by 0.7 as 0.42 (medians of nineteen drawn faces). Above 0.82 a lid counts as open.
_SHARES, _CLOSURES = (SHUT_SHARE, 0.42, 0.60, 0.72, 0.82), (1.0, 0.77, 0.6, 0.42, 0.0)


@dataclass(frozen=True, eq=False)
class ReferenceMotion:
    """Head angles and eye ratios of a reference of N frames."""

    rotation_deg: Floats
    """(N, 3) pitch, yaw, roll in degrees."""
    eye_ratios: Floats
    """(N, 2) lid distance over eye width, left and right in the image."""
    fps: float | None
    """Frames per second; None for a still image."""

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


def track_reference(path: Path, *, max_seconds: float = 3600.0, on_frame: OnStep | None = None) -> ReferenceMotion:
    """Return head angles and eye ratios of each frame of `path`, a video or an image, from the cache if possible.

    Raises:
        MediaError: `path` cannot be read.
        NoFaceError: it shows no face.
    """
    cached = _cached_file(path)
    if cached is not None and (stored := _read_motion(cached)) is not None:
        return stored
    with open_footage(path, max_seconds=max_seconds) as footage:
        faces = track(footage, warn_covered_mouth=False, on_frame=on_frame).faces
        motion = ReferenceMotion(
            np.stack([face.rotation_deg for face in faces]),
            np.stack([eye_ratios(face.landmarks) for face in faces]),
            footage.fps,
        )
    if cached is not None:
        try:
            with replacing(cached) as part, part.open("wb") as file:
                np.savez(file, rotation_deg=motion.rotation_deg, eye_ratios=motion.eye_ratios, fps=motion.fps or 0.0)
        except OSError as error:
            log.warning("cannot write the motion of %s to the cache %s (%s).", path.name, cached.parent, error.strerror)
    return motion


def _cached_file(path: Path) -> Path | None:
    """Return where the motion of a reference is cached; None where it cannot be."""
    try:
        return cache_folder("poses") / f"{_content_hash(path)}.v{_CACHE_VERSION}.npz"
    except OSError as error:
        log.warning("the motion of %s is not kept in the cache %s (%s).", path.name, error.filename, error.strerror)
        return None


def _read_motion(cached: Path) -> ReferenceMotion | None:
    """Return the motion in a file of the cache; None where there is none, or it is damaged."""
    try:
        with np.load(cached, allow_pickle=False) as data:
            return ReferenceMotion(data["rotation_deg"], data["eye_ratios"], float(data["fps"]) or None)
    except Exception:  # NumPy and zipfile raise anything for a damaged file
        return None


def reference_head(
    poses: Floats,
    reference_fps: float | None,
    source_deg: Floats,
    fps: float,
    rng: np.random.Generator,
    *,
    from_zero: bool,
    max_turn_deg: Floats = MAX_TURN_DEG,
) -> Floats:
    """Return the rotation (T, 3) in degrees, relative to the source, that follows a reference.

    A video turns the source about its own pose as the reference turns about its median, starting from the source's
    own pose: the further an axis of the reference is from its median at first, the longer it is eased in. Axes that
    turn further than `max_turn_deg` are scaled down as a whole. A still image gives its pose, held.

    Args:
        poses: (N, 3) pitch, yaw, roll of the reference in degrees.
        reference_fps: frames per second of the reference; None for a still image.
        source_deg: (T, 3) the source's own pose in each output frame.
        fps: frames per second of the output.
        rng: draws the first frame of a reference that is longer than the output.
        from_zero: start at the first frame instead. A shorter reference plays forth and back.
        max_turn_deg: (3,) pitch, yaw, roll.
    """
    frames = len(source_deg)
    if reference_fps is None:
        log.warning("the reference is a picture: the head keeps its pose.")
        return np.asarray(poses[:1] - source_deg)
    smooth = moving_average(poses, max(1, round(SMOOTH_S * reference_fps)))
    resampled = _resample(smooth, reference_fps, fps)
    turns = resampled[_select_frames(frames, len(resampled), rng, from_zero)]
    turns = turns - np.median(turns, axis=0) - (source_deg - np.median(source_deg, axis=0))
    widest = np.percentile(np.abs(turns), 98, axis=0)
    share = np.minimum(1.0, max_turn_deg / np.maximum(widest, 1e-6))
    if share.min() < 0.999:
        log.warning(
            "the reference turns its head further than the portrait can follow: its turns are reduced to %.0f %%.",
            100 * share.min(),
        )
    turns = turns * share
    ease_s = np.clip(_EASE_S_PER_DEG * np.abs(turns[0]), 1 / fps, _EASE_S)
    return np.asarray(turns * smoothstep(0, 1, np.arange(frames)[:, None] / fps / ease_s))


def reference_blinks(
    eye_ratios: Floats,
    reference_fps: float | None,
    fps: float,
    frames: int,
    rng: np.random.Generator,
    *,
    from_zero: bool,
) -> Floats:
    """Return the closure (frames, 2), 0…1, of the lids of a reference: 0 = open as usual for that person, 1 = shut.

    Small variations of open lids give 0. Each output frame has the most closed moment of its time, so that no blink is
    lost at a lower frame rate. A still image gives 0.

    Args:
        eye_ratios: (N, 2) as in `ReferenceMotion`.
        reference_fps: frames per second of the reference; None for a still image.
        fps: frames per second of the output.
        frames: length of the output.
        rng: as for `reference_head`; in the same state it draws the same first frame, so that head and lids of one
            video stay in step.
        from_zero: as for `reference_head`.
    """
    if reference_fps is None:
        log.warning("the reference for the blinks is a picture: the eyes stay open.")
        return np.zeros((frames, 2))
    opened = eye_ratios / np.maximum(np.percentile(eye_ratios, OPEN_PERCENTILE, axis=0), 1e-6)
    closure = lid_closure(opened)
    resampled = _resample(closure, reference_fps, fps)
    nearest = np.rint(np.arange(len(closure)) * (fps / reference_fps)).astype(np.intp)
    np.maximum.at(resampled, np.minimum(nearest, len(resampled) - 1), closure)
    return resampled[_select_frames(frames, len(resampled), rng, from_zero)]


def lid_closure(share: Floats) -> Floats:
    """Return the closure, 0 = open, 1 = shut, of lids with these shares of the open eye's ratio."""
    return np.interp(share, _SHARES, _CLOSURES)


def _resample(track: Floats, track_fps: float, fps: float) -> Floats:
    """Return `track` (N, C) at `fps`, linear between its frames."""
    length = max(1, round(len(track) * fps / track_fps))
    at = np.minimum(np.arange(length) * (track_fps / fps), len(track) - 1)
    return np.stack([np.interp(at, np.arange(len(track)), column) for column in track.T], axis=1)


def _select_frames(frames: int, available: int, rng: np.random.Generator, from_zero: bool) -> Indices:
    """Return which of `available` frames to use (frames,): forth and back, or a part of a longer reference.

    The part starts at a random frame (the only draw from `rng`), or at the first one if `from_zero`.
    """
    start = 0 if from_zero or available <= frames else int(rng.integers(0, available - frames + 1))
    return ping_pong_indices(frames, available, start)


def _content_hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):  # hashlib.file_digest requires Python 3.11
                digest.update(block)
    except OSError:
        return "unreadable"  # opening it as footage raises the error
    return digest.hexdigest()[:32]
