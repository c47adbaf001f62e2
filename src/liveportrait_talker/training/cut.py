"""The utterances of one video → clips: decoded once, exact to the frame and to the sample, the same bytes each time.

Frame k of a clip is the picture that the source shows k / 25 seconds after the utterance begins, whatever the source's
own rate; time counts from the video's first picture. Pictures go from decoder to encoder as they are (YUV 4:2:0); only
other formats, turned pictures and odd sizes are converted.
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
from ..media.colour import LIMITED_RANGE, TO_YUV
from ..media.sound import audio_frame
from ..media.source import MediaFile
from ..media.timeline import read_timeline
from ..system.journal import full_disk
from ..system.partial_files import is_disk_full
from .fetch import Stopped
from .metadata import FPS

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

Samples = npt.NDArray[np.float32]

# Without macroblock-tree rate control: with it (and x264's assembler) one encoding in eight of small pictures got other
# bits for the same frames. CRF 19 without it has the quality of 18 with it (41.1 dB), in files 6 % larger.
_CRF, _X264 = 19, "mbtree=0"
_PRESET = "veryfast"
_DECODER_THREADS = 2
_AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz
_AAC_BITS_PER_SECOND = {1: 128_000, 2: 192_000}  # by channels
_LEAD_SECONDS = 1.0  # of sound before what is wanted: a decoder needs some to swing in
_WORTH_A_SEEK = 5.0  # seconds of sound
_JITTER_SECONDS = 0.02  # time stamps of sound may be rounded; within this it is taken as unbroken
_MISSING_SECONDS = 0.1  # of sound; with more than that missing an utterance is not complete


@dataclass(frozen=True)
class Piece:
    """What to cut: frames `first` … `last` (both belong to it), counted from 0 at 25 a second."""

    name: str
    first: int
    last: int
    target: Path
    """The clip; its folder exists."""


def cut(
    video: Path,
    pieces: Sequence[Piece],
    work: Path,
    *,
    sound: Path | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, str | None]:
    """Cut all pieces of a video, whose sound may be in a file of its own.

    Returns each name → None, or the reason why there is no clip of it; what follows a colon in it are details.

    A clip grows in the folder `work`, on the disk of its target, and takes its name when it is complete.

    Raises:
        MediaError: a clip cannot be written, or the disk is full.
        Stopped: `stopped()` became true.
    """
    try:
        source = _Source(video, sound)
    except MediaError:
        return {piece.name: "the video is damaged: nothing in it can be read" for piece in pieces}
    results: dict[str, str | None] = {}
    try:
        clips = []
        for piece in pieces:
            wanted = source.shown(piece.first, piece.last)
            if wanted is None:
                results[piece.name] = f"the video is too short: it ends after {source.timeline.duration_seconds:.2f} s"
            else:
                clips.append(_Clip(piece, wanted, work / f"{piece.name}.part"))
        for group in _overlapping(clips):
            _cut_group(source, group, stopped)
            results.update((clip.piece.name, clip.trouble) for clip in group)
    except OSError as error:
        if is_disk_full(error):
            raise full_disk() from error
        raise MediaError(f"clips cannot be written in {work} ({error.strerror}).") from error
    finally:
        source.close()
    return results


def _overlapping(clips: list[_Clip]) -> Iterator[list[_Clip]]:
    """Clips in the order of time, those that share frames together."""
    group: list[_Clip] = []
    end = -1
    for clip in sorted(clips, key=lambda clip: (clip.piece.first, clip.piece.name)):
        if group and clip.piece.first > end:
            yield group
            group, end = [], -1
        group.append(clip)
        end = max(end, clip.piece.last)
    if group:
        yield group


def _cut_group(source: _Source, group: list[_Clip], stopped: Callable[[], bool]) -> None:
    first, last = min(clip.piece.first for clip in group), max(clip.piece.last for clip in group)
    sound = None if source.sound is None else source.sound.between(first, last + 1)
    try:
        for number, stored in source.pictures(int(group[0].wanted[0]), max(int(clip.wanted[-1]) for clip in group)):
            if stopped():
                raise Stopped
            picture: VideoFrame | None = None
            for clip in group:
                if clip.wants(number):
                    picture = picture or _plain(stored)
                    aspect = source.pixel_aspect
                    clip.add(number, picture, 1 / aspect if round(stored.rotation / 90) % 2 else aspect, sound)
        for clip in group:
            clip.require_complete()
    finally:
        for clip in group:
            clip.discard()


class _Source:
    """The video's pictures by number, going forward, and its sound."""

    def __init__(self, path: Path, sound: Path | None) -> None:
        self._path = path
        self._file = MediaFile(path)
        self._position = 0  # number of the picture that the decoder gives next
        self._held: list[tuple[int, Any]] = []  # the one that it gave last
        self._decoder: Iterator[tuple[int, Any]] = iter(())
        try:
            picture = self._file.moving_picture()
            if picture is None:
                raise MediaError(f"{path.name} has no picture in it.")
            self._track = [stream.index for stream in self._file.container.streams.video].index(picture.index)
            timeline = read_timeline(path, beside_sound=False)
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

    def shown(self, first: int, last: int) -> npt.NDArray[np.int64] | None:
        """Numbers of the stored pictures that are shown at first / 25 … last / 25 s; None where the video is over."""
        seconds = self.timeline.seconds
        steady = np.arange(len(seconds)) / self.timeline.fps
        if np.abs(seconds - steady).max() * self.timeline.fps < 0.25:
            seconds = steady  # a steady rate whose stamps only jitter: taken literally, some pictures would double
        if last / FPS > self.timeline.duration_seconds - 1e-3:
            return None
        return np.searchsorted(seconds, np.arange(first, last + 1) / FPS + 1e-6, side="right") - 1

    def pictures(self, first: int, last: int) -> Iterator[tuple[int, VideoFrame]]:
        """Number and picture, of `first` … `last`; those that cannot be decoded are missing."""
        if self._key_before(first) > self._position:
            self._seek(first)
        yield from (item for item in self._held if first <= item[0] <= last)
        if self._position > last:
            return
        for number, frame in self._decoder:
            self._position = number + 1
            self._held = [(number, frame)]  # the next utterance may begin with it
            if number >= first:
                yield number, frame
            if number >= last:
                return

    def _key_before(self, number: int) -> int:
        stamps, keys = self.timeline.stamps, self.timeline.keys
        if stamps is None:
            return 0
        place = bisect_right(keys, stamps[number])
        return bisect_left(stamps, keys[place - 1]) if place else 0

    def _seek(self, number: int) -> None:
        """Go to the key picture before `number`; where the container's own index misleads, decode from the start."""
        from av.error import FFmpegError

        assert self.timeline.stamps is not None
        try:
            self._file.container.seek(self.timeline.stamps[self._key_before(number)], stream=self._stream)
        except FFmpegError:
            return self._rewind()
        decoder = self._numbered()
        begin = next(decoder, None)
        if begin is None or begin[0] > number:
            return self._rewind()
        self._held, self._position, self._decoder = [begin], begin[0] + 1, decoder
        return None

    def _rewind(self) -> None:
        self._file.close()
        self._file = MediaFile(self._path)
        self._stream = self._file.container.streams.video[self._track]
        self._stream.codec_context.thread_type = "AUTO"
        self._stream.codec_context.thread_count = _DECODER_THREADS
        self._held, self._position, self._decoder = [], 0, self._numbered()

    def _numbered(self) -> Iterator[tuple[int, Any]]:
        stamps = self.timeline.stamps
        for count, frame in enumerate(self._file.decode(self._stream)):
            if stamps is None:
                yield count, frame
            elif frame.pts is not None:
                place = bisect_left(stamps, frame.pts)
                if place < len(stamps) and stamps[place] == frame.pts:
                    yield place, frame


