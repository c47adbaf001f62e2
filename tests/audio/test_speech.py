"""Text-to-speech."""

from __future__ import annotations

import argparse
import socket
import wave
from pathlib import Path

import pytest

from liveportrait_talker.audio import speech
from liveportrait_talker.cli.voice import add_speech_options, voice_of
from liveportrait_talker.errors import OptionError
from liveportrait_talker.media import read_waveform

needs_speech = pytest.mark.skipif(not speech.is_installed(), reason="the extra `speech` is not installed")


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("voice", nargs="?", type=Path)
    add_speech_options(parser)
    return parser.parse_args(words)


@needs_speech
def test_speak_writes_a_voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("network access"))
    slow = speech.speak("Hello, I am a portrait.", tmp_path / "slow.wav", pace=100)
    quick = speech.speak("Hello, I am a portrait.", tmp_path / "quick.wav", pace=300)
    voice = read_waveform(slow)
    assert 1 < voice.duration_seconds < 6 and abs(voice.samples).max() > 0.1
    assert read_waveform(quick).duration_seconds < voice.duration_seconds
    with wave.open(str(slow)) as wav:
        assert (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) == (1, 2, 22050)


@needs_speech
def test_voice_codes_are_unique_and_select_voices(tmp_path: Path):
    codes = [voice.code for voice in speech.list_voices()]
    assert {"en-gb", "en-us", "de", "fr-fr", "tr", "cmn"} <= set(codes) and len(codes) == len(set(codes))
    files = {
        speech.speak("1 2 3", tmp_path / "voice.wav", voice=code).read_bytes() for code in ("en-gb", "de", "fr-fr")
    }
    assert len(files) == 3


@needs_speech
@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (" \n", {}, "the text is empty"),
        ("…", {}, "contains nothing to speak"),
        ("x" * 5001, {}, "the text has 5,001 characters, the limit is 5,000"),
        ("Hello", {"voice": "klingon"}, "unknown voice 'klingon'"),
        ("Hello", {"pace": 1000}, "a pace of 1000 words per minute is out of range"),
    ],
)
def test_invalid_arguments_are_reported(tmp_path: Path, text: str, options: dict[str, object], message: str):
    with pytest.raises(OptionError, match=message):
        speech.speak(text, tmp_path / "voice.wav", **options)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


@needs_speech
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


@needs_speech
def test_command_accepts_text_instead_of_a_voice():
    with voice_of(parse("--text", "Hello there.")) as voice:
        assert read_waveform(voice).duration_seconds > 0.5
    assert not voice.exists() and not voice.parent.exists()
    with voice_of(parse("voice.wav")) as voice:
        assert voice == Path("voice.wav")
    for words, message in (((), "there is no voice"), (("voice.wav", "--text", "a"), "contradict each other")):
        with pytest.raises(OptionError, match=message), voice_of(parse(*words)):
            pass


def test_missing_extra_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(speech, "is_installed", lambda: False)
    monkeypatch.setattr(speech, "_load_library", speech._load_library.__wrapped__)
    monkeypatch.setattr(speech, "_voices", speech._voices.__wrapped__)
    with pytest.raises(OptionError, match=r"pip install 'liveportrait-talker\[speech\]'"):
        speech.speak("Hello", tmp_path / "voice.wav")
