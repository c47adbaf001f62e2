"""What was extracted from a source video, in one file that says what made it: safetensors, to be memory-mapped.

<dataset>/records/<speaker>/<youtube id>.safetensors holds the frames of all utterances of a video, one after the other.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats32
from ..errors import MediaError
from ..system.journal import full_disk, sync_folder
from ..system.partial_files import is_disk_full
from .options import KEYPOINTS

FORMAT = "1"
"""Of the record: raised when its fields or their meaning change."""
KIND = "liveportrait-talker record"
EXPRESSION = 64


_FIELDS: dict[str, tuple[tuple[int, ...], Any]] = {
    "expression": ((EXPRESSION,), np.float32),
    "angle_translation": ((6,), np.float32),
    "keypoint_expression": ((KEYPOINTS, 3), np.float32),
    "rotation_deg": ((3,), np.float32),
    "seen": ((), np.bool_),
}


@dataclass(frozen=True)
class Stamp:
    """What made a record. Records with different stamps are not mixed."""

    face_3drecon: str
    """sha256 of the 3DMM regressor's weights."""
    motion_extractor: str
    """sha256 of the motion extractor's weights."""
    tracker: str
    """Name and version of the face tracker."""
    format: str = FORMAT

    def difference(self, other: Stamp) -> str:
        """The first thing in which they differ, as the end of a sentence; empty where they are equal."""
        for entry in dataclasses.fields(self):
            ours, theirs = getattr(self, entry.name), getattr(other, entry.name)
            if ours != theirs:
                return f"its {entry.name} is {theirs[:16]}, not {ours[:16]}"
        return ""


@dataclass(frozen=True)
class UtteranceSpan:
    """Where an utterance lies in its record."""

    name: str
    first: int
    frames: int


@dataclass(frozen=True, eq=False)
class VideoRecord:
    """All that training needs of N frames of one source video."""

    speaker: str
    video: str
    utterances: tuple[UtteranceSpan, ...]
    stamp: Stamp
    expression: Floats32
    """(N, 64) 3DMM expression coefficients."""
    angle_translation: Floats32
    """(N, 6) pitch, yaw, roll in radians and x, y, z of the 3DMM's camera."""
    keypoint_expression: Floats32
    """(N, 21, 3) LivePortrait's expression deformation δ, canonical units, before the scale."""
    rotation_deg: Floats32
    """(N, 3) LivePortrait's pitch, yaw, roll."""
    seen: npt.NDArray[np.bool_] = field(repr=False)
    """(N,) False where no face was found: the numbers are interpolated, and are no targets."""

    def __post_init__(self) -> None:
        frames = sum(span.frames for span in self.utterances)
        for name, (shape, kind) in _FIELDS.items():
            array = getattr(self, name)
            if array.shape != (frames, *shape) or array.dtype != kind:
                raise ValueError(
                    f"VideoRecord.{name} must be {(frames, *shape)} {kind}, got {array.shape} {array.dtype}"
                )


def write_record(record: VideoRecord, path: Path) -> None:
    """Write to a temporary file beside `path`, then rename. The same record gives the same bytes.

    Raises:
        MediaError: the disk is full or the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    about = {
        "speaker": record.speaker,
        "video": record.video,
        "utterances": [dataclasses.astuple(span) for span in record.utterances],
        "stamp": dataclasses.asdict(record.stamp),
    }
    header = {KIND: json.dumps(about, sort_keys=True)}  # one entry: safetensors writes several in any order
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: np.ascontiguousarray(getattr(record, name)) for name in _FIELDS}, part, metadata=header)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
        sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        if is_disk_full(error):
            raise full_disk() from error
        raise MediaError(f"{path} cannot be written ({error}): name another folder.") from error
    finally:
        part.unlink(missing_ok=True)


def read_header(path: Path) -> tuple[Stamp, tuple[UtteranceSpan, ...]]:
    """What made a record and what is in it; no frame is read.

    Raises:
        MediaError: it is no record, or one of another format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            said = file.metadata() or {}
            rows = file.get_slice("expression").get_shape()[0] if "expression" in file.keys() else -1  # noqa: SIM118
        if KIND not in said:
            raise ValueError("it says nothing of being one")
        about = json.loads(said[KIND])
        stamp = about["stamp"]
        if stamp.get("format") != FORMAT:
            raise MediaError(
                f"{path} is a record of format {stamp.get('format')}, not {FORMAT}: extract it anew (--redo)."
            )
        spans = tuple(UtteranceSpan(str(name), int(first), int(frames)) for name, first, frames in about["utterances"])
        if sum(span.frames for span in spans) != rows:
            raise ValueError("its utterances are not its frames")
        return Stamp(**stamp), spans
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise MediaError(
            f"{path} is not a record of this software ({error}): remove it and extract it anew."
        ) from error


def read_record(path: Path) -> VideoRecord:
    """A record whole. Raises MediaError as `read_header` does."""
    from safetensors.numpy import load_file

    stamp, spans = read_header(path)
    arrays = load_file(path)
    if set(arrays) != set(_FIELDS):
        raise MediaError(f"{path} lacks some of {', '.join(_FIELDS)}: remove it and extract it anew.")
    return VideoRecord(path.parent.name, path.stem, spans, stamp, **arrays)


def stale(path: Path, stamp: Stamp) -> str:
    """What is wrong with the stamp of the record in `path`, as a sentence; empty where it is `stamp`."""
    difference = stamp.difference(read_header(path)[0])
    return f"{path} was made by other extractors: {difference}" if difference else ""