class _Sound:
    """The sound of a video in stretches, going forward."""

    def __init__(self, path: Path, zero: Fraction) -> None:
        self._path = path
        self._file = MediaFile(path)
        self._zero = zero
        self._held: tuple[int, Samples] | None = None  # position and block that were decoded last
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
        self.here: npt.NDArray[np.bool_] = np.zeros(0, bool)

    def close(self) -> None:
        self._file.close()

    def between(self, first: int, end: int) -> _Sound:
        """Load the stretch from frame `first` up to frame `end`, silent where there is none."""
        self.start, stop = round(Fraction(first * self.rate, FPS)), round(Fraction(end * self.rate, FPS))
        self.samples = np.zeros((self.channels, stop - self.start), np.float32)
        self.here = np.zeros(stop - self.start, bool)
        reached = 0 if self._held is None else self._held[0]
        if self.start - reached > _WORTH_A_SEEK * self.rate:
            self._seek()
        while True:
            if self._held is not None:
                position, block = self._held
                low, high = max(position, self.start), min(position + block.shape[1], stop)
                if low < high:
                    self.samples[:, low - self.start : high - self.start] = block[:, low - position : high - position]
                    self.here[low - self.start : high - self.start] = True
                if position + block.shape[1] >= stop:  # kept: the next stretch may begin in it
                    return self
            self._held = next(self._blocks, None)
            if self._held is None:
                return self

    def part(self, piece: Piece) -> Samples | None:
        """(channels, n) of a piece within the stretch, or None where too much is missing."""
        low = round(Fraction(piece.first * self.rate, FPS)) - self.start
        high = round(Fraction((piece.last + 1) * self.rate, FPS)) - self.start
        missing = int((~self.here[low:high]).sum())
        return None if missing > _MISSING_SECONDS * self.rate else self.samples[:, low:high]

    def _seek(self) -> None:
        from av.error import FFmpegError

        seconds = Fraction(self.start, self.rate) + self._zero - Fraction(_LEAD_SECONDS)
        with suppress(FFmpegError):
            self._file.container.seek(int(seconds / self._stream.time_base), stream=self._stream)
        self._blocks = self._decoded()
        self._held = next(self._blocks, None)
        if self._held is None or self._held[0] > self.start:  # the container's index misled us
            self._rewind()

    def _rewind(self) -> None:
        self._file.close()
        self._file = MediaFile(self._path)
        self._stream: Any = self._file.container.streams.best("audio")
        self._held, self._blocks = None, self._decoded()

    def _decoded(self) -> Iterator[tuple[int, Samples]]:
        """Position (samples since the first picture) and block (channels, n), at our rate."""
        from av.audio.resampler import AudioResampler

        resampler = AudioResampler(format="fltp", layout="mono" if self.channels == 1 else "stereo", rate=self.rate)
        expected: int | None = None
        for frame in self._file.decode(self._stream):
            stamp = None if frame.pts is None else frame.pts * frame.time_base
            try:
                parts = [part.to_ndarray() for part in resampler.resample(frame)]
            except ValueError:  # its format changes half-way: what follows is missing
                return
            if stamp is not None:
                position = round((stamp - self._zero) * self.rate)
                if expected is None or abs(position - expected) > _JITTER_SECONDS * self.rate:
                    expected = position
            for block in parts:
                yield expected or 0, np.clip(block, -1, 1)
                expected = (expected or 0) + block.shape[1]


