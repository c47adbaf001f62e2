"""A head that follows another video: its poses, tracked once and kept by the video's content."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from ..cache import cache_folder
from ..face.tracked import forth_and_back
from ..face.tracker import track
from ..media.footage import open_footage
from ..motion.smoothing import moving_average

log = logging.getLogger(__name__)
Floats = npt.NDArray[np.floating[Any]]

COMFORTABLE_DEG = np.array([7.5, 9.0, 7.5])  # pitch, yaw, roll that any portrait bears
_SMOOTH_S = 0.12  # FaceMesh trembles by 0.3°
_CACHE_VERSION = 1  # raise it when the tracking changes


def reference_poses(
    path: Path, *, max_seconds: float = 3600.0, on_frame: Callable[[int, int], None] | None = None
) -> tuple[Floats, float | None]:
    """Head poses (N, 3) pitch, yaw, roll in degrees of every frame of `path`, and its frame rate (None for a still).

    Raises:
        MediaError: `path` cannot be read.
        NoFaceError: nobody is seen in it.
    """
    kept = cache_folder() / "poses" / f"{_content_hash(path)}.v{_CACHE_VERSION}.npz"
    try:
        with np.load(kept, allow_pickle=False) as data:
            fps, known = float(data["fps"]), data["rotation_deg"]
        if known.ndim == 2 and known.shape[1] == 3 and len(known) and np.isfinite(known).all():
            return known, fps if fps > 0 else None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        pass  # not kept yet, or damaged: track it
    with open_footage(path, max_seconds=max_seconds) as footage:
        source = track(footage, on_frame=on_frame)
        poses = np.stack([face.rotation_deg for face in source.faces])
        own_fps = footage.fps
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f".{kept.name}.{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez(file, rotation_deg=poses, fps=own_fps or 0.0)
        part.replace(kept)
    except OSError as error:
        log.warning("the poses of %s could not be kept in %s (%s).", path.name, kept.parent, error.strerror)
    return poses, own_fps


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
    turns the source about its own pose as the reference turns about its usual one, so that nothing jumps; turns
    wider than a portrait bears are made smaller as a whole. A still gives its own pose, held. A reference shorter
    than the voice is played forth and back; a longer one starts at a random frame unless `from_zero`.
    """
    frames = len(source_deg)
    if reference_fps is None:
        log.warning("the reference is a picture: the head is held in its pose.")
        return np.asarray(poses[:1] - source_deg)
    smooth = moving_average(poses, max(1, round(_SMOOTH_S * reference_fps)))
    length = max(1, round(len(poses) * fps / reference_fps))
    at = np.minimum(np.arange(length) * (reference_fps / fps), len(poses) - 1)
    resampled = np.stack([np.interp(at, np.arange(len(poses)), axis) for axis in smooth.T], axis=1)
    start = 0 if from_zero or length <= frames else int(rng.integers(0, length - frames + 1))
    turns = resampled[forth_and_back(frames, length, start)]
    turns = turns - np.median(turns, axis=0) - (source_deg - np.median(source_deg, axis=0))
    widest = np.percentile(np.abs(turns), 98, axis=0)
    share = np.minimum(1.0, COMFORTABLE_DEG / np.maximum(widest, 1e-6))
    if share.min() < 0.999:
        log.warning(
            "the reference turns its head further than the portrait can follow: its turns are reduced to %.0f %%.",
            100 * share.min(),
        )
    return np.asarray(turns * share)


def _content_hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):  # hashlib.file_digest needs Python 3.11
                digest.update(block)
    except OSError:
        return "unreadable"  # opening it as footage will say what is wrong
    return digest.hexdigest()[:32]
