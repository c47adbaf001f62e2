"""Random access to the frames of a video file, with bounded memory."""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av.error
from av.codec.context import CodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..arrays import Image
from ..errors import MediaError
from .conversion import FrameConverter
from .deinterlacing import deinterlace
from .limits import MAX_VIDEO_PIXELS, PIXELS_FOR_THREADS, Limits, largest_later_frame
from .media_file import MediaFile
from .timeline import read_timeline

log = logging.getLogger(__name__)

CACHE_BYTES = 64 << 20
"""Size of the cache of decoded frames, for access in descending order."""
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_DECODER_THREADS = 4  # each buffers frames


class VideoFrames:
    """Sequence of the stored frames of a video: (H, W, 3) uint8 RGB, upright, read-only.

    Forward access continues decoding. Backward access decodes from the previous keyframe and caches up to
    `CACHE_BYTES` of frames.

    Raises:
        MediaError: unreadable, no video stream, or a limit is exceeded.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.name = path.name
        self._path = path
        self._cache: dict[int, Image] = {}
        self._position = 0  # index of the next frame from the decoder
        self._decoder: Iterator[tuple[int, VideoFrame]] = iter(())
        self._file = MediaFile(path)
        try:
            self._stream = self._find_stream()
            context = self._stream.codec_context
            if context is None or not context.width or not context.height:
                raise MediaError(f"{self.name} has an unsupported video format; convert it to H.264 or PNG")
            most = min(limits.max_pixels, MAX_VIDEO_PIXELS)
            replace(limits, max_pixels=most).check_size(self.name, context.width, context.height)
            if self._stream.duration is not None and self._stream.time_base is not None:  # before reading all of it
                limits.check_seconds(self.name, float(self._stream.duration * self._stream.time_base))
            timeline = read_timeline(path, max_seconds=limits.max_seconds)
            if timeline is None:
                raise self._unreadable_error()
            limits.check_seconds(self.name, timeline.duration_seconds)
            self.timeline = timeline
            self._warn_if_truncated()
            self._size = limits.fit(self.name, context.width, context.height)  # as stored, before rotation
            self._capacity = max(2, CACHE_BYTES // (3 * self._size[0] * self._size[1]))
            self._convert = FrameConverter(self.name, self._size)
            self._rewind()
            self[0]
            self.pixel_aspect = self._read_pixel_aspect()
            """Displayed width / height of a pixel, upright; 1 except for anamorphic video."""
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.timeline.seconds)

    def __getitem__(self, index: int) -> Image:
        if index not in self._cache:
            self._decode_to(index)
        return self._cache[index]

    def close(self) -> None:
        """Close the file, and free decoded frames and the decoder with its threads; can be called twice."""
        self._file.close()
        self._decoder = iter(())  # it refers to this object, which would keep all of this until a garbage collection
        self._cache.clear()
        for name in ("_stream", "_codec", "_convert"):
            self.__dict__.pop(name, None)

    def _decode_to(self, index: int) -> None:
        """Decode frame `index` into the cache; for backward access, also as many frames before it as fit."""
        first = index if index >= self._position else max(0, index - self._capacity + 1)
        if first < self._position or self._keyframe_before(first) > self._position:
            self._seek(first)
        with suppress(av.error.FFmpegError):  # of the deinterlacer, which ends the decoder
            for found, frame in self._decoder:
                self._position = found + 1
                if found >= first:
                    with suppress(av.error.FFmpegError):  # colours that cannot be converted: the frame is damaged
                        self._store(found, self._convert(frame))
                if found >= index:
                    break
        if index not in self._cache:  # this frame is damaged: use the nearest one
            if not self._cache:
                raise self._unreadable_error()
            self._store(index, self._cache[min(self._cache, key=lambda other: abs(other - index))])

    def _store(self, index: int, image: Image) -> None:
        while len(self._cache) >= self._capacity:
            del self._cache[next(iter(self._cache))]  # the oldest entry
        self._cache[index] = image

    def _keyframe_before(self, index: int) -> int:
        """Return the index of the last keyframe up to `index`, 0 if none is known."""
        stamps, keys = self.timeline.stamps, self.timeline.keys
        if stamps is None:
            return 0
        place = bisect_right(keys, stamps[index])
        return bisect_left(stamps, keys[place - 1]) if place else 0

    def _seek(self, index: int) -> None:
        """Seek to a position from which decoding reaches frame `index`."""
        key = self._keyframe_before(index)
        if key == 0 or self.timeline.stamps is None:
            self._rewind()
            return
        try:
            self._file.container.seek(self.timeline.stamps[key], stream=self._stream)
        except av.error.FFmpegError:
            self._rewind()
            return
        decoder = self._decode_indexed()
        begin = next(decoder, None)
        if begin is None or begin[0] > index:  # the index of the container is wrong
            self._rewind()
            return
        self._position, self._decoder = begin[0], chain((begin,), decoder)

    def _rewind(self) -> None:
        """Open the file again: not every format can seek."""
        self._file.close()
        self._file = MediaFile(self._path)
        self._stream = self._find_stream()
        context = self._codec = _alpha_decoder(self._stream) or self._stream.codec_context
        context.thread_type = "AUTO"
        context.thread_count = _DECODER_THREADS if context.width * context.height <= PIXELS_FOR_THREADS else 1
        context.options = {"max_pixels": str(largest_later_frame(context.width, context.height))}
        self._position, self._decoder = 0, self._decode_indexed()

    def _decode_indexed(self) -> Iterator[tuple[int, VideoFrame]]:
        """Yield (index, decoded frame) from the current position."""
        stamps = self.timeline.stamps
        frame: VideoFrame
        frames = deinterlace(self._file.decode(self._stream, self._codec), self._stream)
        for count, frame in enumerate(frames):
            if stamps is None:
                yield min(count, len(self) - 1), frame
            elif frame.pts is not None:
                place = bisect_left(stamps, frame.pts)
                if place < len(stamps) and stamps[place] == frame.pts:
                    yield place, frame

    def _read_pixel_aspect(self) -> Fraction:
        aspect = self._stream.sample_aspect_ratio
        if not aspect or not Fraction(1, 4) <= aspect <= 4:  # unknown or implausible
            return Fraction(1)
        return 1 / aspect if self._convert.is_transposed else aspect

    def _find_stream(self) -> VideoStream:
        stream = self._file.video_stream()
        if stream is None:
            raise MediaError(f"{self.name} has no picture; give a photo or a video that shows a face")
        return stream

    def _warn_if_truncated(self) -> None:
        if self._stream.duration is None or self._stream.time_base is None:
            return
        declared, found = float(self._stream.duration * self._stream.time_base), self.timeline.duration_seconds
        if found < 0.98 * declared - 0.1:
            log.warning(
                "%s is incomplete; the %.1f of %.1f seconds that can be read are used", self.name, found, declared
            )

    def _unreadable_error(self) -> MediaError:
        return MediaError(f"{self.name} is damaged and no frame can be read; get the file again")


def _alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """Return a decoder with alpha for VP8 and VP9, as FFmpeg's default decoders ignore it; None if not needed."""
    decoder = _ALPHA_DECODERS.get(stream.codec_context.name)
    stated = {key.lower(): value for key, value in stream.metadata.items()}  # the case depends on the muxer
    if decoder is None or stated.get("alpha_mode") != "1":
        return None
    context = CodecContext.create(decoder, "r")
    assert isinstance(context, VideoCodecContext)
    return context
