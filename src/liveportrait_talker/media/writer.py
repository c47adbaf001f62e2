"""`VideoWriter`: writes MP4, WebM and QuickTime files that appear only when they are complete."""

from __future__ import annotations

import errno
import logging
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
from .mix import Mix
from .muxer import Muxer, VideoFormat
from .output_file import Label, check_output_file, partial_path, publish

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

_SUFFIXES = (".mp4", ".m4v")
_TRANSPARENT = {".webm": "vp9", ".mov": "prores"}  # suffix → encoder
_QUEUED_FRAMES = 4
_POLL_S = 0.2
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_output(path: Path, overwrite: bool, *, transparent: bool = False) -> None:
    """Raise MediaError unless a video can be written to `path`; to be called before any work starts."""
    if transparent:
        kind = ".webm (VP9), .mov (ProRes 4444) or %05d.png (numbered pictures) to be transparent"
        check_output_file(path, suffixes=tuple(_TRANSPARENT), kind=kind, example="talking.webm", overwrite=overwrite)
        return
    kind = ".mp4 (.webm, .mov and %05d.png are for --background transparent)"
    check_output_file(path, suffixes=_SUFFIXES, kind=kind, example="talking.mp4", overwrite=overwrite)


def check_encoder(name: str) -> None:
    """Raise OptionError unless this machine has the encoder `name`; to be called before any work starts."""
    if name == "x264":
        return
    try:
        context = CodecContext.create("h264_nvenc", "w")
        assert isinstance(context, VideoCodecContext)
        context.width = context.height = 256
        context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
        context.open()
    except (FFmpegError, OSError, ValueError) as error:  # ValueError: not in this build of FFmpeg
        raise OptionError(
            "--encoder nvenc needs an NVIDIA GPU with a video encoder, and its driver; neither was found: leave it out."
        ) from error


