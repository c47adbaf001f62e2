"""Network of the voice driver for streams: one step of log-mel features → the mouth now and a few frames ago.

An ensemble of networks of one shape (a strided convolution, a GRU, a linear layer) whose outputs are averaged.
Source: docs/method/signal_driver.md, Streams.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...arrays import Floats
from .features import MEL_BANDS
from .network import gelu, read_arrays

CONTEXT = 12  # feature frames that a step sees at once
DELAYS = 5  # a step estimates the frames 0…4 steps before its end
SILENT = -3.0  # about what digital silence is after normalisation: the features before the first step
_LAYERS = ("conv_w", "conv_b", "gru_in_w", "gru_in_b", "gru_w", "gru_b", "head_w", "head_b")
_MEASURED = ("usual_level", "usual_spectrum", "usual_aperture", "shape_mean", "shape_gain")


class StreamNetwork:
    """Weights of the ensemble and what was measured on the voices that it was fitted on.

    Raises:
        WeightsError: the file is missing or wrong.
    """

    def __init__(self, weights: Path) -> None:
        stored = read_arrays(weights, (*_LAYERS, *_MEASURED))
        self._layers = {name: stored[name] for name in _LAYERS}
        self.about = stored["about"]
        self.usual_level = float(stored["usual_level"])
        self.usual_spectrum: Floats = stored["usual_spectrum"]
        self.usual_aperture: Floats = stored["usual_aperture"]
        """(DELAYS, 2): 8th and 95th percentile of the aperture output in speech."""
        self.shape_mean: Floats = stored["shape_mean"]
        self.shape_gain: Floats = stored["shape_gain"]
        """(DELAYS, 3) each: width, press, corner height as changes in IOD = output · gain + mean."""
        members, size = self._layers["gru_w"].shape[:2]
        self._start = np.zeros((members, 1, size), np.float32)

    def __repr__(self) -> str:
        members, _, size = self._start.shape
        return f"StreamNetwork({members} networks of {size} units)"

    def begin(self) -> StreamState:
        """Return the state before the first step."""
        return StreamState(np.full((CONTEXT, MEL_BANDS), SILENT, np.float32), self._start)

    def step(self, state: StreamState, log_mel: Floats) -> Floats:
        """Return the output (DELAYS, 20) after the next features (STRIDE, MEL_BANDS), and move `state` on.

        Row d is an estimate for the step d steps before. Columns as in `SignalNetwork.predict`.
        """
        layers = self._layers
        state.recent = np.concatenate([state.recent[len(log_mel) :], log_mel])
        x = gelu(state.recent.reshape(-1) @ layers["conv_w"] + layers["conv_b"])[:, None]
        drive = x @ layers["gru_in_w"] + layers["gru_in_b"][:, None]
        gates = state.hidden @ layers["gru_w"] + layers["gru_b"][:, None]
        size = state.hidden.shape[-1]
        reset, update = np.split(1.0 / (1.0 + np.exp(-(drive + gates)[..., : 2 * size])), 2, axis=-1)
        new = np.tanh(drive[..., 2 * size :] + reset * gates[..., 2 * size :])
        state.hidden = new + update * (state.hidden - new)
        output = (state.hidden @ layers["head_w"])[:, 0] + layers["head_b"]
        return np.asarray(output.mean(axis=0).reshape(DELAYS, -1))


class StreamState:
    """What the network remembers: `recent` features (CONTEXT, MEL_BANDS), `hidden` (members, 1, units)."""

    def __init__(self, recent: Floats, hidden: Floats) -> None:
        self.recent, self.hidden = recent, hidden
