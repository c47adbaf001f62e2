"""The figures of tracks and sound: everything but what needs pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import Floats
from ..media.waveform import Waveform
from .blinks import blink_figures
from .correlation import best_lag, correlation, shifted
from .envelope import envelope_db, loud_frames, silent_frames
from .head import head_figures
from .sound_sync import SoundSync, predict_aperture, sound_sync
from .tracks import GRID_FPS, FaceTracks

_FEWEST_SILENT = 5  # frames
_QUIETEST = 1e-4  # of full scale: a quieter sound is none


@dataclass(frozen=True, eq=False)
class Measured:
    """Figures, and the curves that they were read from."""

    figures: dict[str, float]
    sync: SoundSync | None
    envelope: Floats | None
    """(T,) loudness, dB."""


def measure_tracks(tracks: FaceTracks, voice: Waveform | None = None, truth: FaceTracks | None = None) -> Measured:
    """Measure a face and the sound it speaks with.

    Args:
        tracks: of the video.
        voice: its sound at 16 kHz from the same moment on; None: silent.
        truth: tracks of the true clip of the same sound.
    """
    figures = {"valid_pct": 100 * float(tracks.valid.mean())}
    if not is_heard(voice):
        voice = None
    envelope = None if voice is None else envelope_db(voice, len(tracks), GRID_FPS)
    if voice is not None:
        figures["av_diff_ms"] = 1000 * (len(tracks) / GRID_FPS - voice.duration_seconds)
    sync = None
    if tracks.valid.sum() > 1:
        figures |= head_figures(tracks) | blink_figures(tracks.eyes.mean(axis=1), GRID_FPS)
        low, high = np.nanpercentile(tracks.aperture, (5, 95))
        figures["aperture_range"] = float(high - low)
        if voice is not None and envelope is not None:
            figures |= _sound_figures(tracks.aperture, envelope)
            sync = sound_sync(tracks.aperture, predict_aperture(voice))
    if sync is not None:
        figures |= sync.figures()
    if truth is not None:
        figures |= _truth_figures(tracks, truth)
    return Measured({name: value for name, value in figures.items() if np.isfinite(value)}, sync, envelope)


def is_heard(voice: Waveform | None) -> bool:
    """Return whether there is a sound that is not digital silence."""
    return voice is not None and float(np.abs(voice.samples).max()) > _QUIETEST


def _sound_figures(aperture: Floats, envelope: Floats) -> dict[str, float]:
    """Return the figures of the aperture (T,) beside the loudness (T,)."""
    lag = best_lag(aperture, envelope, GRID_FPS)
    known = np.isfinite(aperture)
    silent, loud = silent_frames(envelope, GRID_FPS) & known, loud_frames(envelope) & known
    figures = {"r_env0": lag.unshifted, "r_env": lag.highest, "lag_env_ms": lag.lag_ms}
    figures["silence_s"] = float(silent.sum() / GRID_FPS)
    if loud.any():
        figures["aperture_speech"] = float(aperture[loud].mean())
    if silent.sum() >= _FEWEST_SILENT:
        figures["aperture_silence"] = float(aperture[silent].mean())
        figures["silence_motion"] = float(aperture[silent].std())
    return figures


def _truth_figures(tracks: FaceTracks, truth: FaceTracks) -> dict[str, float]:
    """Return how the mouth agrees with that of the true clip."""
    lag = best_lag(tracks.aperture, truth.aperture, GRID_FPS)
    n = min(len(tracks), len(truth))
    frames = 0.0 if np.isnan(lag.lag_ms) else lag.lag_ms * GRID_FPS / 1000
    return {
        "r_aperture0": lag.unshifted,
        "r_aperture": lag.highest,
        "lag_ms": lag.lag_ms,
        "r_width0": correlation(tracks.width[:n], truth.width[:n]),
        "r_width": correlation(shifted(tracks.width[:n], frames), truth.width[:n]),
        "aperture_gain": float(np.nanstd(tracks.aperture) / max(float(np.nanstd(truth.aperture)), 1e-9)),
    }
