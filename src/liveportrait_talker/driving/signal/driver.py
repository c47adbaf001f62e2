"""From the sound alone to the mouth: a small network, then the rules by which a mouth rests, opens and shuts.

The network (fitted by `scripts/fit_signal_driver.py`) says how far the lips are apart in units of the voice's own
swing; this module gives that swing a natural size, shuts the mouth where nobody speaks and keeps it from hurrying.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...arrays import Flags, Floats
from ...face.relative import relative_to_source
from ...face.tracked import TrackedSource
from ...media.waveform import Waveform
from ...motion.resampling import resample_track
from ...motion.smoothing import smoothstep
from ...motion.track import MouthControls
from . import features
from .network import STRIDE, SignalNetwork

WEIGHTS = Path(__file__).with_name("signal_driver.npz")
GRID_FPS = features.FRAMES_PER_SECOND / STRIDE  # 25: the grid on which the mouth is thought out

# Voice activity, in dB and seconds.
SILENT_DBFS = -80.0  # a recording whose loud frames stay under this holds no voice
REACH_DB = 46.0  # quieter than this under the voice's level is silence, however clean the recording; breaths are louder
STEADY_DB = 4.0  # the quiet tenth of a recording varies less than this: it is noise, not soft speech
ABOVE_NOISE_DB = 5.0
HOLD_SECONDS = 0.25  # shorter gaps are stop consonants and breaths between words
CLICK_SECONDS = 0.05  # shorter bursts are no voice
CLOSED_AFTER_SECONDS = 0.3  # the lips have met this long after the voice; Rhubarb relaxes over 120–350 ms
LINGER = 0.1  # share of that time before they start to
OPENING_SECONDS = 0.24  # they part this long before the sound comes
FULL_PAUSE_SECONDS = 0.8  # shorter pauses are closed and opened faster in proportion, so that the lips do meet

# Breaths and murmurs in a pause move real lips too, but a viewer takes a mouth that opens there for a fault.
HUSH_DB = 35.0  # a pause, to a viewer: this far under the voice
HUSH_SECONDS = 0.3  # and this long
HUSH_EDGE_SECONDS = 0.12  # the lips come to rest this long after its start
HUSH_APERTURE = 0.017  # IOD: what breaths may open

# Size of the mouth's motion, in inter-ocular distances (IOD).
LOW_PERCENT, HIGH_PERCENT = 8, 95  # the swing of a voice: real lips touch in a sixth of the frames of talk
SHUT, WIDE = 0.01, 0.16  # where these percentiles come to lie
BILABIAL = 1  # P, B and M among the phone classes of the network
SHUT_APERTURE, SHUT_PRESS = 0.6, 0.01  # share of the aperture they take, press they add in IOD
LIMIT = 0.24  # lips fold beyond
FASTEST = 2.0  # IOD a second: 0.08 a frame at 25 fps, more than 97 % of real frames do
PRIOR_FRAMES = 40.0  # how much voice (1.6 s) the voice's own percentiles must have to outweigh everybody's


class SignalDriver:
    """Moves a mouth by any voice in any language, with nothing to download."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        self._network = SignalNetwork(weights)

    def __repr__(self) -> str:
        return f"SignalDriver({self._network})"

    def drive(self, voice: Waveform, source: TrackedSource, fps: float) -> MouthControls:
        """The mouth for every frame of `voice` (16 kHz), relative to the source's own."""
        return relative_to_source(self.mouth(voice, fps), source, fps)

    def mouth(self, voice: Waveform, fps: float) -> Floats:
        """Anybody's mouth, (T, 5): aperture ≥ 0, then spread, round, press, corner_up as changes from rest; IOD.

        T is `voice.frame_count(fps)`; `voice` is at 16 kHz, else ValueError.
        """
        if voice.sample_rate != features.SAMPLE_RATE:
            raise ValueError(f"the signal driver hears {features.SAMPLE_RATE} Hz, got {voice}")
        samples = voice.samples
        if not np.isfinite(samples.sum()):  # files are cleaned when read; only then is a copy made
            samples = np.nan_to_num(samples, posinf=0.0, neginf=0.0)
        power = features.mel_power(samples)
        loudness = features.band_loudness_db(power)
        activity = voice_activity(loudness)
        presence = mouth_presence(activity)[::STRIDE]
        log_mel = features.normalised_log_mel(power)
        del power
        answer = self._network.predict(log_mel)
        shut = lips_shut(answer[:, 4:])
        aperture = natural_aperture(answer[:, 0], activity[::STRIDE], self._network)
        aperture = aperture * (1.0 - SHUT_APERTURE * shut) * presence
        above_rest = np.maximum(aperture - HUSH_APERTURE, 0.0)
        aperture = limit_speed(aperture - above_rest * hush(loudness)[::STRIDE])
        shape = answer[:, 1:4] * self._network.shape_gain + self._network.shape_mean
        shape[:, 1] += SHUT_PRESS * shut
        width, press, corner_up = (shape * presence[:, None]).T
        controls = np.stack([aperture, np.maximum(width, 0), np.maximum(-width, 0), press, corner_up], axis=1)
        return resample_track(controls, GRID_FPS, voice.frame_count(fps), fps)


