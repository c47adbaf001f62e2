"""Signal driver: voice → mouth controls, without downloads and independent of the language.

A small network (fitted by `scripts/fit_signal_driver.py`) estimates the aperture in units of the voice's own range.
This module scales it to a natural size, shuts the mouth in pauses and limits its speed.
Source: docs/method/signal_driver.md, Size, Rest and Speed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...arrays import Flags, Floats
from ...face.mouth_offsets import subtract_source_mouth
from ...face.tracked import TrackedSource
from ...media.waveform import Waveform
from ...motion.intervals import true_intervals
from ...motion.resampling import resample_track
from ...motion.smoothing import smoothstep
from ...motion.track import MouthControls
from . import features
from .closures import PhoneRecogniser, bilabial_probability
from .network import STRIDE, SignalNetwork

WEIGHTS = Path(__file__).with_name("signal_driver.npz")
GRID_FPS = features.FRAMES_PER_SECOND / STRIDE  # 25: the grid of the network's output

# Voice activity, in dB and seconds.
SILENT_DBFS = -80.0  # recordings with a lower level have no voice
REACH_DB = 46.0  # lower than this below the level is silence; breaths are louder
STEADY_DB = 2.0  # a quiet tenth of the recording that varies less is noise; laughter and music vary by 3 dB
ABOVE_NOISE_DB = 5.0
HOLD_SECONDS = 0.25  # shorter gaps are stop consonants and breaths between words
CLICK_SECONDS = 0.05  # shorter bursts are not voice
CLOSED_AFTER_SECONDS = 0.3  # from the end of the voice to shut lips; Rhubarb relaxes over 120–350 ms
LINGER = 0.1  # share of that time before they start to close
OPENING_SECONDS = 0.24  # before the sound starts
FULL_PAUSE_SECONDS = 0.8  # in shorter pauses the lips move faster in proportion, so that they do meet

# Breaths in a pause move real lips too, but viewers take an opening mouth there for an error.
HUSH_DB = 35.0  # below the level of the voice
HUSH_SECONDS = 0.3  # shortest hush
HUSH_EDGE_SECONDS = 0.12  # from its start to resting lips
HUSH_APERTURE = 0.017  # IOD, not reduced

# Size of the mouth's motion, in inter-ocular distances (IOD).
LOW_PERCENT, HIGH_PERCENT = 8, 95  # the range of a voice: real lips touch in a sixth of the frames of speech
SHUT, WIDE = 0.01, 0.16  # aperture at these percentiles
SHUT_PRESS = 0.01  # IOD, added at their full probability
CLOSURE_PROBABILITY = 0.25  # a peak of this height closes the lips; lower ones are mostly other sounds
CLOSURE_WINDOW = 2  # grid steps on each side of a peak: two closures of the lips are 0.1 s apart
CLOSURE_APERTURE = 0.005  # IOD, at the peak
LIMIT = 0.24  # rendered lips fold beyond
FASTEST = 2.0  # IOD per second: 0.08 per frame at 25 fps, more than 97 % of real frames have
PRIOR_FRAMES = 40.0  # 1.6 s: weight of the percentiles of all voices against those of this voice


class SignalDriver:
    """Mouth motion by a small built-in network, for any language.

    Args:
        weights: of the network.
        recogniser: tells where P, B and M close the lips, in place of the network.
    """

    def __init__(self, weights: Path = WEIGHTS, recogniser: PhoneRecogniser | None = None) -> None:
        self._network = SignalNetwork(weights)
        self._recogniser = recogniser

    def __repr__(self) -> str:
        return f"SignalDriver({self._network})"

    def drive(self, voice: Waveform, source: TrackedSource, fps: float) -> MouthControls:
        """Return the mouth for each frame of `voice` (16 kHz), relative to the source's own."""
        return subtract_source_mouth(self.mouth(voice, fps), source, fps)

    def mouth(self, voice: Waveform, fps: float) -> Floats:
        """Return the mouth of an average face (T, 5) in IOD; T is `voice.frame_count(fps)`.

        Columns: aperture ≥ 0, then spread, round, press, corner_up as changes from rest.

        Raises:
            ValueError: the voice is not at 16 kHz.
        """
        if voice.sample_rate != features.SAMPLE_RATE:
            raise ValueError(f"the signal driver needs sound at {features.SAMPLE_RATE} Hz, got {voice}")
        samples = voice.samples
        if not np.isfinite(samples.sum()):  # decoded files are finite: copy only if not
            samples = np.nan_to_num(samples, posinf=0.0, neginf=0.0)
        power = features.mel_power(samples)
        loudness = features.band_loudness_db(power)
        activity = voice_activity(loudness)
        presence = mouth_presence(activity)[::STRIDE]
        log_mel = features.normalised_log_mel(power)
        del power
        output = self._network.predict(log_mel)
        if self._recogniser is None:
            shut = bilabial_probability(output[:, 4:])
        else:
            shut = self._recogniser.bilabial_probability(samples, features.voice_level_db(loudness), len(output))
        aperture = scale_aperture(output[:, 0], activity[::STRIDE], self._network.usual_aperture)
        aperture = aperture * presence
        above_rest = np.maximum(aperture - HUSH_APERTURE, 0.0)
        aperture = limit_speed(aperture - above_rest * hush(loudness)[::STRIDE])
        aperture = np.minimum(aperture, closure_limit(shut))
        shape = output[:, 1:4] * self._network.shape_gain + self._network.shape_mean
        return resample_track(mouth_controls(aperture, shape, shut, presence), GRID_FPS, voice.frame_count(fps), fps)


