"""Read audio: in blocks for the encoder, or whole as a `Waveform`."""

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

from ..arrays import Floats32, Floats64
from ..errors import MediaError
from .audio_clock import AudioClock
from .media_file import MediaFile
from .waveform import Waveform

if TYPE_CHECKING:
    from types import TracebackType

    from av.audio.layout import AudioLayout

log = logging.getLogger(__name__)

MIN_VOICE_SECONDS = 0.2
_RATES = (1000, 768_000)  # Hz; a block of silence has up to one second of samples
_MAX_CHANNELS = 64
_CANCELLED = 0.01  # energy of the mono mix / that of the loudest channel: −20 dB

_LAYOUTS = {1: "mono", 2: "stereo"}
_CENTRE = 0.5**0.5  # gain of centre and surround channels: −3 dB, as usual for downmixing


class AudioFile:
    """The audio stream of a file, read in blocks. Raises MediaError if the file is unreadable or has no audio."""

    def __init__(self, path: Path) -> None:
        self._file = MediaFile(path)
        self.name = path.name
        self.bad_samples = 0
        """NaN or infinite samples so far; they are replaced by 0."""
        streams = self._file.container.streams.audio
        if not streams:
            self.close()
            raise MediaError(f"{path.name} has no audio; give a voice recording or a video with audio")
        stream = self._file.audio_stream()
        if stream is None or not _is_usable(stream.codec_context):
            self.close()
            raise self._unsupported_error()
        self._stream, context = stream, stream.codec_context
        self.undecodable = [k + 1 for k, other in enumerate(streams) if other.codec_context is None]
        """Numbers, from 1, of audio streams that cannot be decoded."""
        self.energies: Floats64 | None = None
        """Energy of each channel, and of their mono mix (last), so far."""
        self.sample_rate = context.sample_rate
        """Sample rate of the file in Hz."""
        self.stored_channels = context.layout.nb_channels
        """Number of channels in the file."""
        self.channels = 1 if self.stored_channels == 1 else 2
        """1 or 2; more than two channels are mixed to stereo."""

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; can be called twice."""
        self._file.close()

    @property
    def damaged(self) -> bool:
        """Whether some packets so far could not be decoded."""
        return self._file.damaged

    @property
    def declared_seconds(self) -> float | None:
        """The duration stated in the file, which may be wrong."""
        if self._stream.duration is None or self._stream.time_base is None:
            return None
        return float(self._stream.duration * self._stream.time_base)

    def blocks(self, *, sample_rate: int, channels: int, only: int | None = None) -> Iterator[Floats32]:
        """Yield blocks (channels, n) float32 at `sample_rate`, finite and within −1…1.

        They start with the video of the file, if any; silence fills a late start and gaps between time stamps. After
        time stamps that jump back, blocks follow the last sample.

        Args:
            sample_rate: Hz.
            channels: 1 or 2.
            only: the channel to use as mono; None: the mean of all.
        """
        resampler: _Resampler | None = None
        clock = AudioClock(self._file.start_seconds())
        frame: AudioFrame
        for frame in self._file.decode(self._stream):
            if not _is_usable(frame):  # it may change midway
                raise self._unsupported_error()
            try:
                block = _as_float(frame)
            except ValueError as error:  # of a sample format without a NumPy type, such as 64-bit integers
                raise self._unsupported_error() from error
            finite = np.isfinite(block)
            if not finite.all():  # before mixing and resampling, which would spread a NaN
                self.bad_samples += int(finite.size - finite.sum())
                block = np.where(finite, block, np.float32(0))
            stored = block
            block = np.clip(_mix_weights(frame.layout, channels, only) @ stored, -1, 1)
            if channels == 1:
                self._measure(stored, block)
            gap = round(clock.gap(_seconds(frame)) * frame.sample_rate)
            if gap < 0:
                block = block[:, -gap:]
            clock.position += (block.shape[1] + max(gap, 0)) / frame.sample_rate
            if resampler is None or resampler.source_rate != frame.sample_rate:  # it may change midway
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

    def _unsupported_error(self) -> MediaError:
        return MediaError(f"{self.name} has audio of an unsupported format; convert it to WAV or MP3")

    def _measure(self, stored: Floats32, mono: Floats32) -> None:
        energies = np.concatenate([stored, mono]).astype(np.float64)
        energies = (energies**2).sum(axis=1)
        if self.energies is None or len(self.energies) != len(energies):
            self.energies = np.zeros(len(energies))
        self.energies = self.energies + energies


def _is_usable(sound: Any) -> bool:
    """Return whether a codec context or a frame has a plausible sample rate and number of channels."""
    return bool(_RATES[0] <= sound.sample_rate <= _RATES[1] and 1 <= sound.layout.nb_channels <= _MAX_CHANNELS)


def _seconds(frame: AudioFrame) -> float | None:
    return None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)


class _Resampler:
    """FFmpeg's resampler for blocks (channels, n); blocks pass unchanged if the rates are equal."""

    def __init__(self, source_rate: int, target_rate: int, channels: int) -> None:
        self.source_rate = source_rate
        self._layout = _LAYOUTS[channels]
        self._position = 0
        self._resampler = None
        if source_rate != target_rate:
            self._resampler = AudioResampler(format="fltp", layout=self._layout, rate=target_rate)

    def push(self, block: Floats32) -> Iterator[Floats32]:
        if self._resampler is None:
            yield block
            return
        frame = audio_frame(block, self.source_rate, self._position)
        self._position += block.shape[1]
        for resampled in self._resampler.resample(frame):
            yield np.clip(resampled.to_ndarray(), -1, 1)

    def flush(self) -> Iterator[Floats32]:
        if self._resampler is not None and self._position:
            for resampled in self._resampler.resample(None):
                yield np.clip(resampled.to_ndarray(), -1, 1)


