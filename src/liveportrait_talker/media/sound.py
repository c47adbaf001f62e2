"""Sound files → samples: streamed in blocks for the encoder, or whole as a `Waveform`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from ..errors import MediaError
from .continuity import SoundClock
from .source import MediaFile
from .waveform import Waveform

if TYPE_CHECKING:
    from types import TracebackType

    from av.audio.layout import AudioLayout

log = logging.getLogger(__name__)

MIN_VOICE_SECONDS = 0.2
_CANCELLED = 0.01  # energy of the mix ÷ that of the loudest channel: 20 dB

Samples = npt.NDArray[np.float32]
_LAYOUTS = {1: "mono", 2: "stereo"}
_CENTRE = 0.5**0.5  # a centre or surround channel at −3 dB, as every player mixes down


class SoundFile:
    """The sound track of a file, read in blocks.

    Raises MediaError when the file cannot be read or has no sound. `channels` is 1 or 2: what the file has, more
    than two mixed to stereo.
    """

    def __init__(self, path: Path) -> None:
        self._file = MediaFile(path)
        self.name = path.name
        self.bad_samples = 0
        """NaN or infinite samples met so far; they are handed on as silence."""
        tracks = self._file.container.streams.audio
        if not tracks:
            self.close()
            raise MediaError(f"{path.name} has no sound; give a voice recording or a video with sound")
        stream = self._file.sound()
        if stream is None or stream.codec_context.layout.nb_channels <= 0:
            self.close()
            raise MediaError(f"{path.name} holds sound of a kind that cannot be read; convert it to WAV or MP3")
        self._stream, context = stream, stream.codec_context
        self.passed_over = [k + 1 for k, track in enumerate(tracks) if track.codec_context is None]
        """Numbers, from 1, of sound tracks that cannot be decoded."""
        self.energies: npt.NDArray[np.float64] | None = None
        """Energy of each stored channel, and last that of their mean, of what was mixed to mono so far."""
        self.sample_rate = context.sample_rate
        """Hz, as stored."""
        self.channels = 1 if context.layout.nb_channels == 1 else 2

    def __enter__(self) -> SoundFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()

    @property
    def damaged(self) -> bool:
        """Whether some of what was read so far could not be decoded."""
        return self._file.damaged

    @property
    def declared_seconds(self) -> float | None:
        """The length that the file claims, which may be wrong."""
        if self._stream.duration is None or self._stream.time_base is None:
            return None
        return float(self._stream.duration * self._stream.time_base)

    def blocks(self, *, sample_rate: int, channels: int, only: int | None = None) -> Iterator[Samples]:
        """Blocks (channels, n) float32 at `sample_rate`, finite and within −1…1, on the clock of the file.

        They begin where a moving picture beside the sound begins, with silence if the sound is late. Gaps in the time
        stamps are filled with silence; stamps that jump back go on after the last sample.

        Args:
            sample_rate: Hz.
            channels: 1 or 2.
            only: the stored channel that becomes mono; None takes the mean.
        """
        resampler: _Resampler | None = None
        clock = SoundClock(self._file.start_seconds())
        frame: AudioFrame
        for frame in self._file.decode(self._stream):
            block = _as_float(frame)
            finite = np.isfinite(block)
            if not finite.all():  # before mixing and resampling, which would smear a NaN
                self.bad_samples += int(finite.size - finite.sum())
                block = np.where(finite, block, np.float32(0))
            stored = block
            block = np.clip(_mix_weights(frame.layout, channels, only) @ stored, -1, 1)
            if channels == 1:
                self._measure(stored, block)
            gap = round(clock.gap(_seconds(frame)) * frame.sample_rate)
            if gap < 0:
                block = block[:, -gap:]
            clock.given += (block.shape[1] + max(gap, 0)) / frame.sample_rate
            if resampler is None or resampler.source_rate != frame.sample_rate:  # it may change mid-file
                if resampler is not None:
                    yield from resampler.flush()
                resampler = _Resampler(frame.sample_rate, sample_rate, channels)
            while gap > 0:
                silence = np.zeros((channels, min(gap, frame.sample_rate)), np.float32)
                gap -= silence.shape[1]
                yield from resampler.push(silence)
            if block.shape[1]:
                yield from resampler.push(block)
        if resampler is not None:
            yield from resampler.flush()

    def _measure(self, stored: Samples, mono: Samples) -> None:
        energies = np.concatenate([stored, mono]).astype(np.float64)
        energies = (energies**2).sum(axis=1)
        if self.energies is None or len(self.energies) != len(energies):
            self.energies = np.zeros(len(energies))
        self.energies = self.energies + energies


def _seconds(frame: AudioFrame) -> float | None:
    return None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)


class _Resampler:
    """FFmpeg's resampler for (channels, n) blocks; equal rates pass through untouched."""

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self.source_rate = source_rate
        self._layout = _LAYOUTS[channels]
        self._taken = 0
        self._resampler = None
        if source_rate != target_rate:
            self._resampler = AudioResampler(format="fltp", layout=self._layout, rate=target_rate)

    def push(self, block: Samples) -> Iterator[Samples]:
        if self._resampler is None:
            yield block
            return
        frame = audio_frame(block, self.source_rate, self._taken)
        self._taken += block.shape[1]
        for resampled in self._resampler.resample(frame):
            yield np.clip(resampled.to_ndarray(), -1, 1)

    def flush(self) -> Iterator[Samples]:
        if self._resampler is not None and self._taken:
            for resampled in self._resampler.resample(None):
                yield np.clip(resampled.to_ndarray(), -1, 1)


