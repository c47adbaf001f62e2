"""Cutting the utterances of a video into clips, exact to the frame and to the sample, with reproducible bytes.

Frame k of a clip is the frame that the source shows k / 25 seconds after the utterance begins, at any source frame
rate; time counts from the video's first frame. The source is decoded once. Frames are passed from decoder to encoder as
YUV 4:2:0; only other formats, rotated frames and odd sizes are converted. (`media.footage` and `media.audio_file`
decode to RGB and to mono at a fixed rate, which would change the clips.)
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import MediaError
from ..media.audio_file import audio_frame
from ..media.colour import LIMITED_RANGE, TO_YUV
from ..media.media_file import MediaFile
from ..media.timeline import read_timeline
from ..system.partial_files import write_error
from .fetch import Cancelled
from .metadata import FPS

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Samples = npt.NDArray[np.float32]

# Macroblock-tree rate control is off: with it (and x264's assembler) one encoding in eight of small videos had other
# bytes for the same frames. CRF 19 without it has the quality of 18 with it (41.1 dB), in files 6 % larger.
_CRF, _X264 = 19, "mbtree=0"
_PRESET = "veryfast"
_DECODER_THREADS = 2
_AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz
_AAC_BITS_PER_SECOND = {1: 128_000, 2: 192_000}  # by channels
_PREROLL_SECONDS = 1.0  # of audio, for the decoder
_SEEK_SECONDS = 5.0  # seek over longer gaps of audio; decode through shorter ones
_JITTER_SECONDS = 0.02  # rounding of audio time stamps; smaller gaps are ignored
_MAX_MISSING_SECONDS = 0.1  # of an utterance's audio


@dataclass(frozen=True)
class Segment:
    """A clip to cut: frames `first` … `last` (inclusive), counted from 0 at 25 frames/s."""

    name: str
    first: int
    last: int
    target: Path
    """Path of the clip; its folder exists."""


def cut_clips(
    video: Path,
    segments: Sequence[Segment],
    work: Path,
    *,
    sound: Path | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, str | None]:
    """Cut all segments of a video, with audio from `sound` if given. Polls `is_cancelled` at each frame.

    Returns name → None, or the reason of a failure, with details after a colon. `work` is a folder for unfinished
    clips, on the same disk as their targets.

    Raises:
        MediaError: a clip cannot be written, or the disk is full.
        Cancelled: `is_cancelled()` became true.
    """
    try:
        source = _Source(video, sound)
    except MediaError:
        return {segment.name: "the video is damaged: nothing in it can be read" for segment in segments}
    results: dict[str, str | None] = {}
    try:
        clips = []
        for segment in segments:
            source_frames = source.frame_numbers(segment.first, segment.last)
            if source_frames is None:
                end = source.timeline.duration_seconds
                results[segment.name] = f"the video is too short: it ends after {end:.2f} s"
            else:
                clips.append(_Clip(segment, source_frames, work / f"{segment.name}.part"))
        for group in _group_overlapping(clips):
            _cut_clips_together(source, group, is_cancelled)
            results.update((clip.segment.name, clip.error) for clip in group)
    except OSError as error:
        raise write_error(work, error) from error
    finally:
        source.close()
    return results


def _group_overlapping(clips: list[_Clip]) -> Iterator[list[_Clip]]:
    """Yield groups of clips that share frames, in the order of time."""
    group: list[_Clip] = []
    end = -1
    for clip in sorted(clips, key=lambda clip: (clip.segment.first, clip.segment.name)):
        if group and clip.segment.first > end:
            yield group
            group, end = [], -1
        group.append(clip)
        end = max(end, clip.segment.last)
    if group:
        yield group


def _cut_clips_together(source: _Source, group: list[_Clip], is_cancelled: Callable[[], bool]) -> None:
    first, last = min(clip.segment.first for clip in group), max(clip.segment.last for clip in group)
    sound = None if source.sound is None else source.sound.load(first, last + 1)
    try:
        end = max(int(clip.source_frames[-1]) for clip in group)
        for number, stored in source.frames(int(group[0].source_frames[0]), end):
            if is_cancelled():
                raise Cancelled
            frame: VideoFrame | None = None
            for clip in group:
                if clip.needs(number):
                    frame = frame or _to_yuv420p(stored)
                    aspect = source.pixel_aspect
                    clip.add(number, frame, 1 / aspect if round(stored.rotation / 90) % 2 else aspect, sound)
        for clip in group:
            clip.require_complete()
    finally:
        for clip in group:
            clip.discard()


class _Source:
    """Forward access to a video's frames by number, and its audio."""

    def __init__(self, path: Path, sound: Path | None) -> None:
        self._path = path
        self._file = MediaFile(path)
        self._position = 0  # number of the decoder's next frame
        self._current: list[tuple[int, Any]] = []  # number and frame decoded last
        self._decoder: Iterator[tuple[int, Any]] = iter(())
        try:
            picture = self._file.video_stream()
            if picture is None:
                raise MediaError(f"{path.name} has no picture in it.")
            self._track = [stream.index for stream in self._file.container.streams.video].index(picture.index)
            timeline = read_timeline(path, include_audio=False)
            if timeline is None:
                raise MediaError(f"{path.name} is damaged.")
            self.timeline = timeline
            self._rewind()
            zero = Fraction(timeline.stamps[0] if timeline.stamps else 0) * (self._stream.time_base or 0)
            self.pixel_aspect = self._stream.sample_aspect_ratio or Fraction(1)
            if sound is None and self._file.container.streams.audio:
                sound = path
            self.sound = None if sound is None else _Sound(sound, zero)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()
        if self.sound is not None:
            self.sound.close()

    def frame_numbers(self, first: int, last: int) -> npt.NDArray[np.int64] | None:
        """Return the numbers of the frames shown at first / 25 … last / 25 s; None beyond the end of the video."""
        seconds = self.timeline.seconds
        steady = np.arange(len(seconds)) / self.timeline.fps
        if np.abs(seconds - steady).max() * self.timeline.fps < 0.25:
            seconds = steady  # a constant rate with jittering time stamps, which would repeat some frames
        if last / FPS > self.timeline.duration_seconds - 1e-3:
            return None
        return np.searchsorted(seconds, np.arange(first, last + 1) / FPS + 1e-6, side="right") - 1

    def frames(self, first: int, last: int) -> Iterator[tuple[int, VideoFrame]]:
        """Yield number and frame of `first` … `last`, except those that cannot be decoded."""
        if self._keyframe_before(first) > self._position:
            self._seek(first)
        yield from (item for item in self._current if first <= item[0] <= last)
        if self._position > last:
            return
        for number, frame in self._decoder:
            self._position = number + 1
            self._current = [(number, frame)]  # the next group may begin with it
            if number >= first:
                yield number, frame
            if number >= last:
                return

    def _keyframe_before(self, number: int) -> int:
        stamps, keys = self.timeline.stamps, self.timeline.keys
        if stamps is None:
            return 0
        place = bisect_right(keys, stamps[number])
        return bisect_left(stamps, keys[place - 1]) if place else 0

    def _seek(self, number: int) -> None:
        """Seek to the keyframe before `number`; decode from the start where the container's index is wrong."""
        from av.error import FFmpegError

        assert self.timeline.stamps is not None
        try:
            self._file.container.seek(self.timeline.stamps[self._keyframe_before(number)], stream=self._stream)
        except FFmpegError:
            return self._rewind()
        decoder = self._decode_frames()
        begin = next(decoder, None)
        if begin is None or begin[0] > number:
            return self._rewind()
        self._current, self._position, self._decoder = [begin], begin[0] + 1, decoder
        return None

    def _rewind(self) -> None:
        self._file.close()
        self._file = MediaFile(self._path)
        self._stream = self._file.container.streams.video[self._track]
        self._stream.codec_context.thread_type = "AUTO"
        self._stream.codec_context.thread_count = _DECODER_THREADS
        self._current, self._position, self._decoder = [], 0, self._decode_frames()

    def _decode_frames(self) -> Iterator[tuple[int, Any]]:
        stamps = self.timeline.stamps
        for count, frame in enumerate(self._file.decode(self._stream)):
            if stamps is None:
                yield count, frame
            elif frame.pts is not None:
                place = bisect_left(stamps, frame.pts)
                if place < len(stamps) and stamps[place] == frame.pts:
                    yield place, frame


