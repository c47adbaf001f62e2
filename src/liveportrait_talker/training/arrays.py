"""Memory-mapped arrays of all records, one file per field for each split, made once (docs/method/training.md, Arrays).

<dataset>/arrays/<train|val>/expression.npy, keypoint_expression.npy, rotation_deg.npy, seen.npy
<dataset>/arrays/<train|val>/about.json    utterances, stamp, and a fingerprint of the records
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from ..arrays import Flags, Floats32
from ..errors import MediaError
from ..progress import OnProgress, OnStep, ignore_progress, steps_of
from ..system.links import refuse_links_out
from ..system.locks import file_lock
from ..system.partial_files import write_error
from .metadata import split_of
from .options import KEYPOINTS, Split
from .records import EXPRESSION, Stamp, read_header, read_record

SPLITS = ("train", "val")

_SHAPES: dict[str, tuple[tuple[int, ...], Any]] = {
    "expression": ((EXPRESSION,), np.float32),
    "keypoint_expression": ((KEYPOINTS, 3), np.float32),
    "rotation_deg": ((3,), np.float32),
    "seen": ((), np.bool_),
}
_MAX_SEEDS = 1000


@dataclass(frozen=True, eq=False)
class FrameArrays:
    """All frames of one split, memory-mapped, one utterance after the other. The fields are those of `VideoRecord`."""

    keys: tuple[str, ...]
    """`speaker/video/utterance` of each utterance."""
    first: npt.NDArray[np.int64]
    """(U,) first row of each utterance."""
    frames: npt.NDArray[np.int64]
    """(U,) length of each utterance."""
    expression: Floats32
    """(N, 64)"""
    keypoint_expression: Floats32
    """(N, 21, 3)"""
    rotation_deg: Floats32
    """(N, 3)"""
    seen: Flags
    """(N,)"""
    stamp: Stamp

    def __len__(self) -> int:
        return len(self.expression)

    @property
    def speakers(self) -> frozenset[str]:
        """Speakers of this split."""
        return frozenset(key.partition("/")[0] for key in self.keys)


def open_arrays(dataset: Path, split: Split, *, on_progress: OnProgress | None = None) -> dict[str, FrameArrays]:
    """Open the arrays of both splits of a data set; make them first if they are missing or the records have changed.

    Raises:
        MediaError: there are no records, they were made by different extractors, one split has no speaker, or the disk
            is full.
    """
    files = sorted((dataset / "records").glob("*/*.safetensors"))
    files = [file for file in files if not file.name.startswith(".")]
    if not files:
        raise MediaError(f"{dataset} has no records: make them with liveportrait-talker dataset extract.")
    refuse_links_out(files, dataset / "records")
    fingerprint = _fingerprint(files, split)

    def is_current() -> bool:
        return all(_read_about(dataset, side).get("fingerprint") == fingerprint for side in SPLITS)

    if not is_current():
        (dataset / "arrays").mkdir(exist_ok=True)
        with file_lock(dataset / "arrays" / "making"):
            if not is_current():
                _make_arrays(dataset, files, split, fingerprint, steps_of("arrays", on_progress or ignore_progress))
    return {side: _open_split(dataset, side) for side in SPLITS}


def _make_arrays(dataset: Path, files: list[Path], split: Split, fingerprint: str, on_record: OnStep) -> None:
    headers = [read_header(file) for file in files]
    stamp = headers[0][0]
    for file, (other, _) in zip(files, headers, strict=True):
        if difference := stamp.difference(other):
            raise MediaError(
                f"{file} was made by other extractors than {files[0]}: {difference}; use dataset extract --redo."
            )
    sides = [split_of(file.parent.name, split.seed, split.val_share) for file in files]
    for side in SPLITS:
        if side not in sides:
            speakers = sorted({file.parent.name for file in files})
            raise MediaError(
                f"none of the {len(speakers)} speakers in {dataset} is in the {side} split: "
                + _suggest_seed(speakers, split)
            )
    done = 0
    for side in SPLITS:
        selected = [(file, header[1]) for file, header, s in zip(files, headers, sides, strict=True) if s == side]
        target = dataset / "arrays" / side
        work = target.with_name(f".{side}.part")
        shutil.rmtree(work, ignore_errors=True)
        try:
            work.mkdir()
            rows = sum(span.frames for _, spans in selected for span in spans)
            arrays: dict[str, npt.NDArray[Any]] = {
                name: open_memmap(work / f"{name}.npy", "w+", kind, (rows, *shape))  # type: ignore[no-untyped-call]
                for name, (shape, kind) in _SHAPES.items()
            }
            keys, lengths, at = [], [], 0
            for file, spans in selected:
                record = read_record(file)
                count = len(record.seen)
                for name, array in arrays.items():
                    array[at : at + count] = getattr(record, name)
                at += count
                keys += [f"{record.speaker}/{record.video}/{span.name}" for span in spans]
                lengths += [span.frames for span in spans]
                done += 1
                on_record(done, len(files))
            for array in arrays.values():
                array.flush()  # type: ignore[attr-defined]  # of memmap
            about = {"fingerprint": fingerprint, "stamp": asdict(stamp), "keys": keys, "frames": lengths}
            with (work / "about.json").open("w") as written:
                json.dump(about, written)
                written.flush()
                os.fsync(written.fileno())
            shutil.rmtree(target, ignore_errors=True)
            work.replace(target)
        except OSError as error:
            shutil.rmtree(work, ignore_errors=True)
            raise write_error(target, error) from error


def _suggest_seed(speakers: list[str], split: Split) -> str:
    """Return advice on how to get speakers in both splits, as the end of a sentence."""
    for seed in range(_MAX_SEEDS):
        if len({split_of(speaker, seed, split.val_share) for speaker in speakers}) == len(SPLITS):
            return f"--split-seed {seed} would distribute them."
    return "at least two speakers, or a larger --val-share, are needed."


def _open_split(dataset: Path, side: str) -> FrameArrays:
    about = _read_about(dataset, side)
    folder = dataset / "arrays" / side
    lengths = np.array(about["frames"], np.int64)
    return FrameArrays(
        keys=tuple(about["keys"]),
        first=np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
        frames=lengths,
        stamp=Stamp(**about["stamp"]),
        **{name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _SHAPES},
    )


def _read_about(dataset: Path, side: str) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((dataset / "arrays" / side / "about.json").read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return about


def _fingerprint(files: list[Path], split: Split) -> str:
    """Return a hash of the records' names, sizes and modification times, and of the split."""
    digest = hashlib.sha256(repr((split.seed, split.val_share)).encode())
    for file in files:
        state = file.stat()
        digest.update(f"{file.parent.name}/{file.name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
