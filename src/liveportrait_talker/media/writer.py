"""`VideoWriter`: a video file that is there when it is complete, and not before."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING

import numpy as np
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from ..arrays import Image
from ..errors import MediaError, OptionError
from .muxer import Muxer, PictureFormat

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

_SUFFIXES = (".mp4", ".m4v")
_QUEUED_FRAMES = 4
_LISTENS_EVERY_S = 0.2
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_output(path: Path, overwrite: bool) -> None:
    """Raise MediaError unless a video can be written to `path`; meant to be asked before any work starts."""
    folder = path.parent
    try:
        if path.is_dir():
            raise MediaError(f"{path} is a folder; name a file in it, such as {path / 'talking.mp4'}")
        if path.suffix.lower() not in _SUFFIXES:
            raise MediaError(f"{path.name} must end in .mp4, the only kind of video that is written; rename the output")
        if not folder.exists():
            raise MediaError(f"the folder {folder} for {path.name} does not exist; create it first (mkdir -p {folder})")
        if not folder.is_dir():
            raise MediaError(f"{folder} is not a folder, so {path.name} cannot be written there; name another place")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise MediaError(f"the folder {folder} is not writable, so {path.name} cannot be made; name another place")
        if path.exists() and not path.is_file():
            raise MediaError(f"{path} is not an ordinary file; name another output")
        if path.exists() and not overwrite:
            raise MediaError(f"{path} exists already; use --overwrite to replace it, or name another output")
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}); name another output") from error


def check_encoder(name: str) -> None:
    """Raise OptionError unless this machine can encode with it; meant to be asked before any work starts."""
    if name == "x264":
        return
    try:
        context = CodecContext.create("h264_nvenc", "w")
        assert isinstance(context, VideoCodecContext)
        context.width = context.height = 256
        context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
        context.open()
    except (FFmpegError, OSError, ValueError) as error:  # ValueError: PyAV was built without it
        raise OptionError(
            "--encoder nvenc needs an NVIDIA GPU that encodes, and its driver, which are not here: leave it out."
        ) from error


class VideoWriter:
    """Frames and a voice → MP4 (H.264, AAC), used in a `with`.

    Frames are encoded on a thread of their own, at most four wait. The file grows under a hidden name beside `path`
    and takes its own name when the `with` ends well; after any exception nothing is left behind. An odd width or
    height grows by one pixel, which repeats the edge. The sound keeps the voice's own rate (up to 48 kHz) and
    channels (up to two) and its whole length, unless the picture ends more than half a frame earlier.

    `size` is (width, height); `frame_count` the number of frames that will be written; `crf` 0 (lossless) … 51;
    `pixel_aspect` the width of a pixel on the screen / its height; `encoder` x264, or nvenc on an NVIDIA GPU (ask
    `check_encoder` first). Raises MediaError: from the start for an output that cannot be written or a voice that
    cannot be read, later for a full disk.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: tuple[int, int],
        fps: float,
        voice: Path | None,
        frame_count: int,
        crf: int = 18,
        preset: str = "veryfast",
        encoder: str = "x264",
        overwrite: bool = False,
        comment: str,
        title: str,
        pixel_aspect: Fraction = Fraction(1),
    ) -> None:
        check_output(path, overwrite)
        if voice is not None and path.exists() and path.samefile(voice):
            raise MediaError(f"{path} is the voice itself and would be lost; name another output")
        self._path = path
        self._size = size
        self._voice = voice
        self._overwrite = overwrite
        self._frame_count = frame_count
        exact_fps = Fraction(fps).limit_denominator(1001)  # 29.97… is 30000/1001
        width, height = size
        self._format = PictureFormat(
            size=(width + width % 2, height + height % 2),
            fps=exact_fps,
            crf=crf,
            preset=preset,
            pixel_aspect=pixel_aspect,
            encoder=encoder,
        )
        self._max_seconds = float((frame_count + Fraction(1, 2)) / exact_fps)
        self._metadata = {"title": title, "comment": comment, "synopsis": comment}
        self._written = 0
        self._queue: Queue[VideoFrame | None] = Queue(_QUEUED_FRAMES)
        self._stopped = self._abandoned = False
        self._error: BaseException | None = None

    def __enter__(self) -> VideoWriter:
        name = f".{self._path.stem[:40]}.{secrets.token_hex(4)}.part.mp4"
        self._part = self._path.resolve().parent / name
        try:
            self._muxer = Muxer(
                self._part,
                self._format,
                voice=self._voice,
                max_seconds=self._max_seconds,
                metadata=self._metadata,
            )
        except (FFmpegError, OSError) as error:
            raise self._explained(error) from error
        if self._format.size != self._size:
            log.warning(
                "%s is %d×%d, one pixel more than the picture on each odd side", self._path.name, *self._format.size
            )
        self._thread = threading.Thread(target=self._encode, name="encoder", daemon=True)
        self._thread.start()
        return self

    def write(self, frame: Image) -> None:
        """Hand over the next frame (H, W, 3) uint8 RGB; it is copied, so its buffer may be used again."""
        width, height = self._size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be ({height}, {width}, 3) uint8, got {frame.shape} {frame.dtype}")
        if self._written == self._frame_count:
            raise ValueError(f"all {self._frame_count} frames are written already")
        self._raise_error()
        if self._format.size != self._size:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        self._queue.put(VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
        self._written += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                if self._written != self._frame_count:
                    raise ValueError(f"{self._written} of {self._frame_count} frames were written")
                self._queue.put(None)
                self._thread.join()
                self._raise_error()
                self._publish()
        finally:
            self._clean_up()

    def _encode(self) -> None:
        """The encoder's thread: frames from the queue until None comes, or nobody waits for the video any more."""
        while True:
            try:
                frame = self._queue.get(timeout=_LISTENS_EVERY_S)
            except Empty:
                # Ctrl-C inside `put` can lose the queue's wake-up call for good: the flag is what counts then.
                if self._abandoned:
                    return
                continue
            if frame is None:
                break
            self._attempt(self._muxer.add, frame)
        self._attempt(self._muxer.finish)

    def _attempt(self, step: Callable[..., None], *given: VideoFrame) -> None:
        """Do `step`, unless one failed before or the writer was stopped; then the queue is only emptied."""
        if self._stopped:
            return
        try:
            step(*given)
        except BaseException as error:
            self._error, self._stopped = error, True

    def _publish(self) -> None:
        """Give the complete file its name."""
        try:
            with self._part.open("rb+") as file:
                os.fsync(file.fileno())  # a network drive may tell only now that it is full
            if self._overwrite:
                self._part.replace(self._path.resolve())
            else:
                self._publish_new()
        except OSError as error:
            raise self._explained(error) from error

    def _publish_new(self) -> None:
        """Give the file its name, unless another run has taken it meanwhile."""
        target = self._path.resolve()
        try:
            target.hardlink_to(self._part)
        except FileExistsError:
            raise MediaError(f"{self._path} has come into being meanwhile; use --overwrite, or name another") from None
        except OSError:  # a file system without links
            self._part.replace(target)

    def _clean_up(self) -> None:
        """Stop the thread, close all files and remove what is not published."""
        self._stopped = self._abandoned = True
        self._remove_part()  # first: then closing the unfinished file is quick
        with suppress(Full):
            self._queue.put_nowait(None)
        self._thread.join()
        with suppress(FFmpegError, OSError):
            self._muxer.close()
        self._remove_part()  # again, for systems that do not remove open files

    def _remove_part(self) -> None:
        with suppress(OSError):
            self._part.unlink()

    def _raise_error(self) -> None:
        """Raise what went wrong in the encoder's thread, if anything did."""
        if isinstance(self._error, (FFmpegError, OSError)):
            raise self._explained(self._error) from self._error
        if self._error is not None:
            raise self._error

    def _explained(self, error: FFmpegError | OSError) -> MediaError:
        if error.errno in _FULL_DISK:
            return MediaError(
                f"the disk is full, so {self._path} could not be completed; free some space or name another place"
            )
        return MediaError(f"{self._path} could not be written ({error.strerror}); name another place")
