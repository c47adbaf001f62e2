"""Text → voice."""

from __future__ import annotations

import argparse
import socket
import wave
from pathlib import Path

import pytest

from liveportrait_talker.audio import speech
from liveportrait_talker.errors import OptionError
from liveportrait_talker.media import read_waveform

needs_it = pytest.mark.skipif(not speech.is_installed(), reason="the extra `speech` is not installed")


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("voice", nargs="?", type=Path)
    speech.add_speech_options(parser)
    return parser.parse_args(words)


@needs_it
def test_a_sentence_becomes_a_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("nothing is fetched"))
    slow = speech.speak("Hello, I am a portrait.", tmp_path / "slow.wav", pace=100)
    quick = speech.speak("Hello, I am a portrait.", tmp_path / "quick.wav", pace=300)
    heard = read_waveform(slow)
    assert 1 < heard.duration_seconds < 6 and abs(heard.samples).max() > 0.1
    assert read_waveform(quick).duration_seconds < heard.duration_seconds
    with wave.open(str(slow)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 22050)


@needs_it
def test_every_voice_is_found_by_its_code(tmp_path: Path):
    codes = [voice.code for voice in speech.voices()]
    assert {"en-gb", "en-us", "de", "fr-fr", "tr", "cmn"} <= set(codes) and len(codes) == len(set(codes))
    said = {speech.speak("1 2 3", tmp_path / "voice.wav", voice=code).read_bytes() for code in ("en-gb", "de", "fr-fr")}
    assert len(said) == 3


@needs_it
@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        (" \n", {}, "there is no text to say"),
        ("…", {}, "nothing that can be said"),
        ("x" * 5001, {}, "the text has 5,001 characters, the limit is 5,000"),
        ("Hello", {"voice": "klingon"}, "there is no voice 'klingon'"),
        ("Hello", {"pace": 1000}, "a pace of 1000 words a minute is out of range"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, more: dict[str, object], sentence: str):
    with pytest.raises(OptionError, match=sentence):
        speech.speak(text, tmp_path / "voice.wav", **more)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


@needs_it
@pytest.mark.parametrize(
    ("inserted", "is_spoken"),
    [("\0", False), ("<break time='0s'/>", True), ("[[k@'t]]", True), ("\ud800", False), ("你好", True)],
)
def test_special_characters(tmp_path: Path, inserted: str, is_spoken: bool):
    """A null character does not end the text; markup and phonemes are read as text, not interpreted."""

    def duration(text: str) -> float:
        return read_waveform(speech.speak(text, tmp_path / "voice.wav")).duration_seconds

    extra = duration(f"Hello there. {inserted} I am a portrait.") - duration("Hello there. I am a portrait.")
    assert (extra > 0.3) if is_spoken else (abs(extra) < 0.05)


@needs_it
def test_the_command_takes_a_text_in_place_of_a_voice():
    with speech.voice_of(parsed("--text", "Hello there.")) as voice:
        assert read_waveform(voice).duration_seconds > 0.5
    assert not voice.exists() and not voice.parent.exists()
    with speech.voice_of(parsed("voice.wav")) as voice:
        assert voice == Path("voice.wav")
    for words, sentence in (((), "there is no voice"), (("voice.wav", "--text", "a"), "contradict each other")):
        with pytest.raises(OptionError, match=sentence), speech.voice_of(parsed(*words)):
            pass


def test_a_missing_extra_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(speech, "is_installed", lambda: False)
    monkeypatch.setattr(speech, "_library", speech._library.__wrapped__)
    monkeypatch.setattr(speech, "_voices", speech._voices.__wrapped__)
    with pytest.raises(OptionError, match=r"pip install 'liveportrait-talker\[speech\]'"):
        speech.speak("Hello", tmp_path / "voice.wav")
