"""Records of extracted features: one safetensors file per source video, with a stamp of the extractors.

<dataset>/records/<speaker>/<youtube id>.safetensors holds the frames of all utterances of a video, one after the other
(docs/method/training.md, Records).
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
from ..system.journal import sync_folder
from ..system.partial_files import write_error
from .options import KEYPOINTS

FORMAT = "1"
"""Version of the record format: increased when its fields or their meaning change."""
KIND = "liveportrait-talker record"
EXPRESSION = 64
"""Number of 3DMM expression coefficients."""

_FIELDS: dict[str, tuple[tuple[int, ...], Any]] = {
    "expression": ((EXPRESSION,), np.float32),
    "angle_translation": ((6,), np.float32),
    "keypoint_expression": ((KEYPOINTS, 3), np.float32),
    "rotation_deg": ((3,), np.float32),
    "seen": ((), np.bool_),
}


@dataclass(frozen=True)
class Stamp:
    """The extractors that made a record. Records with different stamps are not mixed."""

    face_3drecon: str
    """SHA-256 of the 3DMM regressor's weights."""
    motion_extractor: str
    """SHA-256 of the motion extractor's weights."""
    tracker: str
    """Name and version of the face tracker."""
    format: str = FORMAT

    def difference(self, other: Stamp) -> str:
        """Describe the first difference, as the end of a sentence; empty where there is none."""
        for entry in dataclasses.fields(self):
            ours, theirs = getattr(self, entry.name), getattr(other, entry.name)
            if ours != theirs:
                return f"its {entry.name} is {theirs[:16]}, not {ours[:16]}"
        return ""


@dataclass(frozen=True)
class UtteranceSpan:
    """The position of an utterance in its record."""

    name: str
    first: int
    frames: int


@dataclass(frozen=True, eq=False)
class VideoRecord:
    """Features of N frames of one source video."""

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
    """(N,) False where no face was found: the values are interpolated and not used as targets."""

    def __post_init__(self) -> None:
        frames = sum(span.frames for span in self.utterances)
        for name, (shape, kind) in _FIELDS.items():
            array = getattr(self, name)
            if array.shape != (frames, *shape) or array.dtype != kind:
                raise ValueError(
                    f"VideoRecord.{name} must be {(frames, *shape)} {kind}, got {array.shape} {array.dtype}"
                )


def write_record(record: VideoRecord, path: Path) -> None:
    """Write a record atomically. The same record gives the same bytes.

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
    header = {KIND: json.dumps(about, sort_keys=True)}  # one entry, as safetensors does not sort several
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: np.ascontiguousarray(getattr(record, name)) for name in _FIELDS}, part, metadata=header)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
        sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise write_error(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def read_header(path: Path) -> tuple[Stamp, tuple[UtteranceSpan, ...]]:
    """Return the stamp and the utterances of a record without reading its frames.

    Raises:
        MediaError: it is not a record, or has another format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            rows = file.get_slice("expression").get_shape()[0] if "expression" in file.keys() else -1  # noqa: SIM118
        if KIND not in metadata:
            raise ValueError("no metadata of a record")
        about = json.loads(metadata[KIND])
        stamp = about["stamp"]
        if stamp.get("format") != FORMAT:
            raise MediaError(
                f"{path} is a record of format {stamp.get('format')}, not {FORMAT}: extract it again (--redo)."
            )
        spans = tuple(UtteranceSpan(str(name), int(first), int(frames)) for name, first, frames in about["utterances"])
        if sum(span.frames for span in spans) != rows:
            raise ValueError("utterances and frames do not match")
        return Stamp(**stamp), spans
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MediaError(
            f"{path} is not a record of this software ({error}): remove it and extract it again."
        ) from error


def read_record(path: Path) -> VideoRecord:
    """Read a record. Raises MediaError as `read_header` does."""
    from safetensors.numpy import load_file

    stamp, spans = read_header(path)
    arrays = load_file(path)
    if set(arrays) != set(_FIELDS):
        raise MediaError(f"{path} lacks some of {', '.join(_FIELDS)}: remove it and extract it again.")
    try:
        return VideoRecord(path.parent.name, path.stem, spans, stamp, **arrays)
    except ValueError as error:
        raise MediaError(f"{path} is damaged ({error}): remove it and extract it again.") from error


def find_stamp_difference(path: Path, stamp: Stamp) -> str:
    """Describe how the stamp of the record in `path` differs from `stamp`; empty where it does not."""
    difference = stamp.difference(read_header(path)[0])
    return f"{path} was made by other extractors: {difference}" if difference else ""
