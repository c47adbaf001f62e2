"""Boxes of ISO base media files (MP4, MOV, HEIC; ISO/IEC 14496-12), and checks of what they claim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO

from ..errors import MediaError

_HOLDERS = (b"edts", b"mdia", b"minf", b"stbl", b"udta", b"dinf", b"trak")
_MAX_DEPTH = 8
_MAX_INDEX = 20_000_000  # entries, of 24 bytes each in FFmpeg
_MAX_BOXES = 100_000  # of one level
_EMPTY_EDIT = b"\xff\xff\xff\xff"


@dataclass(frozen=True)
class Box:
    """A box: its type, and the range of its content in the file, which may end early."""

    kind: bytes
    start: int
    end: int


def read_boxes(file: IO[bytes], start: int, end: int) -> Iterator[Box]:
    """Yield the boxes from `start` to `end`, at most `_MAX_BOXES`; ends at a box whose size is impossible."""
    return islice(_all_boxes(file, start, end), _MAX_BOXES)


def _all_boxes(file: IO[bytes], start: int, end: int) -> Iterator[Box]:
    while start + 8 <= end:
        file.seek(start)
        header = file.read(16)
        size, content = int.from_bytes(header[:4], "big"), start + 8
        if size == 1:
            size, content = int.from_bytes(header[8:16], "big"), start + 16
        elif size == 0:  # until the end of the file
            size = end - start
        if size < content - start:
            return
        yield Box(header[4:8], content, start + size)
        start += size


def check_index(file: IO[bytes], size: int, name: str) -> None:
    """Raise MediaError for an MP4 or MOV whose index would take gigabytes or minutes to build; ignore other files.

    FFmpeg builds the whole index, each edit's samples anew, when it opens a file.

    Args:
        file: the file; its position changes.
        size: its size in bytes.
        name: its name, for the message.
    """
    entries = 0
    for movie in read_boxes(file, 0, size):
        for track in _children(file, movie, b"moov", size):
            entries += _index_entries(file, track, size) if track.kind == b"trak" else 0
    if entries > _MAX_INDEX:
        raise too_much_claimed_error(name)


def too_much_claimed_error(name: str) -> MediaError:
    """Return the error for a file that claims to hold more than its size allows."""
    return MediaError(f"{name} is damaged: it claims to hold far more than its size allows; export it again")


def _index_entries(file: IO[bytes], track: Box, size: int) -> int:
    """Return an upper bound of the number of index entries of a track."""
    edits, samples, chunks, is_constant, is_sound, is_steady = 0, 0, 0, False, False, False
    for box in _descendants(file, track, size):
        if box.kind == b"elst":
            edits += _count_edits(file, box, size)
        elif box.kind == b"hdlr":
            is_sound = is_sound or _read(file, box.start + 8, 4) == b"soun"
        elif box.kind in (b"stsz", b"stz2"):
            is_constant = box.kind == b"stsz" and _number(file, box.start + 4) > 0
            samples = max(samples, _number(file, box.start + 8))
        elif box.kind in (b"stco", b"co64"):
            chunks = max(chunks, _number(file, box.start + 4))
        elif box.kind == b"stts":
            is_steady = _number(file, box.start + 4) == 1 and _number(file, box.start + 12) == 1
    if is_sound and is_constant and is_steady:  # PCM: the entries are chunks of many samples
        return chunks * max(1, edits)
    if is_constant and samples > size // 4 + 1000:  # frames of constant size have many bytes, in a truncated film too
        return _MAX_INDEX + 1
    return samples * max(1, edits)


def _descendants(file: IO[bytes], box: Box, size: int, depth: int = 0) -> Iterator[Box]:
    """Yield the boxes in a box, down to `_MAX_DEPTH`."""
    for inner in _children(file, box, box.kind, size):
        yield inner
        if inner.kind in _HOLDERS and depth < _MAX_DEPTH:
            yield from _descendants(file, inner, size, depth + 1)


def _number(file: IO[bytes], at: int) -> int:
    return int.from_bytes(_read(file, at, 4), "big")


def _count_edits(file: IO[bytes], box: Box, size: int) -> int:
    """Return the number of edits that show a part of the track."""
    head = _read(file, box.start, 8)
    if len(head) < 8:
        return 0
    each = 20 if head[0] else 12
    content = _read(file, box.start + 8, min(box.end, size) - box.start - 8)
    count = min(int.from_bytes(head[4:8], "big"), len(content) // each)
    at = 8 if head[0] else 4
    return sum(content[k * each + at : k * each + at + 4] != _EMPTY_EDIT for k in range(count))


def _children(file: IO[bytes], box: Box, kind: bytes, size: int) -> Iterator[Box]:
    return read_boxes(file, box.start, min(box.end, size)) if box.kind == kind else iter(())


def _read(file: IO[bytes], start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