def lips_shut(phone_logits: Floats) -> Floats:
    """How likely each frame is a P, B or M, from the logits (T, classes)."""
    odds = np.exp(phone_logits - phone_logits.max(axis=1, keepdims=True))
    return np.asarray(odds[:, BILABIAL] / odds.sum(axis=1))


def voice_activity(loudness: Floats) -> Flags:
    """Where somebody speaks, from the loudness (frames,) in dB at 100 Hz. Blind to gain, to steady noise and hum."""
    level = features.voice_level_db(loudness)
    if level < SILENT_DBFS:
        return np.zeros(len(loudness), bool)
    heard = np.maximum(loudness, level - features.FLOOR_DB)  # or digital silence would weigh on its neighbours
    smooth = _over_50_ms(heard)
    low, quiet = np.percentile(smooth, (3, 12))
    threshold = level - REACH_DB
    if quiet - low < STEADY_DB:
        threshold = max(threshold, min(quiet + ABOVE_NOISE_DB, level - 6.0))
    loud = _without_short_runs(smooth > threshold, CLICK_SECONDS)
    return ~_without_short_runs(~loud, HOLD_SECONDS, keep_ends=True)


def hush(loudness: Floats) -> Floats:
    """How much of a pause the moment is, 0…1 at 100 Hz, from the loudness (frames,) in dB."""
    quiet = _over_50_ms(loudness) < features.voice_level_db(loudness) - HUSH_DB
    since, until = _seconds_from(~_without_short_runs(quiet, HUSH_SECONDS))
    return smoothstep(0.0, HUSH_EDGE_SECONDS, np.minimum(since, until))


def _over_50_ms(loudness: Floats) -> Floats:
    """Mean over five frames at 100 Hz, the ends held."""
    return np.convolve(np.pad(loudness, 2, mode="edge"), np.full(5, 0.2), "valid")


def _seconds_from(flags: Flags) -> tuple[Floats, Floats]:
    """Time since the last True and until the next, 0 on a True, for flags at 100 Hz; infinite where there is none."""
    seconds = np.arange(len(flags)) / features.FRAMES_PER_SECOND
    since = seconds - np.maximum.accumulate(np.where(flags, seconds, -np.inf))
    until = np.minimum.accumulate(np.where(flags, seconds, np.inf)[::-1])[::-1] - seconds
    return since, until


def _without_short_runs(flags: Flags, shortest_seconds: float, *, keep_ends: bool = False) -> Flags:
    """`flags` (100 Hz) with runs of True below the given length taken out; those at either end stay if told."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    short = ends - starts < shortest_seconds * features.FRAMES_PER_SECOND
    if keep_ends:
        short &= (starts > 0) & (ends < len(flags))
    out = flags.copy()
    for start, end in zip(starts[short], ends[short], strict=True):
        out[start:end] = False
    return out


def mouth_presence(activity: Flags) -> Floats:
    """How much the mouth takes part, 0…1 at 100 Hz: in a little before the voice, out softly after it."""
    since, until = _seconds_from(activity)
    pace = np.minimum((since + until) / FULL_PAUSE_SECONDS, 1.0) + 1e-6
    closing = (since / pace / CLOSED_AFTER_SECONDS - LINGER) / (1.0 - LINGER)
    opening = until / pace / OPENING_SECONDS
    return smoothstep(0.0, 1.0, 1.0 - np.minimum(closing, opening)).astype(np.float32)


def natural_aperture(answer: Floats, activity: Flags, network: SignalNetwork) -> Floats:
    """The network's aperture (T,) in IOD: affine to a natural swing for this voice, softly limited."""
    spoken = answer[activity]
    low = high = 0.0
    if len(spoken):
        low, high = np.percentile(spoken, (LOW_PERCENT, HIGH_PERCENT))
    trust = len(spoken) / (len(spoken) + PRIOR_FRAMES)
    usual_low, usual_high = network.usual_aperture
    low = trust * low + (1.0 - trust) * usual_low
    high = trust * high + (1.0 - trust) * usual_high
    swing = max(high - low, 0.5 * (usual_high - usual_low))  # a hum must not be blown up to speech
    aperture = np.maximum(SHUT + (WIDE - SHUT) * (answer - low) / swing, 0.0)
    room = LIMIT - WIDE
    return np.where(aperture > WIDE, WIDE + room * np.tanh((aperture - WIDE) / room), aperture)


def limit_speed(aperture: Floats) -> Floats:
    """`aperture` (T,) on the grid with no step above FASTEST; the mean of both ways in time, so nothing comes late."""
    step = FASTEST / GRID_FPS
    if np.abs(np.diff(aperture)).max(initial=0.0) <= step:
        return aperture

    def follow(target: Floats) -> Floats:
        out = target.copy()
        for k in range(1, len(out)):
            out[k] = min(max(target[k], out[k - 1] - step), out[k - 1] + step)
        return out

    return (follow(aperture) + follow(aperture[::-1])[::-1]) / 2.0
