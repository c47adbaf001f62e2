"""Resampling of sound that comes in pieces: windowed sinc, the same samples however the sound is cut.

Source: docs/method/live.md, Sound.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

import numpy as np

from ..arrays import Floats32, Floats64

_CROSSINGS = 16  # zeros of the sinc on each side
_PASS = 0.94  # of the lower rate's half: what is above is faded out
_KAISER = 8.0  # of the window: what is folded back is below −80 dB
_BLOCK = 4096  # samples that are made at once


class Resampler:
    """Mono float32 from one rate to another. Sample n of the output lies at n / `to_rate` seconds of the input."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        common = gcd(from_rate, to_rate)
        self._step, self._parts = from_rate // common, to_rate // common  # input samples per output: step / parts
        self._reach, self._kernels = (0, np.zeros((1, 0))) if from_rate == to_rate else _kernels(from_rate, to_rate)
        self.delay_seconds = self._reach / from_rate
        """By how much the output lags behind what was pushed."""
        self._start()

    def _start(self) -> None:
        self._known: Floats32 = np.zeros(max(self._reach - 1, 0), np.float32)  # input samples from number `_first` on
        self._first = -len(self._known)
        self._made = 0

    def push(self, samples: Floats32) -> Floats32:
        """Return the output that is certain after these samples (n,)."""
        if not self._reach:
            return samples
        self._known = np.concatenate([self._known, samples])
        # The last tap of output n lies `reach` after the input sample before it.
        ends = self._first + len(self._known) - self._reach
        return self._make_until(-(-ends * self._parts // self._step))

    def flush(self) -> Floats32:
        """Return the rest of the output, as if silence followed, and begin anew."""
        if not self._reach:
            return np.zeros(0, np.float32)
        total = self._first + len(self._known)
        self._known = np.concatenate([self._known, np.zeros(self._reach, np.float32)])
        rest = self._make_until(-(-total * self._parts // self._step))
        self._start()
        return rest

    def _make_until(self, count: int) -> Floats32:
        """Return the output from where it stands up to sample `count`."""
        made: list[Floats32] = [np.zeros(0, np.float32)]
        for begin in range(self._made, count, _BLOCK):
            numbers = np.arange(begin, min(begin + _BLOCK, count), dtype=np.int64) * self._step
            before, part = numbers // self._parts, numbers % self._parts
            at = (before - self._reach + 1 - self._first)[:, None] + np.arange(2 * self._reach)
            made.append((self._known[at] * self._kernels[part]).sum(axis=1).astype(np.float32))
        self._made = max(self._made, count)
        needed = self._made * self._step // self._parts - self._reach + 1  # first tap of the next sample
        used = max(0, needed - self._first)
        self._known, self._first = self._known[used:], self._first + used
        return np.concatenate(made)


@lru_cache(maxsize=8)
def _kernels(from_rate: int, to_rate: int) -> tuple[int, Floats64]:
    """Return the reach in input samples and a kernel (parts, 2 · reach) for each position between two of them."""
    parts = to_rate // gcd(from_rate, to_rate)
    cut = _PASS * min(1.0, to_rate / from_rate)
    reach = int(np.ceil(_CROSSINGS / cut))
    taps = np.arange(1 - reach, reach + 1) - (np.arange(parts) / parts)[:, None]
    window = np.i0(_KAISER * np.sqrt(np.clip(1.0 - (taps / reach) ** 2, 0.0, 1.0))) / np.i0(_KAISER)
    kernels = cut * np.sinc(cut * taps) * window
    return reach, kernels / kernels.sum(axis=1, keepdims=True)
