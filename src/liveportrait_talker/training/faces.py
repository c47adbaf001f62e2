"""A clip of an utterance → the faces that the extractors look at, in pieces, decoded ahead by threads."""

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
import numpy.typing as npt

from ..arrays import Floats, Image
from ..errors import MediaError, NoFaceError, TalkerError
from ..face.alignment import align_face
from ..face.finder import FaceFinder
from ..face.liveportrait_crop import portrait_crop
from ..media.footage import open_footage
from .metadata import crop_rectangle, interpolated, read_utterance

log = logging.getLogger(__name__)

PIECE = 32
"""Frames in a piece: 11 MB."""
_LEAST_SEEN = 0.5  # share of an utterance's frames; one with fewer is not of a face
_WAITING_PIECES = 2  # of each clip
_LISTENS_EVERY_S = 0.2


@dataclass(frozen=True)
class Clip:
    """One utterance to look at. Paths are absolute: a worker may run in another folder."""

    name: str
    video: Path
    text: Path | None
    """Its metadata, whose boxes say where the face is; without, the largest face is taken."""


@dataclass(frozen=True, eq=False)
class FacePiece:
    """Some frames of a clip that show its face."""

    clip: int
    """Which of the clips."""
    frames: npt.NDArray[np.intp]
    """(n,) numbers of the frames in the clip."""
    aligned: Image
    """(n, 224, 224, 3) for the 3DMM regressor."""
    faces: Image
    """(n, 256, 256, 3) for the motion extractor: LivePortrait's own crop, as at inference."""


@dataclass(frozen=True)
class ClipEnd:
    """A clip is through: it has so many frames, or something is wrong with it."""

    clip: int
    frames: int
    reason: str | None


def face_pieces(clip: Clip, number: int) -> Iterator[FacePiece | ClipEnd]:
    """The pieces of a clip, then its end; what goes wrong is in the end, not raised."""
    try:
        yield from _pieces(clip, number)
    except TalkerError as error:
        yield ClipEnd(number, 0, _reason(error))
    except Exception as error:  # FFmpeg, OpenCV, MediaPipe: one odd clip must not end a run of days
        log.warning("%s: %s: %s", clip.video, type(error).__name__, error)
        yield ClipEnd(number, 0, f"something went wrong: {type(error).__name__}")


def _pieces(clip: Clip, number: int) -> Iterator[FacePiece | ClipEnd]:
    # Brings torch along, which the rest of this module does without.
    from ..render.neural.renderer import network_picture

    with open_footage(clip.video) as footage:
        if footage.is_still:
            raise MediaError("it has no moving picture")
        width, height = footage.size
        boxes = None
        if clip.text is not None:
            boxes = interpolated(read_utterance(clip.text).fractions(width, height), len(footage))
        waiting: list[tuple[int, Image, Image]] = []
        seen = 0
        finder = FaceFinder()
        last: Floats | None = None  # the face in the frame before, px of the whole picture
        for k in range(len(footage)):
            picture = footage[k]
            x1, y1, x2, y2 = (0, 0, width, height) if boxes is None else crop_rectangle(boxes[k], width, height)
            part = np.ascontiguousarray(picture[y1:y2, x1:x2])
            corner = np.array([x1, y1, 0], np.float32)
            face = None if last is None else finder.follow(part, last - corner)
            if face is None:
                face = next(iter(finder.find(part)), None)
            if face is None:
                last = None
                continue
            last = face + corner
            seen += 1
            waiting.append((k, align_face(part, face), network_picture(picture, portrait_crop(last))))
            if len(waiting) == PIECE:
                yield _piece(number, waiting)
                waiting = []
        if waiting:
            yield _piece(number, waiting)
        if seen < _LEAST_SEEN * len(footage):
            raise NoFaceError(f"no face in {len(footage) - seen} of {len(footage)} frames")
        yield ClipEnd(number, len(footage), None)


def _piece(number: int, frames: list[tuple[int, Image, Image]]) -> FacePiece:
    at, aligned, faces = zip(*frames, strict=True)
    return FacePiece(number, np.array(at, np.intp), np.stack(aligned), np.stack(faces))


def _reason(error: TalkerError) -> str:
    """The kind of trouble, then a colon and its details."""
    kind = "no face" if isinstance(error, NoFaceError) else "broken clip"
    return f"{kind}: {error}"


def faces_ahead(clips: Sequence[Clip], threads: int) -> Iterator[FacePiece | ClipEnd]:
    """The pieces of all `clips`, clip after clip; the next `threads` clips are decoded and searched meanwhile.

    Memory: two pieces of each clip in hand.
    """
    if not threads:
        for number, clip in enumerate(clips):
            yield from face_pieces(clip, number)
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
    """A thread that makes the pieces of one clip and waits where nobody takes them."""

    def __init__(self, clip: Clip, number: int) -> None:
        self.clip = clip
        self._number = number
        self._queue: Queue[Any] = Queue(_WAITING_PIECES)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"clip {clip.name}", daemon=True)
        self._thread.start()

    def items(self) -> Iterator[FacePiece | ClipEnd]:
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
            for item in face_pieces(self.clip, self._number):
                if not self._put(item):
                    return
        except BaseException as error:  # raised where the pieces are taken
            self._put(error)

    def _put(self, item: Any) -> bool:
        while not self._stopped.is_set():
            with suppress(Full):
                self._queue.put(item, timeout=_LISTENS_EVERY_S)
                return True
        return False
