"""The small network behind the signal driver: log-mel frames → mouth, in NumPy with one compiled loop.

Several twins of one shape (two strided convolutions, a two-way GRU, a linear layer) whose answers are averaged.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ...arrays import Floats
from ...errors import WeightsError
from ...system.jit import kernel

_PIECE = 3_000  # feature frames (half a minute) taken at once: bounds memory however long the voice is
_CONTEXT = 1_000  # and this much on either side, far more than the network remembers
STRIDE = 4  # feature frames to one of the network's answers: 100 → 25 a second
_LAYERS = ("conv1_w", "conv1_b", "conv2_w", "conv2_b", "gru_in_w", "gru_in_b", "gru_w", "gru_b", "head_w", "head_b")


def _scan(drive: Floats, weight: Floats, bias: Floats, out: Floats) -> None:
    """Gated recurrent unit over drive (T, 3 H: reset, update, new); weight (H, 3 H), bias (3 H); fills out (T, H)."""
    steps, size = out.shape
    state = np.zeros(size, np.float32)
    gates = np.empty(3 * size, np.float32)
    one = np.float32(1.0)
    for t in range(steps):
        gates[:] = bias
        for i in range(size):
            for j in range(3 * size):  # the inner loop runs along memory: the compiler makes vectors of it
                gates[j] += state[i] * weight[i, j]
        for j in range(size):
            reset = one / (one + np.exp(-(drive[t, j] + gates[j])))
            update = one / (one + np.exp(-(drive[t, size + j] + gates[size + j])))
            new = np.tanh(drive[t, 2 * size + j] + reset * gates[2 * size + j])
            state[j] = new + update * (state[j] - new)
        out[t] = state


_compiled_scan = kernel(_scan)


def _halve(x: Floats, weight: Floats, bias: Floats) -> Floats:
    """Convolution of x (T, C) by weight (taps, C, H) with stride 2 and same padding, then GELU: ((T + 1) // 2, H)."""
    taps = len(weight)
    count = (len(x) + 1) // 2
    padded = np.pad(x, ((taps // 2, taps // 2 + 1), (0, 0)))
    y = bias + sum(padded[k : k + 2 * count : 2] @ weight[k] for k in range(taps))
    return np.asarray(0.5 * y * (1.0 + np.tanh(0.7978845608 * (y + 0.044715 * y**3))), np.float32)


class SignalNetwork:
    """Weights of the twins, with the numbers that were fitted beside them."""

    def __init__(self, weights: Path) -> None:
        try:
            with np.load(weights, allow_pickle=False) as stored:
                self.about: dict[str, Any] = json.loads(str(stored["about"]))
                self.usual_aperture: tuple[float, float] = tuple(stored["usual_aperture"].tolist())
                """8th and 95th percentile of the aperture answer (column 0) while someone talks, over all voices."""
                self.shape_mean: Floats = stored["shape_mean"]
                self.shape_gain: Floats = stored["shape_gain"]
                """(3,) each: width, press, corner height off rest in IOD = answer (columns 1–3) · gain + mean."""
                self._twins = [
                    {name: np.ascontiguousarray(stored[name][k], np.float32) for name in _LAYERS}
                    for k in range(len(stored["head_b"]))
                ]
        except (OSError, KeyError, ValueError, EOFError, BadZipFile) as problem:
            raise WeightsError(f"{weights} does not hold the weights of the signal driver: {problem}") from problem

    def __repr__(self) -> str:
        return f"SignalNetwork({len(self._twins)} twins of {self._twins[0]['conv1_b'].size} channels)"

    def predict(self, log_mel: Floats) -> Floats:
        """Log-mel (frames, bands) → ((frames + 3) // 4, 20), row k belonging to feature frame 4 k.

        Columns: aperture, width, press, corner height, each in the voice's own units; logits of 16 classes of phones.
        """
        pieces = []
        for start in range(0, max(len(log_mel), 1), _PIECE):
            first, last = max(start - _CONTEXT, 0), start + _PIECE + _CONTEXT
            answers = np.stack([self._predict_one(twin, log_mel[first:last]) for twin in self._twins])
            inside = slice((start - first) // STRIDE, (start - first + _PIECE) // STRIDE)
            pieces.append(answers.mean(axis=0)[inside])
        return np.concatenate(pieces)

    @staticmethod
    def _predict_one(twin: dict[str, Floats], log_mel: Floats) -> Floats:
        x = _halve(log_mel, twin["conv1_w"], twin["conv1_b"])
        x = _halve(x, twin["conv2_w"], twin["conv2_b"])
        answer = np.tile(twin["head_b"], (len(x), 1))
        size = twin["gru_w"].shape[1]
        for way, order in enumerate((slice(None), slice(None, None, -1))):  # forwards, backwards in time
            drive = np.ascontiguousarray((x @ twin["gru_in_w"][way] + twin["gru_in_b"][way])[order])
            hidden = np.empty((len(x), size), np.float32)
            _compiled_scan(drive, twin["gru_w"][way], twin["gru_b"][way], hidden)
            answer += hidden[order] @ twin["head_w"][way]
        return answer