def mouth_controls(aperture: Floats, shape: Floats, shut: Floats, presence: Floats) -> Floats:
    """Return the mouth (T, 5) as in `SignalDriver.mouth`.

    From the aperture (T,), the shape (T, 3) width, press, corner height, all in IOD, the probability of P, B or M (T,)
    and the weight of the mouth's motion (T,).
    """
    width, press, corner_up = (shape * presence[:, None]).T
    press = press + SHUT_PRESS * shut * presence
    return np.stack([aperture, np.maximum(width, 0), np.maximum(-width, 0), press, corner_up], axis=1)


def closure_limit(probability: Floats) -> Floats:
    """Return the largest aperture (T,) that the lips can have beside the closures of P, B and M at limited speed."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(probability, CLOSURE_WINDOW), 2 * CLOSURE_WINDOW + 1)
    peaks = (probability >= around.max(axis=1)) & (probability > CLOSURE_PROBABILITY)
    since, until = (STRIDE * seconds for seconds in _seconds_from(peaks))  # on the grid
    return CLOSURE_APERTURE + FASTEST * np.minimum(since, until)


def voice_activity(loudness: Floats) -> Flags:
    """Return where there is voice, from the loudness (frames,) in dB at 100 Hz, whatever the gain, noise and hum."""
    level = features.voice_level_db(loudness)
    if level < SILENT_DBFS:
        return np.zeros(len(loudness), bool)
    floored = np.maximum(loudness, level - features.FLOOR_DB)  # so that digital silence does not affect neighbours
    smooth = _average_50_ms(floored)
    low, quiet = np.percentile(smooth, (3, 12))
    threshold = level - REACH_DB
    if quiet - low < STEADY_DB:
        threshold = max(threshold, min(quiet + ABOVE_NOISE_DB, level - 6.0))
    loud = _without_short_runs(smooth > threshold, CLICK_SECONDS)
    return ~_without_short_runs(~loud, HOLD_SECONDS, keep_ends=True)


def hush(loudness: Floats) -> Floats:
    """Return how far each frame is inside a pause, 0…1, from the loudness (frames,) in dB at 100 Hz."""
    quiet = _average_50_ms(loudness) < features.voice_level_db(loudness) - HUSH_DB
    since, until = _seconds_from(~_without_short_runs(quiet, HUSH_SECONDS))
    return smoothstep(0.0, HUSH_EDGE_SECONDS, np.minimum(since, until))


def _average_50_ms(loudness: Floats) -> Floats:
    """Return the mean over five frames at 100 Hz, extended by the end values."""
    return np.convolve(np.pad(loudness, 2, mode="edge"), np.full(5, 0.2), "valid")


def _seconds_from(flags: Flags) -> tuple[Floats, Floats]:
    """Return the time since the last and until the next True, for flags at 100 Hz; infinite if there is none."""
    seconds = np.arange(len(flags)) / features.FRAMES_PER_SECOND
    since = seconds - np.maximum.accumulate(np.where(flags, seconds, -np.inf))
    until = np.minimum.accumulate(np.where(flags, seconds, np.inf)[::-1])[::-1] - seconds
    return since, until


def _without_short_runs(flags: Flags, shortest_seconds: float, *, keep_ends: bool = False) -> Flags:
    """Return `flags` (100 Hz) without shorter runs of True; `keep_ends` keeps those at the start and the end."""
    out = flags.copy()
    for start, end in true_intervals(flags):
        is_short = end - start < shortest_seconds * features.FRAMES_PER_SECOND
        if is_short and not (keep_ends and (start == 0 or end == len(flags))):
            out[start:end] = False
    return out


def mouth_presence(activity: Flags) -> Floats:
    """Return the weight of the mouth's motion, 0…1 at 100 Hz: it rises before the voice and falls after it."""
    since, until = _seconds_from(activity)
    pace = np.minimum((since + until) / FULL_PAUSE_SECONDS, 1.0) + 1e-6
    closing = (since / pace / CLOSED_AFTER_SECONDS - LINGER) / (1.0 - LINGER)
    opening = until / pace / OPENING_SECONDS
    return smoothstep(0.0, 1.0, 1.0 - np.minimum(closing, opening)).astype(np.float32)


