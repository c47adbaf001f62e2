"""Pushed sound on its way to be played: any rate and chunk size in, one rate out, bounded. Thread-safe."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Taken:
    """The next samples of a queue."""

    samples: Floats32
    """(n,): silence, then sound that was pushed."""
    silence: int
    """How many of them are silence."""
    ends: tuple[int, ...]
    """After how many of the pushed ones an utterance ends."""


class VoiceQueue:
    """Sound that waits to be played, at `sample_rate`; what is beyond `most_seconds` is dropped and counted."""

    def __init__(self, sample_rate: int, most_seconds: float) -> None:
        self._rate, self._most = sample_rate, round(most_seconds * sample_rate)
        self._pushing = Lock()  # one chunk after another
        self._resampler, self._from_rate, self._resampler_clears = Resampler(sample_rate, sample_rate), sample_rate, 0
        self._state = Lock()  # held for moments only; guards what follows
        self._waiting: deque[Floats32] = deque()
        self._silence = 0  # samples before those that wait
        self._length = 0  # of what was pushed, as all numbers here
        self._taken = 0
        self._ends: deque[int] = deque()  # how many samples have been taken when an utterance ends
        self._clears = 0  # calls of `clear`
        self._ran_out = True  # more was asked for than there was
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
        given, rate = _checked(samples), checked_rate(sample_rate)
        clears = self._clears
        with self._pushing:
            self._prepare_resampler(rate, clears)
            piece = max(1, round(_PIECE_S * rate))
            for begin in range(0, len(given), piece):
                made = self._resampler.push(_as_float32(given[begin : begin + piece]))
                if not self._add(made, clears, silence_before):
                    return

    def end(self, silence_before: Callable[[], int]) -> None:
        """Mark the end of an utterance."""
        clears = self._clears
        with self._pushing:
            if self._resampler_clears == clears:
                self._add(self._resampler.flush(), clears, silence_before)
            with self._state:
                here = self._taken + self._length
                if clears == self._clears and (not self._ends or self._ends[-1] != here):
                    self._ends.append(here)

    def clear(self) -> int:
        """Drop what waits, chunks that are being pushed included; return the number of samples."""
        with self._state:
            dropped, self._length = self._length, 0
            self._waiting.clear()
            self._ends.clear()
            self._clears += 1
            self._silence, self._ran_out = 0, True
        return dropped

    def __len__(self) -> int:
        """Return the number of samples that wait."""
        return self._length

    def take(self, count: int) -> Taken:
        """Return the next samples, at most `count`."""
        with self._state:
            silence = min(self._silence, count)
            self._silence -= silence
            parts: list[Floats32] = [np.zeros(silence, np.float32)]
            missing = count - silence
            while missing and self._waiting:
                part = self._waiting.popleft()
                if len(part) > missing:
                    self._waiting.appendleft(part[missing:])
                    part = part[:missing]
                parts.append(part)
                missing -= len(part)
            before = self._taken
            self._length -= count - silence - missing
            self._taken += count - silence - missing
            self._ran_out = self._ran_out or missing > 0
            ends = []
            while self._ends and self._ends[0] <= self._taken:
                ends.append(self._ends.popleft() - before)
        return Taken(np.concatenate(parts), silence, tuple(ends))

    def _prepare_resampler(self, rate: int, clears: int) -> None:
        if rate != self._from_rate or self._resampler_clears != clears:
            if self._resampler_clears == clears:  # the rest of the sound at the rate before
                self._add(self._resampler.flush(), clears, lambda: 0)
            self._resampler, self._from_rate, self._resampler_clears = Resampler(rate, self._rate), rate, clears

    def _add(self, made: Floats32, clears: int, silence_before: Callable[[], int]) -> bool:
        """Add samples unless `clear` was called since; return whether it was not."""
        with self._state:
            if clears != self._clears:
                return False
            if not len(made):
                return True
            if self._ran_out:
                self._ran_out = False
                self._silence = silence_before()
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


def checked_rate(rate: int) -> int:
    """Return a sample rate as int. Raises OptionError for one out of range."""
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