class VideoWriter:
    """Context manager that writes frames and audio to an MP4 file (H.264, AAC), transparent ones to WebM or MOV.

    A thread encodes the frames; the queue holds at most four. The file has a hidden name next to `path` until the
    context ends without an exception, and is removed otherwise. Odd sides are extended by one pixel, which repeats
    the edge. The audio keeps its sample rate (up to 48 kHz), channels (up to two) and length, unless the video ends
    more than half a frame earlier.

    Args:
        path: the output, .mp4 or .m4v; .webm or .mov if `transparent`.
        size: (width, height).
        fps: frames per second.
        voice: file with the audio, or several at once, or None.
        frame_count: number of frames that will be written.
        crf: quality, 0 (lossless) … 51.
        encoder: x264, or nvenc on an NVIDIA GPU (see `check_encoder`).
        overwrite: replace an existing file.
        comment: metadata.
        title: metadata.
        pixel_aspect: displayed width / height of a pixel.
        transparent: frames have an opacity, which the file keeps (VP9 and Opus, or ProRes 4444 and AAC).
        label: writes content credentials into the complete file.

    Raises:
        MediaError: the output cannot be written, the voice cannot be read, or (later) the disk is full.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: tuple[int, int],
        fps: float,
        voice: Path | Mix | None,
        frame_count: int,
        crf: int = 18,
        encoder: str = "x264",
        overwrite: bool = False,
        comment: str,
        title: str,
        pixel_aspect: Fraction = Fraction(1),
        transparent: bool = False,
        label: Label | None = None,
    ) -> None:
        check_output(path, overwrite, transparent=transparent)
        self._transparent, self._label = transparent, label
        if isinstance(voice, Path) and path.exists() and path.samefile(voice):
            raise MediaError(f"{path} is the voice and would be overwritten; choose another output")
        self._path = path
        self._size = size
        self._voice = voice
        self._overwrite = overwrite
        self._frame_count = frame_count
        exact_fps = Fraction(fps).limit_denominator(1001)  # 29.97… is 30000/1001
        width, height = size
        self._format = VideoFormat(
            size=(width + width % 2, height + height % 2),
            fps=exact_fps,
            crf=crf,
            pixel_aspect=pixel_aspect,
            encoder=_TRANSPARENT[path.suffix.lower()] if transparent else encoder,
        )
        self._max_seconds = float((frame_count + Fraction(1, 2)) / exact_fps)
        self._metadata = {"title": title, "comment": comment, "synopsis": comment}
        self._written = 0
        self._queue: Queue[VideoFrame | None] = Queue(_QUEUED_FRAMES)
        self._stopped = False
        self._error: BaseException | None = None

    def __enter__(self) -> VideoWriter:
        self._part = partial_path(self._path, self._path.suffix.lower() if self._transparent else ".mp4")
        try:
            self._muxer = Muxer(
                self._part,
                self._format,
                voice=self._voice,
                max_seconds=self._max_seconds,
                metadata=self._metadata,
            )
        except (FFmpegError, OSError) as error:
            raise self._media_error(error) from error
        if self._format.size != self._size:
            log.warning("%s is %d×%d: odd sides are extended by one pixel", self._path.name, *self._format.size)
        self._thread = threading.Thread(target=self._encode, name="encoder", daemon=True)
        self._thread.start()
        return self

    def write(self, frame: Image) -> None:
        """Queue the next frame (H, W, 3) uint8 RGB, or (H, W, 4) RGBA if transparent; it is copied."""
        width, height = self._size
        channels = 4 if self._transparent else 3
        if frame.shape != (height, width, channels) or frame.dtype != np.uint8:
            raise ValueError(f"a frame must be ({height}, {width}, {channels}) uint8, got {frame.shape} {frame.dtype}")
        if self._written == self._frame_count:
            raise ValueError(f"all {self._frame_count} frames are written already")
        self._raise_error()
        if self._format.size != self._size:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        layout = "rgba" if self._transparent else "rgb24"
        self._queue.put(VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=layout))
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
        """Encode frames from the queue until None arrives or the writer is stopped; runs in the encoder thread."""
        while True:
            try:
                frame = self._queue.get(timeout=_POLL_S)
            except Empty:
                # Ctrl-C inside `put` can lose the notification of the queue, hence the flag.
                if self._stopped:
                    return
                continue
            if frame is None:
                break
            self._attempt(self._muxer.add, frame)
        self._attempt(self._muxer.finish)

    def _attempt(self, step: Callable[..., None], *frames: VideoFrame) -> None:
        """Run `step` unless an earlier step failed or the writer was stopped."""
        if self._stopped:
            return
        try:
            step(*frames)
        except BaseException as error:
            self._error, self._stopped = error, True

    def _publish(self) -> None:
        try:
            publish(self._part, self._path, self._overwrite, self._label)
        except OSError as error:
            raise self._media_error(error) from error

    def _clean_up(self) -> None:
        """Stop the thread, close all files and remove an unpublished file."""
        self._stopped = True
        self._remove_part()  # first, so that closing the unfinished file is quick
        with suppress(Full):
            self._queue.put_nowait(None)
        self._thread.join()
        with suppress(FFmpegError, OSError):
            self._muxer.close()
        self._remove_part()  # again, for systems that cannot remove open files

    def _remove_part(self) -> None:
        with suppress(OSError):
            self._part.unlink()

    def _raise_error(self) -> None:
        """Raise the error of the encoder thread, if any."""
        if isinstance(self._error, (FFmpegError, OSError)):
            raise self._media_error(self._error) from self._error
        if self._error is not None:
            raise self._error

    def _media_error(self, error: FFmpegError | OSError) -> MediaError:
        if error.errno in _FULL_DISK:
            return MediaError(
                f"the disk is full, so {self._path} could not be completed; free some space or choose another location"
            )
        return MediaError(f"{self._path} could not be written ({error.strerror}); choose another location")