class _Sound:
    """Forward access to stretches of a video's audio."""

    def __init__(self, path: Path, zero: Fraction) -> None:
        self._path = path
        self._file = MediaFile(path)
        self._zero = zero
        self._current: tuple[int, Samples] | None = None  # position and block decoded last
        self._blocks: Iterator[tuple[int, Samples]] = iter(())
        self._rewind()
        if self._stream is None:
            self.close()
            raise MediaError(f"{path.name} has no sound in it.")
        context = self._stream.codec_context
        self.rate = context.sample_rate if context.sample_rate in _AAC_RATES else _AAC_RATES[-1]
        self.channels = 1 if context.layout.nb_channels == 1 else 2
        self.start = 0
        self.samples: Samples = np.zeros((self.channels, 0), np.float32)
        self.present: npt.NDArray[np.bool_] = np.zeros(0, bool)

    def close(self) -> None:
        self._file.close()

    def load(self, first: int, end: int) -> _Sound:
        """Load the audio of frames `first` … `end` - 1, with silence where there is none."""
        self.start, stop = round(Fraction(first * self.rate, FPS)), round(Fraction(end * self.rate, FPS))
        self.samples = np.zeros((self.channels, stop - self.start), np.float32)
        self.present = np.zeros(stop - self.start, bool)
        reached = 0 if self._current is None else self._current[0]
        if self.start - reached > _SEEK_SECONDS * self.rate:
            self._seek()
        while True:
            if self._current is not None:
                position, block = self._current
                low, high = max(position, self.start), min(position + block.shape[1], stop)
                if low < high:
                    self.samples[:, low - self.start : high - self.start] = block[:, low - position : high - position]
                    self.present[low - self.start : high - self.start] = True
                if position + block.shape[1] >= stop:  # the next stretch may begin in this block
                    return self
            self._current = next(self._blocks, None)
            if self._current is None:
                return self

    def samples_of(self, segment: Segment) -> Samples | None:
        """Return (channels, n) of a segment in the loaded stretch, None where too much is missing."""
        low = round(Fraction(segment.first * self.rate, FPS)) - self.start
        high = round(Fraction((segment.last + 1) * self.rate, FPS)) - self.start
        missing = int((~self.present[low:high]).sum())
        return None if missing > _MAX_MISSING_SECONDS * self.rate else self.samples[:, low:high]

    def _seek(self) -> None:
        from av.error import FFmpegError

        seconds = Fraction(self.start, self.rate) + self._zero - Fraction(_PREROLL_SECONDS)
        with suppress(FFmpegError):
            self._file.container.seek(int(seconds / self._stream.time_base), stream=self._stream)
        self._blocks = self._decode_blocks()
        self._current = next(self._blocks, None)
        if self._current is None or self._current[0] > self.start:  # the container's index is wrong
            self._rewind()

    def _rewind(self) -> None:
        self._file.close()
        self._file = MediaFile(self._path)
        self._stream: Any = self._file.container.streams.best("audio")
        self._current, self._blocks = None, self._decode_blocks()

    def _decode_blocks(self) -> Iterator[tuple[int, Samples]]:
        """Yield position (samples since the first video frame) and block (channels, n), at `self.rate`."""
        from av.audio.resampler import AudioResampler

        resampler = AudioResampler(format="fltp", layout="mono" if self.channels == 1 else "stereo", rate=self.rate)
        expected: int | None = None
        for frame in self._file.decode(self._stream):
            stamp = None if frame.pts is None else frame.pts * frame.time_base
            try:
                parts = [part.to_ndarray() for part in resampler.resample(frame)]
            except ValueError:  # the format changes midway: the rest is missing
                return
            if stamp is not None:
                position = round((stamp - self._zero) * self.rate)
                if expected is None or abs(position - expected) > _JITTER_SECONDS * self.rate:
                    expected = position
            for block in parts:
                yield expected or 0, np.clip(block, -1, 1)
                expected = (expected or 0) + block.shape[1]


