"""Motion that is planned once, and drawn on other portraits."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from liveportrait_talker import MouthControls, OptionError, PortableMotion, Talker, TalkOptions, examples
from liveportrait_talker.face.mouth_offsets import measure_source_mouth
from liveportrait_talker.media import open_footage, read_waveform
from liveportrait_talker.pipelines.motion import attach_motion, detach_motion
from sounds import write_wav

SECONDS = 0.6


@pytest.fixture(scope="module")
def portrait(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    Image.fromarray(open_footage(examples.PORTRAIT, max_side=192)[0]).save(path)
    return path


@pytest.fixture(scope="module")
def voice(portrait) -> Path:
    samples = read_waveform(examples.VOICE).samples[3200 : 3200 + round(SECONDS * 16_000)]
    return write_wav(portrait.with_name("voice.wav"), samples)


@pytest.fixture(scope="module")
def motion(portrait, voice) -> PortableMotion:
    return Talker().motion(portrait, voice, TalkOptions(seed=3))


def test_drawn_it_is_the_same_video(portrait, voice, motion, tmp_path):
    made = np.stack(list(Talker().frames(portrait, voice, TalkOptions(seed=3)))).astype(int)
    given = np.stack(list(Talker().frames(portrait, voice, motion=motion))).astype(int)
    assert np.abs(given - made).max() <= 2
    shown: list[np.ndarray] = []
    report = Talker().save(portrait, voice, tmp_path / "out.mp4", motion=motion, on_image=shown.append)
    assert report.frames == len(shown) == len(motion) and report.driver == "motion"
    np.testing.assert_array_equal(np.stack(shown), given)


def test_parted_lips_are_shut_as_far_as_they_are_parted(motion):
    parted: Any = SimpleNamespace(
        faces=[SimpleNamespace(aperture=0.07)], is_still=True, frame_indices=lambda frames, fps: np.zeros(frames, int)
    )
    own = measure_source_mouth(parted, 1, 25.0)[0, 0]
    assert own == pytest.approx(0.07)
    track_of_parted = attach_motion(motion, parted, len(motion), 25.0)
    assert isinstance(motion.track.mouth, MouthControls) and isinstance(track_of_parted.mouth, MouthControls)
    np.testing.assert_allclose(track_of_parted.mouth.values[:, 0], motion.track.mouth.values[:, 0] - own, atol=1e-6)
    back = detach_motion(track_of_parted, parted)
    np.testing.assert_allclose(back.track.mouth.values, motion.track.mouth.values, atol=1e-6)


def test_its_frame_rate_is_a_pictures(portrait, voice, motion):
    slow = motion.resampled(6, 10.0)
    assert len(list(Talker().frames(portrait, voice, motion=slow))) == 6
    assert len(list(Talker().frames(portrait, voice, TalkOptions(fps=20), motion=slow))) == 12


def test_a_motion_that_is_too_short_is_noted(portrait, voice, motion, caplog):
    with caplog.at_level(logging.WARNING):
        frames = list(Talker().frames(portrait, voice, motion=motion.resampled(5, 25.0)))
    assert "the motion ends after 0.2 of 0.6 seconds" in caplog.text
    assert len(frames) == round(SECONDS * 25)
    np.testing.assert_array_equal(frames[-1], frames[-2])


def test_it_is_of_one_face(portrait, voice, motion):
    with pytest.raises(OptionError, match="a motion is of one face"):
        list(Talker().frames(portrait, {1: voice, 2: voice}, motion=motion))
