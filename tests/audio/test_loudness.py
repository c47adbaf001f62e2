import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.audio.loudness import loudness_db, speaking
from liveportrait_talker.media.waveform import Waveform

RATE = 16_000


def syllables(seconds: float, rate: int = RATE) -> np.ndarray:
    """A buzz at 150 Hz with its overtones, four syllables a second: float64 (N,)."""
    t = np.arange(round(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 15))
    return 0.1 * buzz * (0.1 + 0.9 * np.sin(2 * np.pi * 2 * t) ** 2)


def spoken(noise: float = 0.0, gain: float = 1.0) -> Waveform:
    """1 s of pause, 3 s of voice, 2 s of pause, 2 s of voice, over noise."""
    rest = np.zeros
    sound = np.concatenate([rest(RATE), syllables(3), rest(2 * RATE), syllables(2)])
    sound = sound + np.random.default_rng(0).normal(0, 1, len(sound)) * noise
    return Waveform((gain * sound).astype(np.float32), RATE)


@pytest.mark.parametrize("fps", [12, 25, 29.97, 60])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_tone_in_the_band_reads_its_level(fps, rate):
    t = np.arange(2 * rate) / rate
    inside, below = (
        loudness_db(Waveform((0.5 * np.sin(2 * np.pi * hz * t)).astype(np.float32), rate), fps) for hz in (1000, 100)
    )
    assert inside.dtype == np.float32 and len(inside) == round(2 * fps)
    np.testing.assert_allclose(inside[2:-2], 20 * np.log10(0.5 / np.sqrt(2)), atol=0.2)
    assert below[2:-2].max() < inside[2:-2].min() - 35


def test_follows_the_meters_envelope():
    """tools/sync_score.py: RMS per frame of the band-passed sound."""
    from scipy.signal import butter, sosfiltfilt

    voice = spoken(noise=0.003)
    band = sosfiltfilt(butter(4, [300, 3000], "bandpass", fs=RATE, output="sos"), voice.samples.astype(float))
    rms = 20 * np.log10(np.sqrt((band.reshape(-1, 640) ** 2).mean(1)) + 1e-9)
    assert np.corrcoef(np.maximum(rms, rms.max() - 60), loudness_db(voice, 25))[0, 1] > 0.97


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.01])
@pytest.mark.parametrize("gain", [1.0, 0.01])
@pytest.mark.parametrize("fps", [12, 25, 60])
def test_speaking_finds_the_voice_at_any_level_over_noise(noise, gain, fps):
    mask = speaking(loudness_db(spoken(noise, gain), fps), fps)
    seconds = (np.arange(len(mask)) + 0.5) / fps
    voiced = ((seconds > 1.2) & (seconds < 3.8)) | ((seconds > 6.2) & (seconds < 7.8))
    paused = (seconds < 0.7) | ((seconds > 4.3) & (seconds < 5.7))
    assert mask[voiced].mean() > 0.9
    assert mask[paused].max() < 0.1


@pytest.mark.parametrize("level", [1e-5, 0.01, 0.3])
def test_steady_noise_and_hum_are_no_voice(level):
    noise = np.random.default_rng(1).normal(0, level, 8 * RATE)
    hum = level * np.sin(2 * np.pi * 440 * np.arange(8 * RATE) / RATE)
    for sound in (noise, hum):
        assert speaking(loudness_db(Waveform(sound.astype(np.float32), RATE), 25), 25).mean() < 0.05


def test_digital_silence_is_zero():
    loudness = loudness_db(Waveform(np.zeros(RATE, np.float32), RATE), 25)
    assert np.isfinite(loudness).all()
    assert not speaking(loudness, 25).any()


def test_a_click_does_not_hide_a_quiet_voice():
    voice = spoken().samples.copy()
    voice[RATE // 2] = 1.0
    mask = speaking(loudness_db(Waveform(voice, RATE), 25), 25)
    assert mask[30:95].mean() > 0.9


@given(st.integers(1, 30_000), st.floats(10, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_any_length_and_rate(samples, fps, seed):
    rng = np.random.default_rng(seed)
    voice = Waveform((rng.uniform(-1, 1, samples) * rng.integers(0, 2)).astype(np.float32), RATE)
    loudness = loudness_db(voice, fps)
    mask = speaking(loudness, fps)
    assert loudness.shape == mask.shape == (voice.frame_count(fps),)
    assert np.isfinite(loudness).all() and np.ptp(loudness) <= 60 + 1e-3
    assert ((mask >= 0) & (mask <= 1)).all()


def test_memory_is_flat():
    voice = Waveform(np.zeros(RATE * 600, np.float32), RATE)
    tracemalloc.start()
    speaking(loudness_db(voice, 25), 25)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
