"""Network of the signal driver: log-mel features → mouth, in NumPy with one compiled loop.

An ensemble of networks of one shape (two strided convolutions, a bidirectional GRU, a linear layer) whose outputs are
averaged. Source: docs/method/signal_driver.md, Network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ...arrays import Floats
from ...errors import WeightsError
from ...system.jit import kernel

_PIECE = 3_000  # feature frames (30 s) processed at once, which bounds memory
_CONTEXT = 1_000  # additional feature frames on each side, far more than the GRU remembers
STRIDE = 4  # feature frames per output: 100 → 25 per second
_LAYERS = ("conv1_w", "conv1_b", "conv2_w", "conv2_b", "gru_in_w", "gru_in_b", "gru_w", "gru_b", "head_w", "head_b")


def _scan(drive: Floats, weight: Floats, bias: Floats, out: Floats) -> None:
    """Run a gated recurrent unit over drive (T, 3 H: reset, update, new); weight (H, 3 H), bias (3 H), out (T, H)."""
    steps, size = out.shape
    state = np.zeros(size, np.float32)
    gates = np.empty(3 * size, np.float32)
    one = np.float32(1.0)
    for t in range(steps):
        gates[:] = bias
        for i in range(size):
            for j in range(3 * size):  # contiguous in memory, so that the compiler vectorises it
                gates[j] += state[i] * weight[i, j]
        for j in range(size):
            reset = one / (one + np.exp(-(drive[t, j] + gates[j])))
            update = one / (one + np.exp(-(drive[t, size + j] + gates[size + j])))
            new = np.tanh(drive[t, 2 * size + j] + reset * gates[2 * size + j])
            state[j] = new + update * (state[j] - new)
        out[t] = state


_compiled_scan = kernel(_scan)


def gelu(y: Floats) -> Floats:
    """Return the Gaussian error linear unit of `y` by its approximation with tanh, float32."""
    return np.asarray(0.5 * y * (1.0 + np.tanh(0.7978845608 * (y + 0.044715 * y**3))), np.float32)


def _halve(x: Floats, weight: Floats, bias: Floats) -> Floats:
    """Return GELU of the convolution of x (T, C) by weight (taps, C, H) with stride 2: ((T + 1) // 2, H)."""
    taps = len(weight)
    count = (len(x) + 1) // 2
    padded = np.pad(x, ((taps // 2, taps // 2 + 1), (0, 0)))
    y = bias + sum(padded[k : k + 2 * count : 2] @ weight[k] for k in range(taps))
    return gelu(y)


def read_arrays(weights: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return the arrays of a file of weights, the matrices (`…_w`) as float32, and its note `about` as a dict.

    Raises:
        WeightsError: the file is missing or damaged, or lacks one of `names`.
    """
    try:
        with np.load(weights, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
            about = json.loads(str(arrays.pop("about")))
        steps = {name: arrays.pop(f"{name}_step") for name in list(arrays) if name.endswith("_w")}
        scaled = {name: arrays[name] * step.astype(np.float32) for name, step in steps.items()}  # from int8, by column
        kept = {name: (arrays | scaled)[name] for name in names}
        return {name: array.astype(np.float32) for name, array in kept.items()} | {"about": about}
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
        raise WeightsError(f"{weights} does not hold the weights of the signal driver: {error}") from error


class SignalNetwork:
    """Weights of the ensemble and its calibration.

    Raises:
        WeightsError: the file is missing or wrong.
    """

    def __init__(self, weights: Path) -> None:
        stored = read_arrays(weights, (*_LAYERS, "usual_aperture", "shape_mean", "shape_gain"))
        self.about: dict[str, Any] = stored["about"]
        self.usual_aperture: tuple[float, float] = tuple(stored["usual_aperture"].tolist())
        """8th and 95th percentile of the aperture output (column 0) in speech, over all voices."""
        self.shape_mean: Floats = stored["shape_mean"]
        self.shape_gain: Floats = stored["shape_gain"]
        """(3,) each: width, press, corner height as changes in IOD = output (columns 1–3) · gain + mean."""
        self._members = [
            {name: np.ascontiguousarray(stored[name][k]) for name in _LAYERS} for k in range(len(stored["head_b"]))
        ]

    def __repr__(self) -> str:
        channels = self._members[0]["conv1_b"].size
        return f"SignalNetwork({len(self._members)} networks of {channels} channels)"

    def predict(self, log_mel: Floats) -> Floats:
        """Return the output ((frames + 3) // 4, 20) for log-mel features (frames, bands); row k is at frame 4 k.

        Columns: aperture, width, press, corner height, each in units of the voice; logits of 16 phone classes.
        """
        pieces = []
        for start in range(0, max(len(log_mel), 1), _PIECE):
            first, last = max(start - _CONTEXT, 0), start + _PIECE + _CONTEXT
            outputs = np.stack([self._predict_one(member, log_mel[first:last]) for member in self._members])
            inside = slice((start - first) // STRIDE, (start - first + _PIECE) // STRIDE)
            pieces.append(outputs.mean(axis=0)[inside])
        return np.concatenate(pieces)

    @staticmethod
    def _predict_one(member: dict[str, Floats], log_mel: Floats) -> Floats:
        x = _halve(log_mel, member["conv1_w"], member["conv1_b"])
        x = _halve(x, member["conv2_w"], member["conv2_b"])
        output = np.tile(member["head_b"], (len(x), 1))
        size = member["gru_w"].shape[1]
        for way, order in enumerate((slice(None), slice(None, None, -1))):  # forwards, backwards in time
            drive = np.ascontiguousarray((x @ member["gru_in_w"][way] + member["gru_in_b"][way])[order])
            hidden = np.empty((len(x), size), np.float32)
            _compiled_scan(drive, member["gru_w"][way], member["gru_b"][way], hidden)
            output += hidden[order] @ member["head_w"][way]
        return output
