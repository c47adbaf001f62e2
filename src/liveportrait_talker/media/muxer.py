"""Pictures and a voice → one MP4 file: H.264 and AAC, interleaved as they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from .colour import BT709, FULL_RANGE, LIMITED_RANGE, TO_YUV
from .sound import SoundFile, audio_frame

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz
_AAC_BITS_PER_SECOND = {1: 128_000, 2: 192_000}  # by channels; the encoder lowers it where the rate allows less


@dataclass(frozen=True)
class PictureFormat:
    """How the picture is encoded."""

    size: tuple[int, int]
    """(width, height), both even."""
    fps: Fraction
    crf: int
    """Quality: 0 is the best (x264: lossless), 51 the worst."""
    preset: str
    """x264's speed: ultrafast … veryslow."""
    pixel_aspect: Fraction
    """Width of a pixel on the screen / its height; 1 but for anamorphic video."""
    encoder: str = "x264"
    """x264 or nvenc."""


class Muxer:
    """Writes one MP4 file: `add` every frame, then `close`. Not for several threads at once.

    FFmpeg's errors pass through (av.error.FFmpegError, OSError).
    """

    def __init__(
        self,
        path: Path,
        picture: PictureFormat,
        *,
        voice: Path | None,
        max_seconds: float,
        metadata: dict[str, str],
    ) -> None:
        # The voice first: when it cannot be read, no file is begun.
        sound = None if voice is None else SoundFile(voice)
        self._fps = picture.fps
        self._reformatter = VideoReformatter()
        self._frames = 0
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._container.metadata.update(metadata)
        self._video = _add_video(self._container, picture)
        self._sound = None if sound is None else _SoundTrack(self._container, sound, max_seconds)

    def add(self, rgb: VideoFrame) -> None:
        """Encode the next frame (rgb24) and the sound that goes with it."""
        frame = self._reformatter.reformat(
            rgb,
            format="yuv420p",
            dst_colorspace=BT709,
            src_color_range=FULL_RANGE,
            dst_color_range=LIMITED_RANGE,
            interpolation=TO_YUV,
        )
        frame.pts, frame.time_base = self._frames, 1 / self._fps
        self._frames += 1
        self._container.mux(self._video.encode(frame))
        if self._sound is not None:
            for packet in self._sound.until(float(self._frames / self._fps)):
                self._container.mux(packet)

    def finish(self) -> None:
        """Encode what is left of the sound and write the index; the file is complete afterwards."""
        if self._sound is not None:
            for packet in self._sound.rest():
                self._container.mux(packet)
        self._container.mux(self._video.encode(None))
        self._container.close()

    def close(self) -> None:
        """Let go of all files. Without `finish` before, what has been written is not to be used."""
        try:
            self._container.close()
        finally:
            if self._sound is not None:
                self._sound.close()


def _add_video(container: OutputContainer, picture: PictureFormat) -> VideoStream:
    if picture.encoder == "nvenc":
        # p4 is its middle speed; cq is its crf, where 0 would mean that it chooses.
        options = {"preset": "p4", "rc": "vbr", "cq": str(max(picture.crf, 1))}
        stream = cast("VideoStream", container.add_stream("h264_nvenc", rate=picture.fps, options=options))
    else:
        options = {"crf": str(picture.crf), "preset": picture.preset}
        stream = container.add_stream("libx264", rate=picture.fps, options=options)
    stream.width, stream.height = picture.size
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    if picture.encoder == "x264":
        context.thread_type = "FRAME"  # PyAV's default cuts every frame into slices, which costs quality
    context.time_base = 1 / picture.fps
    context.sample_aspect_ratio = picture.pixel_aspect
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = LIMITED_RANGE
    return stream


class _SoundTrack:
    """The voice, encoded bit by bit just ahead of the picture."""

    def __init__(self, container: OutputContainer, voice: SoundFile, max_seconds: float) -> None:
        self._voice = voice
        # The next AAC rate that holds all of the voice's own band.
        self._rate = next((rate for rate in _AAC_RATES if rate >= voice.sample_rate), _AAC_RATES[-1])
        layout = "mono" if voice.channels == 1 else "stereo"
        self._stream = container.add_stream("aac", rate=self._rate, layout=layout)
        self._stream.bit_rate = _AAC_BITS_PER_SECOND[voice.channels]
        self._blocks = voice.blocks(sample_rate=self._rate, channels=voice.channels)
        self._taken = 0  # samples
        self._end = round(max_seconds * self._rate)

    def until(self, seconds: float) -> Iterator[Packet[AudioStream]]:
        """Packets of the sound up to `seconds`, or a little further."""
        limit = min(round(seconds * self._rate), self._end)
        while self._taken < limit:
            block = next(self._blocks, None)
            if block is None:
                self._end = self._taken
                return
            block = block[:, : self._end - self._taken]
            frame = audio_frame(block, self._rate, self._taken)
            self._taken += block.shape[1]
            yield from self._stream.encode(frame)

    def rest(self) -> Iterator[Packet[AudioStream]]:
        """All that is left, with what the encoder still holds."""
        yield from self.until(self._end / self._rate)
        yield from self._stream.encode(None)

    def close(self) -> None:
        self._voice.close()
