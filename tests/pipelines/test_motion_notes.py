"""Log messages about the voice agree with the motion of the mouth."""

from __future__ import annotations

import numpy as np
import pytest

from liveportrait_talker import Talker, TalkOptions
from liveportrait_talker.driving.signal.driver import SignalDriver
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import open_footage, read_waveform
from shared import DATA, needs_shared
from sounds import write_wav


@needs_shared
@pytest.mark.parametrize("name", ["plucked_tones_no_voice.wav"])
def test_sound_without_voice_that_moves_the_mouth(caplog, name):
    voice = DATA / "cases" / name
    source = track(open_footage(PORTRAIT, max_side=256))
    opening = SignalDriver().drive(read_waveform(voice), source, 25).values[:, 0]
    next(iter(Talker().frames(PORTRAIT, voice, TalkOptions(renderer="embedded", max_size=256))))
    assert np.ptp(opening) > 0.02
    assert "no clear voice is heard in the sound; the mouth follows what there is." in caplog.text
    assert "at rest" not in caplog.text


def test_silence_keeps_the_mouth_at_rest(caplog, tmp_path):
    voice = write_wav(tmp_path / "silence.wav", np.zeros(16_000))
    next(iter(Talker().frames(PORTRAIT, voice, TalkOptions(renderer="embedded", max_size=256))))
    assert "no voice is heard in the sound: the mouth stays at rest." in caplog.text