class _Clip:
    """One clip that is being written."""

    def __init__(self, piece: Piece, wanted: npt.NDArray[np.int64], part: Path) -> None:
        self.piece = piece
        self.wanted = wanted
        """(frames,) numbers of the source's pictures, ascending; some may repeat."""
        self.trouble: str | None = None
        self._part = part
        self._done = 0
        self._container: Any = None

    def wants(self, number: int) -> bool:
        """Whether the picture `number` belongs here; notices when an earlier one was missing."""
        if self.trouble is not None or self._done == len(self.wanted):
            return False
        if self.wanted[self._done] < number:
            self.require_complete()
            return False
        return bool(self.wanted[self._done] == number)

    def add(self, number: int, picture: VideoFrame, aspect: Fraction, sound: _Sound | None) -> None:
        """Encode a picture as often as it is shown, and the sound that goes with it."""
        from av.error import FFmpegError

        try:
            if self._container is None:
                self._open(picture, aspect, sound)
            while self.trouble is None and self._done < len(self.wanted) and self.wanted[self._done] == number:
                self._encode(picture)
            if self.trouble is None and self._done == len(self.wanted):
                self._finish()
        except FFmpegError as error:
            if isinstance(error, OSError):
                raise
            self.trouble = "it cannot be encoded"

    def require_complete(self) -> None:
        """Fail the clip unless it is complete or has failed already."""
        if self.trouble is None and self._done < len(self.wanted):
            self.trouble = f"the video is damaged: at {(self.piece.first + self._done) / FPS:.2f} s"

    def discard(self) -> None:
        """Close and remove what is not complete."""
        if self._container is not None:
            with suppress(Exception):
                self._container.close()
            self._container = None
        self._part.unlink(missing_ok=True)

    def _open(self, picture: VideoFrame, aspect: Fraction, sound: _Sound | None) -> None:
        import av

        self._samples = None if sound is None else sound.part(self.piece)
        if sound is not None and self._samples is None:
            self.trouble = "the sound is not complete"
            return
        # bitexact: no version and no date in the file
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        self._container = av.open(str(self._part), "w", format="mp4", options=options)
        options = {"crf": str(_CRF), "preset": _PRESET, "x264-params": _X264}
        video = self._container.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = picture.width, picture.height, "yuv420p"
        context = video.codec_context
        context.thread_count = 1  # x264's result depends on it
        context.time_base = Fraction(1, FPS)
        context.sample_aspect_ratio = aspect
        context.colorspace, context.color_range = picture.colorspace, picture.color_range
        context.color_primaries, context.color_trc = picture.color_primaries, picture.color_trc
        self._video, self._audio, self._heard = video, None, 0
        if sound is not None:
            self._rate = sound.rate
            layout = "mono" if sound.channels == 1 else "stereo"
            self._audio = self._container.add_stream("aac", rate=sound.rate, layout=layout)
            self._audio.bit_rate = _AAC_BITS_PER_SECOND[sound.channels]

    def _encode(self, picture: VideoFrame) -> None:
        size = self._video.width, self._video.height
        if (picture.width, picture.height) != size:  # the source changes its size half-way
            picture = picture.reformat(*size, interpolation=TO_YUV)
        picture.pts, picture.time_base = self._done, Fraction(1, FPS)
        self._container.mux(self._video.encode(picture))
        self._done += 1
        if self._audio is not None and self._samples is not None:
            end = min(round(Fraction(self._done * self._rate, FPS)), self._samples.shape[1])
            block = audio_frame(self._samples[:, self._heard : end], self._rate, self._heard)
            self._heard = end
            self._container.mux(self._audio.encode(block))

    def _finish(self) -> None:
        if self._audio is not None:
            self._container.mux(self._audio.encode(None))
        self._container.mux(self._video.encode(None))
        self._container.close()
        self._container = None
        with self._part.open("rb+") as file:
            os.fsync(file.fileno())  # the journal will say that it is there
        self._part.replace(self.piece.target)


def _plain(stored: VideoFrame) -> VideoFrame:
    """The picture upright, with even sides (the edge is repeated), as YUV 4:2:0."""
    from av.video.frame import VideoFrame

    turns = round(stored.rotation / 90) % 4
    picture = stored
    if turns or stored.width % 2 or stored.height % 2:
        planes: Any = stored.reformat(format="yuv444p", interpolation=TO_YUV).to_ndarray()  # (3, H, W)
        planes = np.rot90(planes, turns, axes=(1, 2))
        planes = np.pad(planes, ((0, 0), (0, planes.shape[1] % 2), (0, planes.shape[2] % 2)), mode="edge")
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv444p")
        picture.colorspace, picture.color_range = stored.colorspace, stored.color_range
        picture.color_primaries, picture.color_trc = stored.color_primaries, stored.color_trc
    if picture.format.name != "yuv420p":
        picture = picture.reformat(format="yuv420p", interpolation=TO_YUV)
    if stored.format.name.startswith("yuvj"):  # the conversion has brought it from full to limited range
        picture.color_range = LIMITED_RANGE
    picture.pict_type = 0  # the encoder is to choose its own key pictures
    return picture
