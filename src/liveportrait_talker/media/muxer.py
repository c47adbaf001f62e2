"""Encode frames and audio, interleaved: H.264 and AAC in MP4; with an opacity VP9 and Opus, or ProRes and AAC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from .audio_file import AudioFile, audio_frame
from .colour import BT709, FULL_RANGE, LIMITED_RANGE, TO_YUV
from .mix import Mix, MixedFile

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz
_LARGE = 1_500_000  # px from which on encoding would take longer than drawing
_LARGE_CRF = 0.4  # by which CRF is lowered there, for the PSNR of the slower preset (docs/performance.md)
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_FORMATS = {"vp9": ("webm", "yuva420p", "libopus"), "prores": ("mov", "yuva444p10le", "aac")}
"""Encoder → container, pixels and sound of a video with an opacity."""
_AAC_BITS_PER_SECOND = {1: 128_000, 2: 192_000}  # by channels; the encoder lowers it for low sample rates


@dataclass(frozen=True)
class VideoFormat:
    """Parameters of the video encoder."""

    size: tuple[int, int]
    """(width, height), both even."""
    fps: Fraction
    crf: int
    """Quality: 0 is best (x264: lossless), 51 worst."""
    pixel_aspect: Fraction
    """Displayed width / height of a pixel; 1 except for anamorphic video."""
    encoder: str = "x264"
    """x264 or nvenc; vp9 or prores for frames with an opacity."""


class Muxer:
    """Writes one file: `add` every frame, then `finish`, then `close`. Not thread-safe.

    Raises FFmpeg's errors (av.error.FFmpegError, OSError).
    """

    def __init__(
        self,
        path: Path,
        video: VideoFormat,
        *,
        voice: Path | Mix | None,
        max_seconds: float,
        metadata: dict[str, str],
    ) -> None:
        # The voice first: if it cannot be read, no file is created.
        audio = voice.open() if isinstance(voice, Mix) else None if voice is None else AudioFile(voice)
        self._fps = video.fps
        self._reformatter = VideoReformatter()
        self._frames = 0
        container, self._pixels, audio_codec = _FORMATS.get(video.encoder, ("mp4", "yuv420p", "aac"))
        self._container = av.open(
            str(path), "w", format=container, options={} if container == "webm" else {"movflags": "+faststart"}
        )
        self._container.metadata.update(metadata)
        self._video = _add_video(self._container, video)
        self._audio = None if audio is None else _AudioTrack(self._container, audio, max_seconds, audio_codec)

    def add(self, rgb: VideoFrame) -> None:
        """Encode the next frame (rgb24, or rgba with an opacity) and the audio up to its end."""
        frame = self._reformatter.reformat(
            rgb,
            format=self._pixels,
            dst_colorspace=BT709,
            src_color_range=FULL_RANGE,
            dst_color_range=LIMITED_RANGE,
            interpolation=TO_YUV,
        )
        frame.pts, frame.time_base = self._frames, 1 / self._fps
        self._frames += 1
        self._container.mux(self._video.encode(frame))
        if self._audio is not None:
            for packet in self._audio.encode_until(float(self._frames / self._fps)):
                self._container.mux(packet)

    def finish(self) -> None:
        """Encode the rest of the audio and write the index, which completes the file."""
        if self._audio is not None:
            for packet in self._audio.flush():
                self._container.mux(packet)
        self._container.mux(self._video.encode(None))
        self._container.close()

    def close(self) -> None:
        """Close all files. Without `finish`, the output is incomplete."""
        try:
            self._container.close()
        finally:
            if self._audio is not None:
                self._audio.close()


def _add_video(container: OutputContainer, video: VideoFormat) -> VideoStream:
    if video.encoder == "nvenc":
        # p4: medium speed. cq corresponds to crf, but 0 would mean automatic.
        options = {"preset": "p4", "rc": "vbr", "cq": str(max(video.crf, 1))}
        stream = cast("VideoStream", container.add_stream("h264_nvenc", rate=video.fps, options=options))
    elif video.encoder == "vp9":
        # Row threads and speed 5 of 8; 0 bits/s: constant quality.
        options = {"crf": str(video.crf), "b": "0", "row-mt": "1", "deadline": "good", "cpu-used": "5"}
        stream = cast("VideoStream", container.add_stream("libvpx-vp9", rate=video.fps, options=options))
    elif video.encoder == "prores":
        options = {"profile": "4444", "vendor": "apl0"}
        stream = cast("VideoStream", container.add_stream("prores_ks", rate=video.fps, options=options))
    else:
        stream = container.add_stream("libx264", rate=video.fps, options=_choose_x264_options(video))
    stream.width, stream.height = video.size
    stream.pix_fmt = _FORMATS[video.encoder][1] if video.encoder in _FORMATS else "yuv420p"
    context = stream.codec_context
    if video.encoder == "x264":
        context.thread_type = "FRAME"  # PyAV's default, slices, costs quality
    context.time_base = 1 / video.fps
    context.sample_aspect_ratio = video.pixel_aspect
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = LIMITED_RANGE
    return stream


def _choose_x264_options(video: VideoFormat) -> dict[str, str]:
    """Return x264's options: large frames take the encoder less time and a fifth more bytes, at the same PSNR."""
    width, height = video.size
    if width * height < _LARGE:
        return {"preset": "veryfast", "crf": str(video.crf)}
    crf = max(video.crf - _LARGE_CRF, 0)
    # What superfast leaves out is what finds that a background stands still, which saves two thirds of the bytes.
    return {"preset": "superfast", "crf": f"{crf:g}", "x264-params": "mbtree=1:rc-lookahead=10"}


class _AudioTrack:
    """Audio stream that is encoded in step with the video."""

    def __init__(
        self, container: OutputContainer, voice: AudioFile | MixedFile, max_seconds: float, codec: str
    ) -> None:
        self._voice = voice
        # The next rate that keeps the full bandwidth.
        rates = _AAC_RATES if codec == "aac" else _OPUS_RATES
        self._rate = next((rate for rate in rates if rate >= voice.sample_rate), rates[-1])
        layout = "mono" if voice.channels == 1 else "stereo"
        self._stream = cast("AudioStream", container.add_stream(codec, rate=self._rate, layout=layout))
        self._stream.bit_rate = _AAC_BITS_PER_SECOND[voice.channels]
        self._blocks = voice.blocks(sample_rate=self._rate, channels=voice.channels)
        self._position = 0  # samples encoded
        self._end = round(max_seconds * self._rate)

    def encode_until(self, seconds: float) -> Iterator[Packet[AudioStream]]:
        """Yield packets up to `seconds` or slightly later."""
        limit = min(round(seconds * self._rate), self._end)
        while self._position < limit:
            block = next(self._blocks, None)
            if block is None:
                self._end = self._position
                return
            block = block[:, : self._end - self._position]
            frame = audio_frame(block, self._rate, self._position)
            self._position += block.shape[1]
            yield from self._stream.encode(frame)

    def flush(self) -> Iterator[Packet[AudioStream]]:
        """Yield the remaining packets."""
        yield from self.encode_until(self._end / self._rate)
        yield from self._stream.encode(None)

    def close(self) -> None:
        self._voice.close()
