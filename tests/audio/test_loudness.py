import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.audio.loudness import detect_speech, frame_loudness_db
from liveportrait_talker.media.waveform import Waveform

RATE = 16_000


def syllables(seconds: float, rate: int = RATE) -> np.ndarray:
    """Return a 150 Hz buzz with overtones, four syllables per second: float64 (N,)."""
    t = np.arange(round(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 15))
    return 0.1 * buzz * (0.1 + 0.9 * np.sin(2 * np.pi * 2 * t) ** 2)


def make_voice(noise: float = 0.0, gain: float = 1.0) -> Waveform:
    """Return 1 s pause, 3 s voice, 2 s pause, 2 s voice, plus noise."""
    samples = np.concatenate([np.zeros(RATE), syllables(3), np.zeros(2 * RATE), syllables(2)])
    samples = samples + np.random.default_rng(0).normal(0, 1, len(samples)) * noise
    return Waveform((gain * samples).astype(np.float32), RATE)


@pytest.mark.parametrize("fps", [12, 25, 29.97, 60])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_level_of_tones_inside_and_outside_the_band(fps, rate):
    t = np.arange(2 * rate) / rate
    inside, below = (
        frame_loudness_db(Waveform((0.5 * np.sin(2 * np.pi * hz * t)).astype(np.float32), rate), fps)
        for hz in (1000, 100)
    )
    assert inside.dtype == np.float32 and len(inside) == round(2 * fps)
    np.testing.assert_allclose(inside[2:-2], 20 * np.log10(0.5 / np.sqrt(2)), atol=0.2)
    assert below[2:-2].max() < inside[2:-2].min() - 35


def test_correlates_with_band_passed_rms():
    """The envelope of docs/method/measurements.md, Mouth and sound: RMS per frame after a band-pass filter."""
    from scipy.signal import butter, sosfiltfilt

    voice = make_voice(noise=0.003)
    band = sosfiltfilt(butter(4, [300, 3000], "bandpass", fs=RATE, output="sos"), voice.samples.astype(float))
    rms = 20 * np.log10(np.sqrt((band.reshape(-1, 640) ** 2).mean(1)) + 1e-9)
    assert np.corrcoef(np.maximum(rms, rms.max() - 60), frame_loudness_db(voice, 25))[0, 1] > 0.97


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.01])
@pytest.mark.parametrize("gain", [1.0, 0.01])
@pytest.mark.parametrize("fps", [12, 25, 60])
def test_speech_is_detected_at_any_level_over_noise(noise, gain, fps):
    mask = detect_speech(frame_loudness_db(make_voice(noise, gain), fps), fps)
    seconds = (np.arange(len(mask)) + 0.5) / fps
    voiced = ((seconds > 1.2) & (seconds < 3.8)) | ((seconds > 6.2) & (seconds < 7.8))
    paused = (seconds < 0.7) | ((seconds > 4.3) & (seconds < 5.7))
    assert mask[voiced].mean() > 0.9
    assert mask[paused].max() < 0.1


@pytest.mark.parametrize("level", [1e-5, 0.01, 0.3])
def test_steady_noise_and_hum_are_not_speech(level):
    noise = np.random.default_rng(1).normal(0, level, 8 * RATE)
    hum = level * np.sin(2 * np.pi * 440 * np.arange(8 * RATE) / RATE)
    for samples in (noise, hum):
        assert detect_speech(frame_loudness_db(Waveform(samples.astype(np.float32), RATE), 25), 25).mean() < 0.05


def test_digital_silence_is_not_speech():
    loudness = frame_loudness_db(Waveform(np.zeros(RATE, np.float32), RATE), 25)
    assert np.isfinite(loudness).all()
    assert not detect_speech(loudness, 25).any()


def test_a_click_does_not_hide_a_quiet_voice():
    voice = make_voice().samples.copy()
    voice[RATE // 2] = 1.0
    mask = detect_speech(frame_loudness_db(Waveform(voice, RATE), 25), 25)
    assert mask[30:95].mean() > 0.9


@given(st.integers(1, 30_000), st.floats(10, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_any_length_and_rate(samples, fps, seed):
    rng = np.random.default_rng(seed)
    voice = Waveform((rng.uniform(-1, 1, samples) * rng.integers(0, 2)).astype(np.float32), RATE)
    loudness = frame_loudness_db(voice, fps)
    mask = detect_speech(loudness, fps)
    assert loudness.shape == mask.shape == (voice.frame_count(fps),)
    assert np.isfinite(loudness).all() and np.ptp(loudness) <= 60 + 1e-3
    assert ((mask >= 0) & (mask <= 1)).all()


def test_memory_does_not_grow_with_length():
    voice = Waveform(np.zeros(RATE * 600, np.float32), RATE)
    tracemalloc.start()
    detect_speech(frame_loudness_db(voice, 25), 25)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