def scale_aperture(output: Floats, activity: Flags, usual: tuple[float, float]) -> Floats:
    """Return the aperture (T,) in IOD: the network's output (T,), scaled so that this voice has a natural range."""
    spoken = output[activity]
    low, high = np.percentile(spoken, (LOW_PERCENT, HIGH_PERCENT)) if len(spoken) else (0.0, 0.0)
    return aperture_in_iod(output, low, high, len(spoken) / (len(spoken) + PRIOR_FRAMES), usual)


def aperture_in_iod(output: Floats, low: float, high: float, trust: float, usual: tuple[float, float]) -> Floats:
    """Map this voice's percentiles `low` and `high`, mixed with the `usual` ones, to SHUT and WIDE, and bend above.

    `trust` is the weight of this voice's percentiles, 0…1. `output` and the result (in IOD) have any shape.
    """
    low = trust * low + (1.0 - trust) * usual[0]
    high = trust * high + (1.0 - trust) * usual[1]
    span = max(high - low, 0.5 * (usual[1] - usual[0]))  # do not amplify a hum to speech
    aperture = np.maximum(SHUT + (WIDE - SHUT) * (output - low) / span, 0.0)
    headroom = LIMIT - WIDE
    return np.where(aperture > WIDE, WIDE + headroom * np.tanh((aperture - WIDE) / headroom), aperture)


def limit_speed(aperture: Floats) -> Floats:
    """Limit the speed of `aperture` (T,) on the grid to FASTEST: the mean of both directions in time, without delay."""
    step = FASTEST / GRID_FPS
    if np.abs(np.diff(aperture)).max(initial=0.0) <= step:
        return aperture

    def follow(target: Floats) -> Floats:
        out = target.copy()
        for k in range(1, len(out)):
            out[k] = min(max(target[k], out[k - 1] - step), out[k - 1] + step)
        return out

    return (follow(aperture) + follow(aperture[::-1])[::-1]) / 2.0
