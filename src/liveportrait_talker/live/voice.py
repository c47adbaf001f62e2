"""Pushed sound on its way to be played: any rate and chunk size in, one rate out, bounded. Thread-safe."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from numbers import Integral
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats32
from ..audio.resampler import Resampler
from ..errors import OptionError

log = logging.getLogger(__name__)

LOWEST_RATE, HIGHEST_RATE = 8000, 48_000  # Hz
_PIECE_S = 0.25  # of a long chunk is added at once, so that nobody waits for all of it

Samples = npt.NDArray[np.float32] | npt.NDArray[np.float64] | npt.NDArray[np.int16]


class VoiceQueue:
    """Sound that waits to be played, at `sample_rate`; what is beyond `most_seconds` is dropped and counted."""

    def __init__(self, sample_rate: int, most_seconds: float) -> None:
        self._rate, self._most = sample_rate, round(most_seconds * sample_rate)
        self._pushing = Lock()  # one chunk after another
        self._resampler, self._from_rate, self._era_of_resampler = Resampler(sample_rate, sample_rate), sample_rate, 0
        self._state = Lock()  # held for moments only; guards what follows
        self._waiting: deque[Floats32] = deque()
        self._length = 0
        self._taken = 0
        self._ends: deque[int] = deque()  # how many samples have been taken when an utterance ends
        self._era = 0  # counts `clear`
        self._is_dry = True  # more was asked for than there was
        self._is_full = False
        self.dropped = 0
        """Samples that were dropped because too much was waiting."""

    def push(self, samples: Samples, sample_rate: int, silence_before: Callable[[], int]) -> None:
        """Add sound.

        Args:
            samples: (n,) float32 −1…1, or int16. What is not finite becomes 0.
            sample_rate: Hz, 8000…48000.
            silence_before: returns the samples of silence to put before sound that comes after none was left.

        Raises:
            OptionError: the samples or the rate are of another kind.
        """
        given, rate = _checked(samples), _checked_rate(sample_rate)
        era = self._era
        with self._pushing:
            self._prepare_resampler(rate, era)
            piece = max(1, round(_PIECE_S * rate))
            for begin in range(0, len(given), piece):
                made = self._resampler.push(_as_float32(given[begin : begin + piece]))
                if not self._add(made, era, silence_before):
                    return

    def end(self, silence_before: Callable[[], int]) -> None:
        """Mark the end of an utterance."""
        era = self._era
        with self._pushing:
            if self._era_of_resampler == era:
                self._add(self._resampler.flush(), era, silence_before)
            with self._state:
                here = self._taken + self._length
                if not self._ends or self._ends[-1] != here:
                    self._ends.append(here)

    def clear(self) -> int:
        """Drop what waits, chunks that are being pushed included; return the number of samples."""
        with self._state:
            dropped, self._length = self._length, 0
            self._waiting.clear()
            self._ends.clear()
            self._era += 1
            self._is_dry = True
        return dropped

    def __len__(self) -> int:
        """Return the number of samples that wait."""
        return self._length

    def take(self, count: int) -> tuple[Floats32, bool]:
        """Return the next samples, at most `count`, and whether an utterance ends with or within them."""
        with self._state:
            parts: list[Floats32] = [np.zeros(0, np.float32)]
            missing = count
            while missing and self._waiting:
                part = self._waiting.popleft()
                if len(part) > missing:
                    self._waiting.appendleft(part[missing:])
                    part = part[:missing]
                parts.append(part)
                missing -= len(part)
            self._length -= count - missing
            self._taken += count - missing
            self._is_dry = self._is_dry or missing > 0
            ended = False
            while self._ends and self._ends[0] <= self._taken:
                self._ends.popleft()
                ended = True
        return np.concatenate(parts), ended

    def _prepare_resampler(self, rate: int, era: int) -> None:
        if rate != self._from_rate or self._era_of_resampler != era:
            if self._era_of_resampler == era:  # the rest of the sound at the rate before
                self._add(self._resampler.flush(), era, lambda: 0)
            self._resampler, self._from_rate, self._era_of_resampler = Resampler(rate, self._rate), rate, era

    def _add(self, made: Floats32, era: int, silence_before: Callable[[], int]) -> bool:
        """Add samples unless `clear` was called since; return whether they belong to this era."""
        with self._state:
            if era != self._era:
                return False
            if not len(made):
                return True
            if self._is_dry:
                self._is_dry = False
                if silence := silence_before():
                    self._waiting.append(np.zeros(silence, np.float32))
                    self._length += silence
            kept = np.clip(made, -1.0, 1.0)[: max(0, self._most - self._length)]  # resampled peaks may be higher
            if len(kept):
                self._waiting.append(kept)
                self._length += len(kept)
            lost = len(made) - len(kept)
            self.dropped += lost
            if lost and not self._is_full:
                log.warning(
                    "%.0f s of sound wait to be spoken: what is pushed now is dropped.", self._most / self._rate
                )
            self._is_full = lost > 0
            return True


def _checked_rate(rate: int) -> int:
    if isinstance(rate, bool) or not isinstance(rate, Integral) or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise OptionError(f"a sample rate of {rate!r} is out of range: give {LOWEST_RATE} … {HIGHEST_RATE} Hz.")
    return int(rate)


def _checked(samples: Samples) -> Samples:
    given: Any = np.asarray(samples)
    if given.ndim != 1 or given.dtype not in (np.float32, np.float64, np.int16):
        raise OptionError(
            f"the samples have the shape {given.shape} and the type {given.dtype}: give mono sound, one dimension of "
            "float32 or int16."
        )
    checked: Samples = given
    return checked


def _as_float32(samples: Samples) -> Floats32:
    """Return a copy −1…1."""
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(32768)
    finite = np.nan_to_num(samples.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(finite, -1.0, 1.0)
