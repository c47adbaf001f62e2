"""The mouth of each step of a stream: the rules of `driver`, without the rest of the voice.

A step is a frame at 25 fps. Source: docs/method/signal_driver.md, Streams.
"""

from __future__ import annotations

import math

import numpy as np

from ...arrays import Floats
from ...motion.smoothing import smoothstep
from . import features
from .closures import bilabial_probability
from .driver import (
    CLOSURE_APERTURE,
    CLOSURE_PROBABILITY,
    CLOSURE_WINDOW,
    FASTEST,
    HIGH_PERCENT,
    LOW_PERCENT,
    OPENING_SECONDS,
    aperture_in_iod,
    mouth_controls,
)
from .network import STRIDE
from .running import RunningFeatures, RunningPercentiles
from .stream_network import StreamNetwork

STEP = STRIDE * features.HOP  # samples
STEP_SECONDS = STEP / features.SAMPLE_RATE
HISTORY = features.HOP + features.WINDOW // 2  # samples before a step, which its first feature frame covers
RANGE_PRIOR, RANGE_MEMORY = 200.0, 1500.0  # steps of voice, 8 s and 60 s: a range that changes fast is seen
LINGER_SECONDS, CLOSED_AFTER_SECONDS = 0.12, 0.32  # after the voice: gaps between words are not known to be short


class Voice:
    """The network, and what the stream has shown of the voice: its level, spectrum and range."""

    def __init__(self, network: StreamNetwork) -> None:
        self.network = network
        self.features = RunningFeatures(network.usual_level, network.usual_spectrum)
        self._outputs = RunningPercentiles(-6.0, 6.0, RANGE_MEMORY)
        self._count = 0.0

    def aperture(self, output: float, ahead: int, *, voiced: bool) -> float:
        """Return the aperture in IOD for the network's output at a step that is `ahead` steps before the last."""
        if voiced:
            self._outputs.add(output)
            self._count = min(self._count + 1.0, RANGE_MEMORY)
        low, high = (
            (self._outputs.at(percent) for percent in (LOW_PERCENT, HIGH_PERCENT)) if self._count else (0.0, 0.0)
        )
        trust = self._count / (self._count + RANGE_PRIOR)
        usual_low, usual_high = self.network.usual_aperture[ahead].tolist()
        return float(aperture_in_iod(np.array(output), low, high, trust, (usual_low, usual_high)))


class StreamMouth:
    """The mouth of one utterance, each step when the sound of `ahead` steps after it is known."""

    def __init__(self, voice: Voice, ahead: int) -> None:
        self._voice, self._ahead = voice, ahead
        self._state = voice.network.begin()
        self._filters = features.mel_filters()
        self._voiced = [False] * (ahead + 2)  # of the step before, this one and those ahead
        self._shut = [0.0] * CLOSURE_WINDOW  # probability of P, B or M at the steps before
        self._since_voice = self._since_closure = math.inf  # steps
        self._aperture = 0.0
        self._unknown = ahead  # steps until the first mouth

    def step(self, sound: Floats) -> Floats | None:
        """Return the mouth (5,) of the step `ahead` steps before this one; None before the first.

        `sound` (HISTORY + STEP,) holds the samples of this step and HISTORY before.
        """
        frames = np.lib.stride_tricks.sliding_window_view(sound, features.WINDOW)[:: features.HOP]
        log_mel, voiced = self._voice.features.step(features.frame_power(frames) @ self._filters)
        output = self._voice.network.step(self._state, log_mel)
        self._voiced = [*self._voiced[1:], voiced]
        if self._unknown:
            self._unknown -= 1
            return None
        presence = self._presence()
        ahead = self._ahead
        shut = bilabial_probability(output[ahead::-1, 4:])  # of this step and those ahead
        target = presence * self._voice.aperture(float(output[ahead, 0]), ahead, voiced=self._since_voice == 0)
        step = FASTEST * STEP_SECONDS
        target = min(max(target, self._aperture - step), self._aperture + step)
        self._aperture = min(target, max(self._closure_limit(shut.tolist()), self._aperture - step))
        network = self._voice.network
        shape = output[ahead, 1:4] * network.shape_gain[ahead] + network.shape_mean[ahead]
        one = mouth_controls(np.array([self._aperture]), shape[None], shut[:1], np.array([presence]))
        return np.asarray(one[0])

    def _presence(self) -> float:
        """Return the weight of the mouth's motion, 0…1: it falls after voice and rises before voice that is known."""
        before, now, *after = self._voiced
        click = now and after and not (before or after[0])
        self._since_voice = 0 if now and not click else self._since_voice + 1
        closing = (self._since_voice * STEP_SECONDS - LINGER_SECONDS) / (CLOSED_AFTER_SECONDS - LINGER_SECONDS)
        until = after.index(True) + 1 if True in after else math.inf
        opening = until / min(self._ahead + 1, OPENING_SECONDS / STEP_SECONDS)
        return float(smoothstep(0.0, 1.0, 1.0 - np.minimum(closing, opening)))

    def _closure_limit(self, shut: list[float]) -> float:
        """Return the largest aperture beside the closures of P, B and M, from their probability now and ahead."""
        known = self._shut + shut
        self._since_closure += 1
        limit = math.inf
        for steps, probability in enumerate(shut):
            at = steps + CLOSURE_WINDOW
            if probability > CLOSURE_PROBABILITY and probability >= max(
                known[at - CLOSURE_WINDOW : at + CLOSURE_WINDOW + 1]
            ):
                limit = min(limit, steps)
                if steps == 0:
                    self._since_closure = 0
        self._shut = known[1 : 1 + CLOSURE_WINDOW]
        return CLOSURE_APERTURE + FASTEST * STEP_SECONDS * min(limit, self._since_closure)