class _Clip:
    """A clip that is being written."""

    def __init__(self, segment: Segment, source_frames: npt.NDArray[np.int64], part: Path) -> None:
        self.segment = segment
        self.source_frames = source_frames
        """(frames,) numbers of the source's frames, ascending; some may repeat."""
        self.error: str | None = None
        self._part = part
        self._done = 0
        self._container: Any = None

    def needs(self, number: int) -> bool:
        """Return whether source frame `number` belongs to the clip; fail the clip if an earlier frame is missing."""
        if self.error is not None or self._done == len(self.source_frames):
            return False
        if self.source_frames[self._done] < number:
            self.require_complete()
            return False
        return bool(self.source_frames[self._done] == number)

    def add(self, number: int, frame: VideoFrame, aspect: Fraction, sound: _Sound | None) -> None:
        """Encode a source frame, as often as it is shown, with its audio."""
        from av.error import FFmpegError

        try:
            if self._container is None:
                self._open(frame, aspect, sound)
            while self.needs(number):
                self._encode(frame)
            if self.error is None and self._done == len(self.source_frames):
                self._finish()
        except FFmpegError as error:
            if isinstance(error, OSError):
                raise
            self.error = "it cannot be encoded"

    def require_complete(self) -> None:
        """Fail the clip unless it is complete or has failed already."""
        if self.error is None and self._done < len(self.source_frames):
            self.error = f"the video is damaged: at {(self.segment.first + self._done) / FPS:.2f} s"

    def discard(self) -> None:
        """Close and delete an unfinished clip."""
        if self._container is not None:
            with suppress(Exception):
                self._container.close()
            self._container = None
        self._part.unlink(missing_ok=True)

    def _open(self, frame: VideoFrame, aspect: Fraction, sound: _Sound | None) -> None:
        import av

        self._samples = None if sound is None else sound.samples_of(self.segment)
        if sound is not None and self._samples is None:
            self.error = "the sound is not complete"
            return
        # bitexact: without version and date
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        self._container = av.open(str(self._part), "w", format="mp4", options=options)
        options = {"crf": str(_CRF), "preset": _PRESET, "x264-params": _X264}
        video = self._container.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = frame.width, frame.height, "yuv420p"
        context = video.codec_context
        context.thread_count = 1  # x264's output depends on it
        context.time_base = Fraction(1, FPS)
        context.sample_aspect_ratio = aspect
        context.colorspace, context.color_range = frame.colorspace, frame.color_range
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        self._video, self._audio, self._samples_written = video, None, 0
        if sound is not None:
            self._rate = sound.rate
            layout = "mono" if sound.channels == 1 else "stereo"
            self._audio = self._container.add_stream("aac", rate=sound.rate, layout=layout)
            self._audio.bit_rate = _AAC_BITS_PER_SECOND[sound.channels]

    def _encode(self, frame: VideoFrame) -> None:
        size = self._video.width, self._video.height
        if (frame.width, frame.height) != size:  # the source changes its size midway
            frame = frame.reformat(*size, interpolation=TO_YUV)
        frame.pts, frame.time_base = self._done, Fraction(1, FPS)
        self._container.mux(self._video.encode(frame))
        self._done += 1
        if self._audio is not None and self._samples is not None:
            end = min(round(Fraction(self._done * self._rate, FPS)), self._samples.shape[1])
            block = audio_frame(self._samples[:, self._samples_written : end], self._rate, self._samples_written)
            self._samples_written = end
            self._container.mux(self._audio.encode(block))

    def _finish(self) -> None:
        if self._audio is not None:
            self._container.mux(self._audio.encode(None))
        self._container.mux(self._video.encode(None))
        self._container.close()
        self._container = None
        with self._part.open("rb+") as file:
            os.fsync(file.fileno())  # before its journal entry
        self._part.replace(self.segment.target)


def _to_yuv420p(stored: VideoFrame) -> VideoFrame:
    """Return the frame upright, with even sides (repeating the edge), as YUV 4:2:0."""
    from av.video.frame import VideoFrame

    turns = round(stored.rotation / 90) % 4
    frame = stored
    if turns or stored.width % 2 or stored.height % 2:
        planes: Any = stored.reformat(format="yuv444p", interpolation=TO_YUV).to_ndarray()  # (3, H, W)
        planes = np.rot90(planes, turns, axes=(1, 2))
        planes = np.pad(planes, ((0, 0), (0, planes.shape[1] % 2), (0, planes.shape[2] % 2)), mode="edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv444p")
        frame.colorspace, frame.color_range = stored.colorspace, stored.color_range
        frame.color_primaries, frame.color_trc = stored.color_primaries, stored.color_trc
    if frame.format.name != "yuv420p":
        frame = frame.reformat(format="yuv420p", interpolation=TO_YUV)
    if stored.format.name.startswith("yuvj"):  # reformat has converted it from full to limited range
        frame.color_range = LIMITED_RANGE
    frame.pict_type = 0  # let the encoder choose its keyframes
    return frame
