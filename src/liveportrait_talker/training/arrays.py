"""Records → the arrays that training maps into memory: one file a field for each side of the split, made once.

<dataset>/arrays/<train|val>/expression.npy, keypoint_expression.npy, rotation_deg.npy, seen.npy
<dataset>/arrays/<train|val>/about.json    the utterances, the stamp, and the records that the arrays were made from
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

from ..errors import MediaError
from ..progress import OnProgress, ignore_progress
from ..system.journal import full_disk
from ..system.locks import file_lock
from ..system.partial_files import is_disk_full
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
_SEEDS_TRIED = 1000


@dataclass(frozen=True, eq=False)
class FrameArrays:
    """All frames of one side of the split, memory-mapped, utterance after utterance."""

    keys: tuple[str, ...]
    """`speaker/video/utterance` of each utterance."""
    first: npt.NDArray[np.int64]
    """(U,) the utterance's first row."""
    frames: npt.NDArray[np.int64]
    """(U,) its length."""
    expression: npt.NDArray[np.float32]
    """(N, 64)"""
    keypoint_expression: npt.NDArray[np.float32]
    """(N, 21, 3)"""
    rotation_deg: npt.NDArray[np.float32]
    """(N, 3)"""
    seen: npt.NDArray[np.bool_]
    """(N,)"""
    stamp: Stamp

    def __len__(self) -> int:
        return len(self.expression)

    @property
    def speakers(self) -> frozenset[str]:
        """Who is in it."""
        return frozenset(key.partition("/")[0] for key in self.keys)


def open_arrays(dataset: Path, split: Split, *, on_progress: OnProgress | None = None) -> dict[str, FrameArrays]:
    """Both sides of a data set, made from its records where they are not there yet or the records changed.

    Raises:
        MediaError: there are no records, two of them were made by different extractors, one side of the split has no
            speaker, or the disk is full.
    """
    files = sorted((dataset / "records").glob("*/*.safetensors"))
    files = [file for file in files if not file.name.startswith(".")]
    if not files:
        raise MediaError(f"{dataset} has no records: make them with liveportrait-talker dataset extract.")
    print_ = _fingerprint(files, split)
    if any(_about(dataset, side).get("fingerprint") != print_ for side in SPLITS):
        (dataset / "arrays").mkdir(exist_ok=True)
        with file_lock(dataset / "arrays" / "making"):
            if any(_about(dataset, side).get("fingerprint") != print_ for side in SPLITS):
                _make(dataset, files, split, print_, on_progress or ignore_progress)
    return {side: _opened(dataset, side) for side in SPLITS}


def _make(dataset: Path, files: list[Path], split: Split, fingerprint: str, tell: OnProgress) -> None:
    headers = [read_header(file) for file in files]
    stamp = headers[0][0]
    for file, (theirs, _) in zip(files, headers, strict=True):
        if difference := stamp.difference(theirs):
            raise MediaError(
                f"{file} was made by other extractors than {files[0]}: {difference}; give dataset extract --redo."
            )
    sides = [split_of(file.parent.name, split.seed, split.val_share) for file in files]
    for side in SPLITS:
        if side not in sides:
            speakers = sorted({file.parent.name for file in files})
            raise MediaError(
                f"none of the {len(speakers)} speakers in {dataset} is on the {side} side: "
                + _another_seed(speakers, split)
            )
    done = 0
    for side in SPLITS:
        mine = [(file, header[1]) for file, header, s in zip(files, headers, sides, strict=True) if s == side]
        target = dataset / "arrays" / side
        work = target.with_name(f".{side}.part")
        shutil.rmtree(work, ignore_errors=True)
        try:
            work.mkdir()
            rows = sum(span.frames for _, spans in mine for span in spans)
            arrays: dict[str, npt.NDArray[Any]] = {
                name: open_memmap(work / f"{name}.npy", "w+", kind, (rows, *shape))  # type: ignore[no-untyped-call]
                for name, (shape, kind) in _SHAPES.items()
            }
            keys, lengths, at = [], [], 0
            for file, spans in mine:
                record = read_record(file)
                count = len(record.seen)
                for name, array in arrays.items():
                    array[at : at + count] = getattr(record, name)
                at += count
                keys += [f"{record.speaker}/{record.video}/{span.name}" for span in spans]
                lengths += [span.frames for span in spans]
                done += 1
                tell("arrays", done, len(files))
            for array in arrays.values():
                array.flush()  # type: ignore[attr-defined]  # a memmap's
            about = {"fingerprint": fingerprint, "stamp": asdict(stamp), "keys": keys, "frames": lengths}
            with (work / "about.json").open("w") as written:
                json.dump(about, written)
                written.flush()
                os.fsync(written.fileno())
            shutil.rmtree(target, ignore_errors=True)
            work.replace(target)
        except OSError as error:
            shutil.rmtree(work, ignore_errors=True)
            if is_disk_full(error):
                raise full_disk() from error
            raise MediaError(f"{target} cannot be written ({error.strerror}).") from error


def _another_seed(speakers: list[str], split: Split) -> str:
    """The end of a sentence: what would put speakers on both sides."""
    for seed in range(_SEEDS_TRIED):
        if len({split_of(speaker, seed, split.val_share) for speaker in speakers}) == len(SPLITS):
            return f"--split-seed {seed} would share them out."
    return "two speakers are needed at least, or a larger --val-share."


def _opened(dataset: Path, side: str) -> FrameArrays:
    about = _about(dataset, side)
    folder = dataset / "arrays" / side
    lengths = np.array(about["frames"], np.int64)
    return FrameArrays(
        keys=tuple(about["keys"]),
        first=np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64),
        frames=lengths,
        stamp=Stamp(**about["stamp"]),
        **{name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _SHAPES},
    )


def _about(dataset: Path, side: str) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((dataset / "arrays" / side / "about.json").read_text())
    except (OSError, ValueError):
        return {}
    return about


def _fingerprint(files: list[Path], split: Split) -> str:
    """Of the records' names, sizes and times, and of the split."""
    digest = hashlib.sha256(repr((split.seed, split.val_share)).encode())
    for file in files:
        state = file.stat()
        digest.update(f"{file.parent.name}/{file.name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()
