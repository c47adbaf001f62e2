"""Video files → frames by number, with bounded memory."""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
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
from .deinterlacing import deinterlaced
from .limits import Limits
from .source import MediaFile
from .timeline import read_timeline

log = logging.getLogger(__name__)

CACHE_BYTES = 64 << 20
"""Decoded pictures that are kept, for going backward."""
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_DECODER_THREADS = 4  # each holds frames of its own


class VideoFrames:
    """The stored frames of a video by number: (H, W, 3) uint8 RGB, upright, read-only.

    Forward access decodes on from where it is. Backward access decodes a stretch from the key frame before it and
    keeps as much of it as `CACHE_BYTES` hold. Raises MediaError: not readable, no picture, too small, too large,
    too long.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.name = path.name
        self._path = path
        self._max_pixels = limits.max_pixels
        self._cache: dict[int, Image] = {}
        self._position = 0  # number of the frame that the decoder gives next
        self._decoder: Iterator[tuple[int, VideoFrame]] = iter(())
        self._file = MediaFile(path)
        try:
            self._stream = self._moving_picture()
            context = self._stream.codec_context
            if context is None or not context.width or not context.height:
                raise MediaError(
                    f"{self.name} holds a picture of a kind that cannot be read; convert it to H.264 or PNG"
                )
            limits.check_size(self.name, context.width, context.height)
            if self._stream.duration is not None and self._stream.time_base is not None:  # before all of it is read
                limits.check_seconds(self.name, float(self._stream.duration * self._stream.time_base))
            timeline = read_timeline(path)
            if timeline is None:
                raise self._unreadable()
            limits.check_seconds(self.name, timeline.duration_seconds)
            self.timeline = timeline
            self._warn_if_cut()
            self._size = limits.fit(self.name, context.width, context.height)  # as stored, before any turn
            self._room = max(2, CACHE_BYTES // (3 * self._size[0] * self._size[1]))
            self._convert = FrameConverter(self.name, self._size)
            self._rewind()
            self[0]
            self.pixel_aspect = self._read_pixel_aspect()
            """Width of a pixel on the screen / its height, upright; 1 but for anamorphic video."""
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.timeline.seconds)

    def __getitem__(self, number: int) -> Image:
        if number not in self._cache:
            self._decode_to(number)
        return self._cache[number]

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()

    def _decode_to(self, number: int) -> None:
        """Decode until frame `number` is in the cache, with as many before it as fit when going backward."""
        first = number if number >= self._position else max(0, number - self._room + 1)
        if first < self._position or self._key_before(first) > self._position:
            self._seek(first)
        for found, frame in self._decoder:
            self._position = found + 1
            if found >= first:
                self._keep(found, self._convert(frame))
            if found >= number:
                break
        if number not in self._cache:  # this frame is damaged: the nearest one stands in
            if not self._cache:
                raise self._unreadable()
            self._keep(number, self._cache[min(self._cache, key=lambda other: abs(other - number))])

    def _keep(self, number: int, picture: Image) -> None:
        while len(self._cache) >= self._room:
            del self._cache[next(iter(self._cache))]  # the oldest entry
        self._cache[number] = picture

    def _key_before(self, number: int) -> int:
        """Number of the last frame up to `number` at which decoding can begin, 0 if none is known."""
        stamps, keys = self.timeline.stamps, self.timeline.keys
        if stamps is None:
            return 0
        place = bisect_right(keys, stamps[number])
        return bisect_left(stamps, keys[place - 1]) if place else 0

    def _seek(self, number: int) -> None:
        """Make the decoder's next frames lead up to `number`."""
        key = self._key_before(number)
        if key == 0 or self.timeline.stamps is None:
            self._rewind()
            return
        try:
            self._file.container.seek(self.timeline.stamps[key], stream=self._stream)
        except av.error.FFmpegError:
            self._rewind()
            return
        decoder = self._numbered()
        begin = next(decoder, None)
        if begin is None or begin[0] > number:  # the container's own index misled us
            self._rewind()
            return
        self._position, self._decoder = begin[0], chain((begin,), decoder)

    def _rewind(self) -> None:
        """Open the file anew: every format can do that, not every one can seek."""
        self._file.close()
        self._file = MediaFile(self._path)
        self._stream = self._moving_picture()
        context = self._codec = _alpha_decoder(self._stream) or self._stream.codec_context
        context.thread_type = "AUTO"
        context.thread_count = _DECODER_THREADS
        context.options = {"max_pixels": str(self._max_pixels)}  # a stream may change its size half-way
        self._position, self._decoder = 0, self._numbered()

    def _numbered(self) -> Iterator[tuple[int, VideoFrame]]:
        """Decoded frames with their numbers, from the current place."""
        stamps = self.timeline.stamps
        frame: VideoFrame
        frames = deinterlaced(self._file.decode(self._stream, self._codec), self._stream)
        for count, frame in enumerate(frames):
            if stamps is None:
                yield min(count, len(self) - 1), frame
            elif frame.pts is not None:
                place = bisect_left(stamps, frame.pts)
                if place < len(stamps) and stamps[place] == frame.pts:
                    yield place, frame

    def _read_pixel_aspect(self) -> Fraction:
        aspect = self._stream.sample_aspect_ratio
        if not aspect or not Fraction(1, 4) <= aspect <= 4:  # unknown, or nonsense
            return Fraction(1)
        return 1 / aspect if self._convert.is_transposed else aspect

    def _moving_picture(self) -> VideoStream:
        stream = self._file.moving_picture()
        if stream is None:
            raise MediaError(f"{self.name} has no picture in it; give a photo or a video that shows a face")
        return stream

    def _warn_if_cut(self) -> None:
        if self._stream.duration is None or self._stream.time_base is None:
            return
        declared, found = float(self._stream.duration * self._stream.time_base), self.timeline.duration_seconds
        if found < 0.98 * declared - 0.1:
            log.warning(
                "%s is cut short; the %.1f of %.1f seconds that can be read are used", self.name, found, declared
            )

    def _unreadable(self) -> MediaError:
        return MediaError(f"{self.name} is damaged, not one picture in it can be read; get the file again")


def _alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """A decoder of transparency for VP8 and VP9, which FFmpeg's own leave out; None where there is none to decode."""
    decoder = _WITH_ALPHA.get(stream.codec_context.name)
    stated = {key.lower(): value for key, value in stream.metadata.items()}  # muxers differ
    if decoder is None or stated.get("alpha_mode") != "1":
        return None
    context = CodecContext.create(decoder, "r")
    assert isinstance(context, VideoCodecContext)
    return context
