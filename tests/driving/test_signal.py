"""The signal driver on synthetic sounds, and on the shared voices where they are available."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from liveportrait_talker.driving.signal import driver as signal
from liveportrait_talker.driving.signal import features as signal_features
from liveportrait_talker.driving.signal.closures import BILABIAL
from liveportrait_talker.driving.signal.driver import SignalDriver
from liveportrait_talker.driving.signal.network import SignalNetwork, _compiled_scan, _scan
from liveportrait_talker.errors import WeightsError
from liveportrait_talker.media.waveform import Waveform
from sounds import babble, pad

RATE = 16_000
FPS = 25.0
SHARED = Path(__file__).resolve().parents[3] / "shared"
OPEN, SPREAD, ROUND, PRESS, CORNER_UP = range(5)

needs_shared = pytest.mark.skipif(not (SHARED / "data/voices").is_dir(), reason="the shared voices are not available")


@lru_cache
def driver() -> SignalDriver:
    return SignalDriver()


def voice(samples: np.ndarray) -> Waveform:
    return Waveform(np.ascontiguousarray(samples, np.float32), RATE)


def aperture(samples: np.ndarray, fps: float = FPS) -> np.ndarray:
    return driver().mouth(voice(samples), fps)[:, OPEN].astype(float)


# ------------------------------------------------------------------ shape and damaged input
@pytest.mark.parametrize("seconds", [1 / RATE, 0.02, 0.2, 1.0])
@pytest.mark.parametrize("fps", [10.0, 12.5, 24.0, 25.0, 29.97, 60.0])
def test_any_length_at_any_rate(seconds: float, fps: float) -> None:
    sound = voice(babble(3.0)[RATE : RATE + max(1, round(seconds * RATE))])
    assert len(driver().mouth(sound, fps)) == sound.frame_count(fps)


def test_infinite_samples_are_silenced() -> None:
    sound = babble(2.0)
    sound[8000:8400] = np.nan
    sound[9000] = np.inf
    assert np.isfinite(aperture(sound)).all()


def test_another_sample_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="16000"):
        driver().mouth(Waveform(np.zeros(100, np.float32), 8000), FPS)


def test_spread_and_round_exclude_each_other() -> None:
    controls = driver().mouth(voice(babble(4.0)), FPS)
    assert (controls[:, [SPREAD, ROUND]] >= 0).all()
    assert (
        np.minimum(controls[:, SPREAD], controls[:, ROUND]).max() < 0.02
    )  # both only where resampling mixes two frames
    assert controls[:, SPREAD].max() < 0.2
    assert controls[:, ROUND].max() < 0.2


# ------------------------------------------------------------------ rest
def test_digital_silence_gives_rest() -> None:
    controls = driver().mouth(voice(np.zeros(2 * RATE)), FPS)
    assert np.abs(controls).max() < 0.01


def test_faint_noise_is_silence() -> None:
    noise = np.random.default_rng(0).normal(0, 10 ** (-90 / 20), 2 * RATE)
    assert np.abs(aperture(noise)).max() < 0.01


@pytest.mark.parametrize("noise_dbfs", [-200.0, -90.0, -60.0, -45.0])
def test_pauses_are_closed_and_still(noise_dbfs: float) -> None:
    sound = np.concatenate([pad(babble(2.0), 1.0, 1.5), pad(babble(2.0, seed=1), 0.0, 1.0)])
    sound = sound + np.random.default_rng(0).normal(0, 10 ** (noise_dbfs / 20), len(sound))
    track = aperture(sound)
    for start, end in ((0.0, 0.7), (3.4, 4.2), (6.9, 7.5)):
        pause = track[round(start * FPS) : round(end * FPS)]
        assert pause.max() <= 0.02
        assert pause.std() < 0.005
    assert track[25:75].max() > 0.08


def test_hum_does_not_hold_the_mouth_open() -> None:
    sound = pad(babble(2.0), 1.0, 1.5)
    hum = 0.004 * np.sin(2 * np.pi * 330 * np.arange(len(sound)) / RATE)
    track = aperture(sound + hum)
    assert track[:18].max() <= 0.02
    assert track[-25:].max() <= 0.02


def test_closed_350_ms_after_the_voice_at_limited_speed() -> None:
    sound = babble(2.05)
    sound[-4000:] = babble(4.0)[RATE // 16 : RATE // 16 + 4000]  # ends in the middle of a syllable
    track = aperture(pad(sound, 0.0, 1.0))
    ending = track[round(2.05 * FPS) :]
    assert ending[round(0.35 * FPS) + 1 :].max() <= 0.01
    assert -np.diff(ending).min() <= 0.081


def test_a_short_gap_does_not_reduce_the_presence() -> None:
    activity = signal.voice_activity(np.r_[np.full(100, -20.0), np.full(15, -70.0), np.full(100, -20.0)])
    assert activity.all()
    assert signal.mouth_presence(activity).min() == 1.0


def test_weak_syllables_over_laughter_are_voice() -> None:
    loudness = np.repeat(np.random.default_rng(0).permutation(np.linspace(-28, 0, 40)), 30)  # 12 s without silence
    assert signal.voice_activity(loudness).all()


def test_presence_falls_in_short_pauses() -> None:
    activity = np.ones(240, bool)
    activity[100:140] = False
    presence = signal.mouth_presence(activity)
    assert presence[112:128].mean() < 0.2
    assert (presence[activity] == 1.0).all()


# ------------------------------------------------------------------ size and speed
@pytest.mark.parametrize("gain", [1e-2, 0.2, 5.0])
def test_loudness_does_not_matter(gain: float) -> None:
    sound = pad(babble(3.0), 0.5, 0.5)
    np.testing.assert_allclose(aperture(sound * gain), aperture(sound), atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_natural_range_and_speed(seed: int) -> None:
    track = aperture(babble(6.0, seed))
    assert 0.10 <= np.percentile(track, 95) <= 0.22
    assert track.min() >= 0.0
    assert track.max() <= signal.LIMIT
    assert np.abs(np.diff(track)).max() <= 0.09


def test_limit_speed_keeps_slow_motion_and_adds_no_delay() -> None:
    slow = 0.08 + 0.05 * np.sin(np.arange(50) / 4)
    assert signal.limit_speed(slow) is slow
    pulse = np.zeros(41)
    pulse[20] = 0.2
    limited = signal.limit_speed(pulse)
    np.testing.assert_allclose(limited, limited[::-1], atol=1e-12)
    assert np.abs(np.diff(limited)).max() <= signal.FASTEST / FPS + 1e-12


def test_a_long_voice_has_no_seams_between_its_parts() -> None:
    sound = np.tile(babble(6.0).astype(np.float32), 25)  # 150 s: two pieces
    whole = aperture(sound)
    assert np.isfinite(whole).all()
    late = aperture(sound[RATE * 100 :])  # one piece: the seam at 120 s of the whole is not there
    n = 25 * 40
    np.testing.assert_allclose(whole[25 * 105 : 25 * 105 + n], late[25 * 5 : 25 * 5 + n], atol=0.01)


def test_lips_close_for_p_b_m(monkeypatch: pytest.MonkeyPatch) -> None:
    def predict(self: SignalNetwork, log_mel: np.ndarray) -> np.ndarray:
        answer = np.zeros(((len(log_mel) + 3) // 4, 20), np.float32)
        answer[:, 0] = np.linspace(-1, 1, len(answer))
        answer[40:43, 4 + BILABIAL] = 8.0
        return answer

    monkeypatch.setattr(SignalNetwork, "predict", predict)
    controls = driver().mouth(voice(babble(2.0)), FPS)
    assert controls[36, OPEN] > 0.06
    assert controls[39:44, OPEN].min() < 0.03  # closed within a frame of the sound
    assert np.abs(np.diff(controls[:, OPEN])).max() <= 0.09
    assert controls[41, PRESS] > controls[36, PRESS] + 0.005
    assert (controls[:, OPEN] >= 0).all()


# ------------------------------------------------------------------ network and features
def test_compiled_loop_equals_python() -> None:
    rng = np.random.default_rng(0)
    drive, weight, bias = (rng.normal(0, 1, shape).astype(np.float32) for shape in ((20, 24), (8, 24), (24,)))
    plain, fast = np.empty((20, 8), np.float32), np.empty((20, 8), np.float32)
    _scan(drive, weight, bias, plain)
    _compiled_scan(drive, weight, bias, fast)
    np.testing.assert_allclose(plain, fast, atol=1e-5)


def test_weights_have_metadata_and_are_small() -> None:
    about = SignalNetwork(signal.WEIGHTS).about
    assert {"trained_on", "features", "date", "score"} <= about.keys()
    assert signal.WEIGHTS.stat().st_size < 1_000_000


@pytest.mark.parametrize("write", [lambda p: p.write_text("no"), lambda p: np.savez(p, about=json.dumps({}))])
def test_wrong_weights_are_named(tmp_path: Path, write: Callable[[Path], object]) -> None:
    path = tmp_path / "wrong.npz"
    write(path)
    with pytest.raises(WeightsError, match=r"wrong\.npz"):
        SignalDriver(path)


def test_features_are_centred_on_their_time() -> None:
    sound = np.full(RATE, 1e-4)
    sound[5000] = 1.0
    power = signal_features.mel_power(sound).sum(axis=1)
    middle = (power @ np.arange(len(power))) / power.sum()
    assert len(power) == 101
    assert abs(middle - 5000 / 160) < 0.5


# ------------------------------------------------------------------ real voices
def _read_audio(path: Path) -> np.ndarray:
    """Mono samples at RATE, first sample = first video frame (the clips' streams start together within 25 ms)."""
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        pieces = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        return np.concatenate([part.to_ndarray()[0] for part in [*pieces, *resampler.resample(None)]])


@needs_shared
@pytest.mark.parametrize("name", ["en_man.wav", "zh_woman.wav", "de_woman.ogg", "song_en.ogg", "en_long_pauses.wav"])
def test_shared_voices(name: str) -> None:
    track = aperture(_read_audio(SHARED / "data/voices" / name))
    talking = track[track > 0.005]
    assert 0.10 <= np.percentile(talking, 95) <= 0.22
    assert np.abs(np.diff(track)).max() <= 0.09
    if name == "en_long_pauses.wav":  # 1.0 s of silence before and after, faint noise in it
        assert track[:15].max() <= 0.02
        assert track[-10:].max() <= 0.02


@needs_shared
def test_correlates_with_real_mouths() -> None:
    """Not a score, since the network was fitted to these clips: a check of clock and export."""
    folder = SHARED / "data/talking"
    r = []
    for path in sorted(folder.glob("*.mp4")):
        with np.load(folder / "tracks" / f"{path.stem}.npz") as truth:
            true = truth["aperture"].astype(float)
        mine = aperture(_read_audio(path))
        count = min(len(true), len(mine))
        r.append(np.corrcoef(true[:count], mine[:count])[0, 1])
    assert np.mean(r) > 0.6