def audio_frame(block: Floats32, sample_rate: int, position: int) -> AudioFrame:
    """Return a PyAV frame for a block (1 or 2 channels, n) that starts at sample `position`."""
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=_LAYOUTS[len(block)])
    frame.sample_rate = sample_rate
    frame.time_base = Fraction(1, sample_rate)
    frame.pts = position
    return frame


def _as_float(frame: AudioFrame) -> Floats32:
    """Return the samples of a frame of any format as (channels, n) float32, full scale = 1."""
    stored: npt.NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        stored = stored.reshape(-1, frame.layout.nb_channels).T
    if frame.duration and frame.time_base == Fraction(1, frame.sample_rate):
        stored = stored[:, : frame.duration]  # the last AAC frame is padded; its packet has the true length
    if stored.dtype.kind == "f":
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, then 0
            return stored.astype(np.float32)
    if stored.dtype == np.uint8:
        return (stored.astype(np.float32) - np.float32(128)) / np.float32(128)
    scaled: Floats32 = (stored / -float(np.iinfo(stored.dtype).min)).astype(np.float32)
    return scaled


def _mix_weights(layout: AudioLayout, channels: int, only: int | None = None) -> Floats32:
    """Return downmix weights (channels, stored channels); each row sums to 1, so that nothing clips."""
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
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-6)  # 0: no speaker on this side
    return weights


def read_waveform(
    path: Path, *, sample_rate: int = 16_000, max_seconds: float = 3600.0, channel: int | None = None
) -> Waveform:
    """Read the audio of an audio or video file as mono, within −1…1.

    Mono is `channel`, or the mean of the channels, or the loudest one if they cancel out. Sample 0 is the first sample,
    or the one at the start of the video. Non-finite samples become 0, truncated files are read as far as possible; both
    are logged.

    Args:
        path: the file.
        sample_rate: sample rate of the result, Hz.
        max_seconds: limit of the duration.
        channel: the one to read, 1 = left; None: all.

    Raises:
        MediaError: unreadable, no audio, no such channel, shorter than `MIN_VOICE_SECONDS`, or longer than
            `max_seconds`.
    """
    return _read(path, sample_rate, max_seconds, None if channel is None else channel - 1)


def _read(path: Path, sample_rate: int, max_seconds: float, only: int | None) -> Waveform:
    name = path.name
    too_long = MediaError(
        f"{name} is longer than the limit of {max_seconds:g} seconds; cut it, or raise the limit with --max-seconds"
    )
    pcm = bytearray()  # grows in place, so that long audio is in memory only once
    with AudioFile(path) as audio:
        declared = audio.declared_seconds
        if only is not None and only >= audio.stored_channels:
            raise MediaError(
                f"{name} has {audio.stored_channels} channel(s), so that channel {only + 1} does not exist"
            )
        for block in audio.blocks(sample_rate=sample_rate, channels=1, only=only):
            pcm += block.astype(np.float32, copy=False).tobytes()
            if len(pcm) > 4 * max_seconds * sample_rate:
                raise too_long
        samples = np.frombuffer(pcm, np.float32)
        seconds = len(samples) / sample_rate
        if not len(samples):
            raise MediaError(f"{name} has an audio stream without samples; record or export it again")
        if seconds < MIN_VOICE_SECONDS:
            raise MediaError(
                f"{name} has only {1000 * seconds:.0f} ms of audio; give at least {MIN_VOICE_SECONDS:g} seconds"
            )
        if only is None and audio.energies is not None:
            loudest = int(np.argmax(audio.energies[:-1]))
            if audio.energies[-1] < _CANCELLED * audio.energies[loudest]:
                log.warning("the channels of %s cancel out; only the loudest one is used", name)
                return _read(path, sample_rate, max_seconds, loudest)
        if audio.undecodable:
            numbers = ", ".join(map(str, audio.undecodable))
            log.warning("audio stream %s of %s cannot be decoded; another one is used", numbers, name)
        if audio.damaged or (declared is not None and seconds < 0.98 * declared - 0.25):
            promised = f" of {declared:.1f}" if declared is not None and declared > seconds else ""
            log.warning("%s is damaged; the %.1f%s seconds that can be read are used", name, seconds, promised)
        if audio.bad_samples:
            log.warning("%s has %d samples that are not numbers; they are replaced by silence", name, audio.bad_samples)
    return Waveform(samples=samples, sample_rate=sample_rate)


def has_audio(path: Path) -> bool:
    """Return whether `path` has audio that can be read."""
    try:
        with AudioFile(path):
            return True
    except MediaError:
        return False
