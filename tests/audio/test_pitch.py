"""Pitch of known sounds."""

from __future__ import annotations

import numpy as np
import pytest

from liveportrait_talker.audio.pitch import frame_pitch_hz
from liveportrait_talker.media.waveform import Waveform


def buzz(hz: np.ndarray, rate: int) -> np.ndarray:
    """Return a sound with twelve harmonics of the pitch (N,)."""
    phase = 2 * np.pi * np.cumsum(hz) / rate
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 13))).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("hz", [75.0, 120.0, 210.0, 390.0])
def test_pitch_of_a_steady_voice(hz, rate):
    found = frame_pitch_hz(Waveform(buzz(np.full(2 * rate, hz), rate), rate), 25)
    assert len(found) == 50
    assert found[2:-2] == pytest.approx(hz, rel=0.01)


def test_a_glide_is_followed():
    rate = 16_000
    hz = np.linspace(110, 220, 3 * rate)
    found = frame_pitch_hz(Waveform(buzz(hz, rate), rate), 50)
    wanted = np.interp((np.arange(150) + 0.5) / 50, np.arange(len(hz)) / rate, hz)
    assert found[5:-5] == pytest.approx(wanted[5:-5], rel=0.02)


def test_sounds_without_pitch():
    rng = np.random.default_rng(0)
    noise = 0.1 * rng.normal(size=48_000)
    assert (frame_pitch_hz(Waveform(noise.astype(np.float32), 16_000), 50) > 0).mean() < 0.02
    assert not frame_pitch_hz(Waveform(np.zeros(16_000, np.float32), 16_000), 25).any()
    assert not frame_pitch_hz(Waveform(np.zeros(3, np.float32), 16_000), 25).any()


def test_quiet_sound_beside_a_voice_has_no_pitch():
    sound = buzz(np.full(32_000, 120.0), 16_000)
    sound[16_000:] *= 1e-4  # an echo 80 dB below
    found = frame_pitch_hz(Waveform(sound, 16_000), 25)
    assert found[2:23].all() and not found[27:].any()
    halved = frame_pitch_hz(Waveform(sound * np.float32(0.01), 16_000), 25)
    np.testing.assert_allclose(halved, found, rtol=1e-3)
