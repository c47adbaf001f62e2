"""Closures of the lips by the package hama, on the shared clips and on synthetic sounds; and its absence."""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from liveportrait_talker.driving.signal import closures
from liveportrait_talker.driving.signal.closures import PhoneRecogniser, find_recogniser
from liveportrait_talker.driving.signal.driver import SignalDriver
from liveportrait_talker.media import read_waveform
from liveportrait_talker.media.waveform import Waveform
from liveportrait_talker.options.talk import TalkOptions
from liveportrait_talker.pipelines import doctor
from liveportrait_talker.pipelines.engines import Engines
from sounds import babble

RATE = 16_000
FPS = 25.0
CLIPS = Path(__file__).resolve().parents[3] / "shared/data/talking2"

HERE = importlib.util.find_spec("hama") is not None
needs_hama = pytest.mark.skipif(not HERE, reason="hama is not installed")
needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="the shared clips are not available")


@lru_cache
def with_hama() -> SignalDriver:
    return SignalDriver(recogniser=PhoneRecogniser())


@lru_cache
def clip(name: str) -> Waveform:
    return read_waveform(CLIPS / f"{name}.mp4")


def mouth(samples: np.ndarray, fps: float = FPS) -> np.ndarray:
    return with_hama().mouth(Waveform(np.ascontiguousarray(samples, np.float32), RATE), fps)


# ------------------------------------------------------------------ the choice
def install(monkeypatch: pytest.MonkeyPatch, hama: ModuleType) -> None:
    monkeypatch.setitem(sys.modules, "hama", hama)
    monkeypatch.setattr(closures, "find_spec", lambda name: object())


def stand_in(model: type) -> ModuleType:
    module = ModuleType("hama")
    module.ASRModel = model  # type: ignore[attr-defined]
    return module


class Model:
    decoder_tokens = ("a", "p", "pʰ", "p͈", "b", "m", "<blank>")
    session = None


class WithoutLibrary:
    def __init__(self) -> None:
        raise RuntimeError("libhama not available")


def test_the_reason_and_doctor_name_what_closes_the_lips(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, stand_in(Model))
    monkeypatch.setattr(doctor, "_version", lambda module, package: "1.7.0")
    options = TalkOptions(driver="signal")
    choice = Engines().choose_driver(options, "embedded")
    assert choice.reason == "as asked for; P, B and M by hama"
    assert "driver signal: ready, P, B and M by hama 1.7.0" in doctor.report()[0]
    driver = Engines().driver(choice, options)
    assert isinstance(driver, SignalDriver) and isinstance(driver._recogniser, PhoneRecogniser)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        (None, "hama is not installed (pip install 'liveportrait-talker[closures]')"),
        (stand_in(WithoutLibrary), "hama does not run here: libhama not available"),
        (ModuleType("hama"), "hama does not run here: cannot import name 'ASRModel'"),
    ],
)
def test_without_hama_the_network_decides_and_the_reason_says_why(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType | None, why: str
) -> None:
    if module is None:
        monkeypatch.setattr(closures, "find_spec", lambda name: None)
    else:
        install(monkeypatch, module)
    options = TalkOptions(driver="signal")
    choice = Engines().choose_driver(options, "embedded")
    assert choice.reason.startswith(f"as asked for; P, B and M by its own network, as {why}")
    voice = Waveform(babble(2.0).astype(np.float32), RATE)
    driver = Engines().driver(choice, options)
    assert isinstance(driver, SignalDriver)
    np.testing.assert_array_equal(driver.mouth(voice, FPS), SignalDriver().mouth(voice, FPS))


# ------------------------------------------------------------------ hama
@needs_hama
def test_hama_runs_here_or_says_why() -> None:
    found = find_recogniser()
    assert isinstance(found, PhoneRecogniser) or "does not run here" in found


@needs_hama
@pytest.mark.parametrize("seconds", [1 / RATE, 0.02, 0.2, 1.0, 10.01])
@pytest.mark.parametrize("fps", [10.0, 29.97, 60.0])
def test_any_length_at_any_rate(seconds: float, fps: float) -> None:
    sound = Waveform(babble(12.0).astype(np.float32)[RATE // 2 :][: max(1, round(seconds * RATE))], RATE)
    controls = with_hama().mouth(sound, fps)
    assert len(controls) == sound.frame_count(fps)
    assert np.isfinite(controls).all()


@needs_hama
def test_silence_rests_and_infinite_samples_are_silenced() -> None:
    assert np.abs(mouth(np.zeros(2 * RATE))).max() < 0.01
    sound = babble(2.0)
    sound[8000:8400] = np.nan
    sound[9000] = np.inf
    assert np.isfinite(mouth(sound)).all()


@needs_hama
@needs_clips
def test_lips_close_for_the_m_of_real_speech() -> None:
    """GRID: "bin red by k seven now" has two B."""
    sound = clip("grid_brbk7n").samples
    probability = PhoneRecogniser().bilabial_probability(sound, -2.0, 75)
    (peaks,) = np.nonzero(probability > 0.25)
    assert 1 <= len(peaks) <= 6
    assert mouth(sound)[peaks, 0].max() < 0.09
    assert mouth(sound)[peaks, 0].min() < 0.02


@needs_hama
@needs_clips
@pytest.mark.parametrize("gain", [0.01, 0.3])
def test_loudness_does_not_matter(gain: float) -> None:
    sound = clip("old_poet").samples
    np.testing.assert_allclose(mouth(sound * np.float32(gain)), mouth(sound), atol=0.02)


@needs_hama
@needs_clips
def test_a_long_voice_is_heard_in_pieces() -> None:
    """Speech is found again after 32 s, in a voice of 64 s, where hama alone hears 30 s."""
    speech = clip("old_poet").samples
    whole = np.concatenate([speech, np.zeros(25 * RATE, np.float32)] * 2)
    recogniser = PhoneRecogniser()
    count = len(whole) // 640
    probability = recogniser.bilabial_probability(whole, -14.5, count)
    period = (len(speech) + 25 * RATE) / 640
    alone = np.flatnonzero(recogniser.bilabial_probability(speech, -14.5, len(speech) // 640) > 0.5)
    assert len(alone) >= 4
    for start in (0.0, period):
        found = [probability[round(start + k) - 1 : round(start + k) + 2].max() > 0.25 for k in alone if start + k >= 1]
        assert np.mean(found) >= 0.75


@needs_hama
@needs_clips
@pytest.mark.parametrize("name", ["zh_man", "ru_woman"])
def test_other_languages_lose_little(name: str) -> None:
    with np.load(CLIPS / "tracks" / f"{name}.npz") as track:
        true = track["aperture"].astype(float)

    def r(driver: SignalDriver) -> float:
        n = min(len(true), len(driven := driver.mouth(clip(name), FPS)[:, 0]))
        valid = np.isfinite(true[:n])
        return float(np.corrcoef(driven[:n][valid], true[:n][valid])[0, 1])

    assert r(with_hama()) > r(SignalDriver()) - 0.01
