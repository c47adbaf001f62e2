"""Face crops of a clip for the extractors' networks, in chunks, decoded ahead by threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from typing import Any

import numpy as np

from ..arrays import Floats, Image, Indices
from ..errors import MediaError, NoFaceError, TalkerError
from ..face.alignment import align_face
from ..face.finder import FaceFinder
from ..face.liveportrait_crop import portrait_crop
from ..media.footage import open_footage
from .metadata import crop_rectangle, interpolate_boxes, read_utterance

log = logging.getLogger(__name__)

CHUNK_FRAMES = 32
"""Frames in a chunk: 11 MB."""
_MIN_SEEN = 0.5  # share of an utterance's frames with a face
_QUEUED_CHUNKS = 2  # per clip
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Clip:
    """The clip of one utterance. Paths are absolute, as a worker may run in another folder."""

    name: str
    video: Path
    text: Path | None
    """Text file with the face boxes; without it the largest face is used."""


@dataclass(frozen=True, eq=False)
class FaceChunk:
    """Frames of a clip in which the face was found."""

    clip: int
    """Number of the clip."""
    frames: Indices
    """(n,) numbers of the frames in the clip."""
    aligned: Image
    """(n, 224, 224, 3) for the 3DMM regressor."""
    faces: Image
    """(n, 256, 256, 3) for the motion extractor: LivePortrait's crop, as at inference."""


@dataclass(frozen=True)
class ClipEnd:
    """The end of a clip: its number of frames, or the reason why it failed."""

    clip: int
    frames: int
    reason: str | None


def detect_faces(clip: Clip, number: int) -> Iterator[FaceChunk | ClipEnd]:
    """Yield the chunks of a clip, then its end. Returns errors in the end."""
    try:
        yield from _detect_faces(clip, number)
    except TalkerError as error:
        # Details follow a colon; failures are counted without them.
        kind = "no face" if isinstance(error, NoFaceError) else "broken clip"
        yield ClipEnd(number, 0, f"{kind}: {error}")
    except Exception as error:  # of FFmpeg or OpenCV: one unusual clip must not end a run of days
        log.warning("%s: %s: %s", clip.video, type(error).__name__, error)
        yield ClipEnd(number, 0, f"something went wrong: {type(error).__name__}")


def _detect_faces(clip: Clip, number: int) -> Iterator[FaceChunk | ClipEnd]:
    # Imports torch, which the rest of this module does not need.
    from ..render.neural.crops import network_image

    with open_footage(clip.video) as footage:
        if footage.is_still:
            raise MediaError("it has no moving picture")
        width, height = footage.size
        boxes = None
        if clip.text is not None:
            boxes = interpolate_boxes(read_utterance(clip.text).fractions(width, height), len(footage))
        pending: list[tuple[int, Image, Image]] = []
        seen = 0
        finder = FaceFinder()
        last: Floats | None = None  # landmarks in the previous frame, px of the whole image
        for k in range(len(footage)):
            image = footage[k]
            x1, y1, x2, y2 = (0, 0, width, height) if boxes is None else crop_rectangle(boxes[k], width, height)
            region = np.ascontiguousarray(image[y1:y2, x1:x2])
            corner = np.array([x1, y1, 0], np.float32)
            face = None if last is None else finder.follow(region, last - corner)
            if face is None:
                face = next(iter(finder.find(region)), None)
            if face is None:
                last = None
                continue
            last = face + corner
            seen += 1
            pending.append((k, align_face(region, face), network_image(image, portrait_crop(last))))
            if len(pending) == CHUNK_FRAMES:
                yield _make_chunk(number, pending)
                pending = []
        if pending:
            yield _make_chunk(number, pending)
        if seen < _MIN_SEEN * len(footage):
            raise NoFaceError(f"no face in {len(footage) - seen} of {len(footage)} frames")
        yield ClipEnd(number, len(footage), None)


def _make_chunk(number: int, frames: list[tuple[int, Image, Image]]) -> FaceChunk:
    at, aligned, faces = zip(*frames, strict=True)
    return FaceChunk(number, np.array(at, np.intp), np.stack(aligned), np.stack(faces))


def detect_ahead(clips: Sequence[Clip], threads: int) -> Iterator[FaceChunk | ClipEnd]:
    """Yield the chunks of all clips in order, while threads process the next `threads` clips.

    Keeps at most `_QUEUED_CHUNKS` chunks of each of these clips in memory.
    """
    if not threads:
        for number, clip in enumerate(clips):
            yield from detect_faces(clip, number)
        return
    readers: list[_Reader] = []
    try:
        for number, clip in enumerate(clips):
            while len(readers) < min(len(clips), number + threads):
                readers.append(_Reader(clips[len(readers)], len(readers)))
            assert clip is readers[number].clip
            yield from readers[number].items()
    finally:
        for reader in readers:
            reader.stop()


class _Reader:
    """A thread that makes the chunks of one clip and puts them in a bounded queue."""

    def __init__(self, clip: Clip, number: int) -> None:
        self.clip = clip
        self._number = number
        self._queue: Queue[Any] = Queue(_QUEUED_CHUNKS)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"clip {clip.name}", daemon=True)
        self._thread.start()

    def items(self) -> Iterator[FaceChunk | ClipEnd]:
        while True:
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            yield item
            if isinstance(item, ClipEnd):
                return

    def stop(self) -> None:
        self._stopped.set()
        with suppress(Empty):
            while True:
                self._queue.get_nowait()
        self._thread.join()

    def _work(self) -> None:
        try:
            for item in detect_faces(self.clip, self._number):
                if not self._put(item):
                    return
        except BaseException as error:  # raised by `items`
            self._put(error)

    def _put(self, item: Any) -> bool:
        while not self._stopped.is_set():
            with suppress(Full):
                self._queue.put(item, timeout=_POLL_SECONDS)
                return True
        return False