def audio_frame(block: Samples, sample_rate: int, position: int) -> AudioFrame:
    """PyAV's frame for a block (1 or 2 channels, n) whose first sample is number `position`."""
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=_LAYOUTS[len(block)])
    frame.sample_rate = sample_rate
    frame.time_base = Fraction(1, sample_rate)
    frame.pts = position
    return frame


def _as_float(frame: AudioFrame) -> Samples:
    """Samples of any format as (channels, n) float32, full scale = 1."""
    stored: npt.NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        stored = stored.reshape(-1, frame.layout.nb_channels).T
    if frame.duration and frame.time_base == Fraction(1, frame.sample_rate):
        stored = stored[:, : frame.duration]  # the last block of AAC is padded: its packet knows the true length
    if stored.dtype.kind == "f":
        with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and then silence
            return stored.astype(np.float32)
    if stored.dtype == np.uint8:
        return (stored.astype(np.float32) - np.float32(128)) / np.float32(128)
    scaled: Samples = (stored / -float(np.iinfo(stored.dtype).min)).astype(np.float32)
    return scaled


def _mix_weights(layout: AudioLayout, channels: int, only: int | None = None) -> Samples:
    """Weights (channels, stored channels) that mix down a frame; each row sums to 1, so nothing clips."""
    stored = layout.nb_channels
    if only is not None and only < stored:
        return np.eye(stored, dtype=np.float32)[only : only + 1]
    if channels == 1 or stored == 1:
        return np.full((channels, stored), 1 / stored, np.float32)
    if stored == 2:
        return np.eye(2, dtype=np.float32)
    weights = np.zeros((2, stored), np.float32)
    for column, channel in enumerate(layout.channels):
        side = channel.name[-1]
        if channel.name in ("FL", "FR"):
            weights["LR".index(side), column] = 1
        elif side in "LR":
            weights["LR".index(side), column] = _CENTRE
        elif channel.name != "LFE":
            weights[:, column] = _CENTRE
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)  # 0: a side without any speaker
    return weights


def read_waveform(path: Path, *, sample_rate: int = 16_000, max_seconds: float = 3600.0) -> Waveform:
    """The sound of `path` (sound file, or video with sound) as mono at `sample_rate` Hz, within −1…1.

    Mono is the mean of the channels, or the loudest of them where they cancel each other. Sample 0 is the first one
    stored, or what is heard when the moving picture beside it begins. Samples that are not finite become silence, a
    file that breaks off is used as far as it goes; both are logged. Raises MediaError: not readable, no sound, shorter
    than `MIN_VOICE_SECONDS`, longer than `max_seconds`.
    """
    return _read(path, sample_rate, max_seconds, None)


def _read(path: Path, sample_rate: int, max_seconds: float, only: int | None) -> Waveform:
    name = path.name
    too_long = MediaError(
        f"{name} is longer than the limit of {max_seconds:g} seconds; cut it, or raise the limit with --max-seconds"
    )
    pcm = bytearray()  # grows in place: a long sound is in memory once
    with SoundFile(path) as sound:
        declared = sound.declared_seconds
        for block in sound.blocks(sample_rate=sample_rate, channels=1, only=only):
            pcm += block.astype(np.float32, copy=False).tobytes()
            if len(pcm) > 4 * max_seconds * sample_rate:
                raise too_long
        samples = np.frombuffer(pcm, np.float32)
        seconds = len(samples) / sample_rate
        if not len(samples):
            raise MediaError(f"{name} has a sound track without a single sample; record or export it again")
        if seconds < MIN_VOICE_SECONDS:
            raise MediaError(
                f"{name} holds only {1000 * seconds:.0f} ms of sound; give at least {MIN_VOICE_SECONDS:g} seconds"
            )
        if only is None and sound.energies is not None:
            loudest = int(np.argmax(sound.energies[:-1]))
            if sound.energies[-1] < _CANCELLED * sound.energies[loudest]:
                log.warning("the channels of %s cancel each other; the louder one is listened to", name)
                return _read(path, sample_rate, max_seconds, loudest)
        _say_passed_over(sound)
        if sound.damaged or (declared is not None and seconds < 0.98 * declared - 0.25):
            promised = f" of {declared:.1f}" if declared is not None and declared > seconds else ""
            log.warning("%s is damaged; the %.1f%s seconds that can be read are used", name, seconds, promised)
        if sound.bad_samples:
            log.warning("%s holds %d samples that are not numbers; silence takes their place", name, sound.bad_samples)
    return Waveform(samples=samples, sample_rate=sample_rate)


def _say_passed_over(sound: SoundFile) -> None:
    if sound.passed_over:
        tracks = ", ".join(map(str, sound.passed_over))
        log.warning("sound track %s of %s cannot be decoded; another one is used", tracks, sound.name)
