"""Boxes of ISO base media files (MP4, MOV, HEIC; ISO/IEC 14496-12), and checks of what they claim."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO

from ..errors import MediaError

_FIRST = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx")
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
    file.seek(4)
    if file.read(4) not in _FIRST:
        return
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
    edits, samples, constant_size, is_sound = 0, 0, 0, False
    for box in _children(file, track, b"trak", size):
        for inner in _children(file, box, b"edts", size):
            if inner.kind == b"elst":
                edits += _count_edits(file, inner, size)
        for inner in _children(file, box, b"mdia", size):
            if inner.kind == b"hdlr":
                is_sound = _read(file, inner.start + 8, 4) == b"soun"
            for info in _children(file, inner, b"minf", size):
                for table in _children(file, info, b"stbl", size):
                    if table.kind == b"stsz":
                        constant_size = int.from_bytes(_read(file, table.start + 4, 4), "big")
                        samples = int.from_bytes(_read(file, table.start + 8, 4), "big")
    if is_sound and constant_size:  # PCM: the entries are chunks of many samples
        return 0
    if constant_size and samples > size // 4 + 1000:  # frames of constant size have many bytes, in a truncated film too
        return _MAX_INDEX + 1
    return samples * max(1, edits)


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
