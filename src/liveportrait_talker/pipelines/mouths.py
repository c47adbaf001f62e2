"""Mouths of the person in other pictures and videos (`--mouth-from`), for the embedded renderer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import NoFaceError
from ..face.tracked import TrackedSource
from ..face.tracker import track
from ..media import open_footage
from ..media.media_file import check_input
from ..options.commands import DrawingOptions
from ..progress import OnProgress, ignore_progress, steps_of
from ..render.embedded.mouth_examples import MouthExample, choose_frames

MAX_FRAMES = 24
"""Frames of a video whose mouths are used."""
MAX_SECONDS = 60.0
"""Length of the part of a video that is examined."""
_MAX_YAW_DEG = 25.0  # beyond, half of the mouth is hidden or too narrow
_MIN_IOD = 40.0  # px; teeth of smaller faces are a pixel or two


def identify(paths: Iterable[Path]) -> tuple[tuple[int, ...], ...]:
    """Return what changes with the content of each file; equal for links to one file. Raises MediaError."""
    found = []
    for path in paths:
        check_input(path)
        state = path.stat()
        found.append((state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns))
    return tuple(found)


def read_mouths(
    paths: Iterable[Path],
    options: DrawingOptions,
    on_progress: OnProgress = ignore_progress,
) -> list[MouthExample]:
    """Return the open mouths in images and videos.

    Args:
        paths: the files; of a video, up to MAX_FRAMES of its first MAX_SECONDS are used.
        options: their `max_pixels` and `max_seconds` are limits.
        on_progress: called after each frame of a video.

    Raises:
        MediaError: a file cannot be read, or exceeds a limit.
        NoFaceError: a file shows no face, or none whose mouth is of use.
    """
    return [example for path in paths for example in _mouths_in(path, options, on_progress)]


def _mouths_in(path: Path, options: DrawingOptions, on_progress: OnProgress) -> list[MouthExample]:
    # Not scaled down to the options' `max_size`, that of the output: a preview would refuse what the video takes.
    with open_footage(path, max_pixels=options.max_pixels, max_seconds=options.max_seconds) as footage:
        part = footage if footage.fps is None else footage.first(max(1, round(MAX_SECONDS * footage.fps)))
        source = track(part, warn_covered_mouth=False, on_frame=steps_of(f"reading {path.name}", on_progress))
        is_cut = len(part) < len(footage)
        where = path.name
        if not source.is_still:
            where = f"{f'the first {MAX_SECONDS:g} s' if is_cut else 'all frames'} of {path.name}"
        found = [MouthExample.of(part[k], source.faces[k]) for k in _useful_frames(source, where)]
    examples = [example for example in found if example is not None]
    if not examples:
        raise NoFaceError(
            f"the mouth in {where} is outside of the picture: --mouth-from needs a picture or a video that shows all "
            "of it."
        )
    return examples


def _useful_frames(source: TrackedSource, where: str) -> list[int]:
    """Return the frames whose mouths are used. Raises NoFaceError where there is none, saying why."""
    faces, more = source.faces, "" if source.is_still else " or more"
    seen = [k for k in range(len(faces)) if source.shows_face(k)]
    yaws = {k: abs(float(faces[k].rotation_deg[1])) for k in seen}
    frontal = [k for k in seen if yaws[k] <= _MAX_YAW_DEG]
    if not frontal:
        raise NoFaceError(
            f"the face in {where} is turned aside by {min(yaws.values()):.0f}°{more}: --mouth-from needs a picture or "
            f"a video in which it is turned by {_MAX_YAW_DEG:g}° at most."
        )
    large = [k for k in frontal if faces[k].pose.iod >= _MIN_IOD]
    if not large:
        widest = max(faces[k].pose.iod for k in frontal)
        raise NoFaceError(
            f"the face in {where} is too small ({widest:.0f} px between the eyes): --mouth-from needs a picture or a "
            f"video with at least {_MIN_IOD:g} px."
        )
    opened = choose_frames(faces, np.array(large, np.intp), MAX_FRAMES)
    if not opened:
        raise NoFaceError(
            f"the mouth in {where} is shut: --mouth-from needs a picture or a video in which the lips are apart and "
            "teeth can be seen."
        )
    return opened
