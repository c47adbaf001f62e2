"""Which face has which voice: texts of `--speaker`, and lists of who speaks when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker import MediaError, OptionError, SpeakerVoice, voices_from_turns
from liveportrait_talker.media.mix import Mix, MixPart
from liveportrait_talker.options.speakers import parse_speaker, speakers_from
from liveportrait_talker.pipelines.speakers import mix_voices, read_voices
from liveportrait_talker.pipelines.turns import read_turns
from sounds import write_wav


@pytest.mark.parametrize(
    ("text", "face", "name", "start", "channel"),
    [
        ("1:anna.wav", 1, "anna.wav", 0, None),
        ("left:a b.wav@3.25", "left", "a b.wav", 3.25, None),
        ("2:call.wav#right", 2, "call.wav", 0, 2),
        ("Middle:call.wav#left@10", "middle", "call.wav", 10, 1),
        ("12:call.wav@.5#3", 12, "call.wav", 0.5, 3),
        ("1:C:\\voices\\ann@home.wav", 1, "C:\\voices\\ann@home.wav", 0, None),
    ],
)
def test_texts(text, face, name, start, channel):
    found, voice = parse_speaker(text)
    assert (found, str(voice.file), voice.start_seconds, voice.channel) == (face, name, start, channel)


@pytest.mark.parametrize("text", ["anna.wav", "0:anna.wav", "1:", "up:anna.wav", ":a.wav", "-1:a.wav", "1.5:a.wav"])
def test_texts_without_a_face_are_refused(text):
    with pytest.raises(OptionError):
        parse_speaker(text)


def test_a_file_of_that_very_name_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "take@2").touch()
    assert str(parse_speaker("1:take@2")[1].file) == "take@2"


@pytest.mark.parametrize(
    "given", [{}, {1: "a.wav", "1": "b.wav"}, dict.fromkeys(range(1, 10), "a.wav"), {True: "a.wav"}, {"x": "a.wav"}]
)
def test_impossible_speakers_are_refused(given):
    with pytest.raises(OptionError):
        speakers_from(given)


@pytest.mark.parametrize(
    "value", [{"start_seconds": -1}, {"channel": 0}, {"turns": ((2, 1),)}, {"turns": ((0, 9e999),)}]
)
def test_impossible_voices_are_refused(value):
    with pytest.raises(OptionError):
        SpeakerVoice("a.wav", **value)


LISTS = {
    "rttm": "SPEAKER call 1 0.5 1.0 <NA> <NA> anna <NA> <NA>\nSPEAKER call 1 2.0 0.5 <NA> <NA> ben <NA> <NA>\n"
    "SPEAKER call 1 3.0 1.0 <NA> <NA> anna <NA> <NA>\n",
    "csv": "start;end;speaker\n3.0;4.0;anna\n0.5;1.5;anna\n2;2.5;ben\n",
    "json": '{"segments": [{"start": 0.5, "end": 1.5, "speaker": "anna", "text": "hi"}, {"start": 1.6, "end": 1.7},'
    '{"start": 2, "end": 2.5, "speaker": "ben"}, {"start": 3, "end": 4, "speaker": "anna"}]}',
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_turns(kind, tmp_path):
    path = tmp_path / f"who.{kind}"
    path.write_text(LISTS[kind])
    assert read_turns(path) == {"anna": ((0.5, 1.5), (3.0, 4.0)), "ben": ((2.0, 2.5),)}
    voices = voices_from_turns("call.wav", path, {"2": "anna", "left": "ben"})
    assert voices[2].turns == ((0.5, 1.5), (3.0, 4.0))
    with pytest.raises(OptionError, match="there are anna, ben"):
        voices_from_turns("call.wav", path, {1: "carl"})


@given(st.text(max_size=60), st.sampled_from(["rttm", "csv", "json"]))
def test_any_other_text_is_no_list(tmp_path_factory, text, kind):
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MediaError):
        read_turns(path)


def tone(hz, seconds, rate=16_000):
    return (0.8 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_voices_start_when_told_and_speak_in_their_turns(tmp_path):
    voice = write_wav(tmp_path / "a.wav", tone(300, 2.0))
    speakers = speakers_from({1: voice, 2: SpeakerVoice(voice, 1.5), 3: SpeakerVoice(voice, turns=((0.5, 1.0),))})
    heard = {face: wave.samples for face, wave in read_voices(speakers, 60).items()}
    assert {len(samples) for samples in heard.values()} == {56_000}
    assert not heard[2][:24_000].any() and np.array_equal(heard[2][24_000:], heard[1][:32_000])
    assert not heard[3][:8_000].any() and not heard[3][16_000:].any()
    assert np.array_equal(heard[3][9_000:15_000], heard[1][9_000:15_000])
    with pytest.raises(MediaError, match="limit"):
        read_voices(speakers, 3)
    with pytest.raises(MediaError, match="channel 2 does not exist"):
        read_voices({1: SpeakerVoice(voice, channel=2)}, 60)


def test_the_mix_holds_each_file_once_and_does_not_clip(tmp_path):
    one, two = (write_wav(tmp_path / f"{hz}.wav", tone(hz, 2.0)) for hz in (300, 400))
    speakers = speakers_from({1: SpeakerVoice(one, turns=((0, 1),)), 2: SpeakerVoice(one, turns=((1, 2),)), 3: two})
    mix = mix_voices(speakers, read_voices(speakers, 60))
    assert [part.file for part in mix.parts] == [one, two]
    opened = mix.open()
    sound = np.concatenate(list(opened.blocks(sample_rate=16_000, channels=1)), axis=1)[0]
    opened.close()
    assert np.allclose(sound, mix.gain * (tone(300, 2.0) + tone(400, 2.0)), atol=2e-3)


@given(st.lists(st.floats(0, 1.3), min_size=1, max_size=3), st.sampled_from([8_000, 16_000, 44_100]))
def test_any_starts_are_kept_to_the_sample(tmp_path_factory, starts, rate):
    path = tmp_path_factory.getbasetemp() / f"tone{rate}.wav"
    if not path.exists():
        write_wav(path, 0.2 * tone(200, 0.6, rate), rate)
    opened = Mix(tuple(MixPart(path, start) for start in starts)).open()
    sound = np.concatenate(list(opened.blocks(sample_rate=rate, channels=2)), axis=1)
    opened.close()
    wanted = np.zeros(max(round(start * rate) for start in starts) + round(0.6 * rate))
    for start in starts:
        wanted[round(start * rate) : round(start * rate) + round(0.6 * rate)] += 0.2 * tone(200, 0.6, rate)
    assert sound.shape == (2, len(wanted))
    assert np.allclose(sound, wanted, atol=2e-3)
