"""How an expression and speech share one face."""

from __future__ import annotations

import numpy as np
import pytest

from liveportrait_talker.driving.expression import PRESETS, add_preset, mix_expression
from liveportrait_talker.driving.signal.driver import SignalDriver
from liveportrait_talker.driving.sliders import build_slider_track
from liveportrait_talker.examples import VOICE
from liveportrait_talker.media import read_waveform
from liveportrait_talker.motion import (
    HeadTrack,
    LipKeypoints,
    MotionTrack,
    MouthControls,
    controls_from_keypoints,
    keypoints_from_controls,
)
from liveportrait_talker.options.expression import EXPRESSIONS
from liveportrait_talker.options.sliders import ExpressionEdit, sliders

ENDS = [
    (each.name, value)
    for each in sliders(ExpressionEdit)
    if not each.name.endswith("ratio")
    for value in (each.metadata["low"], each.metadata["high"])
    if value
]


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """The mouth (T, 5) of a voice on a face with shut lips."""
    return SignalDriver().mouth(read_waveform(VOICE), 25)


def speaking_track(mouth) -> MotionTrack:
    blink = np.zeros((len(mouth), 2))
    blink[20] = 1
    return MotionTrack(25, HeadTrack.still(len(mouth)), blink, np.zeros((len(mouth), 2)), mouth)


def constant(frames: int, **values) -> MotionTrack:
    return build_slider_track({name: np.full(frames, float(value)) for name, value in values.items()}, 25)


def mixed(mouth, change: MotionTrack, opened=0.0, speaking=1.0) -> MotionTrack:
    frames = len(mouth)
    aperture = (controls_from_keypoints(mouth) if isinstance(mouth, LipKeypoints) else mouth).values[:, 0]
    given = {"opened_in_pauses": np.full(frames, opened), "speaking": np.broadcast_to(speaking, frames)}
    return mix_expression(speaking_track(mouth), change, aperture, **given)


def check_speech(before: np.ndarray, after: np.ndarray) -> None:
    assert np.corrcoef(before, after)[0, 1] >= 0.9
    shut = before <= 0.02
    assert shut.sum() > 10 and (after[shut] <= before[shut] + 0.01).all(), "lips that P, B and M shut stay shut"
    assert (after[before <= 0.005] >= -0.006).all()


def test_presets_are_those_that_the_options_name():
    assert tuple(PRESETS) == EXPRESSIONS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_leaves_speech_as_it_is(name, speech):
    change = add_preset(MotionTrack.neutral(len(speech)), name, 1.0)
    check_speech(speech[:, 0], mixed(MouthControls(speech), change).mouth.values[:, 0])


@pytest.mark.parametrize(("slider", "value"), ENDS)
def test_a_slider_leaves_speech_as_it_is(slider, value, speech):
    change = constant(len(speech), **{slider: value})
    check_speech(speech[:, 0], mixed(MouthControls(speech), change).mouth.values[:, 0])
    lips = mixed(keypoints_from_controls(MouthControls(speech)), change).mouth
    check_speech(speech[:, 0], controls_from_keypoints(lips).values[:, 0])


@pytest.mark.parametrize(("slider", "value"), [(s, v) for s, v in ENDS if s in ("smile", "eee", "woo")])
def test_lip_keypoints_do_not_part(slider, value, speech):
    """A smile must not open the mouth: the distance of lower (5th) and upper (6th) lip keypoint does not grow."""
    before = keypoints_from_controls(MouthControls(speech)).offsets
    after = mixed(LipKeypoints(before), constant(len(speech), **{slider: value})).mouth.offsets
    gap = [each[:, 4, 1] - each[:, 5, 1] for each in (before, after)]
    assert (gap[1] <= gap[0] + 1e-6).all()


def test_the_mouth_opens_more_or_less_where_it_is_open(speech):
    wide, small = (mixed(MouthControls(speech), constant(len(speech), aaa=a)).mouth.values[:, 0] for a in (60, -20))
    is_open = speech[:, 0] > 0.1
    assert (wide[is_open] > speech[is_open, 0] + 0.05).all()
    assert (small[is_open] < speech[is_open, 0] - 0.01).all()


def test_keyframes_open_the_mouth_in_pauses():
    mouth, speaking = MouthControls(np.zeros((100, 5))), np.zeros(100)
    speaking[:40] = 1
    opened = mixed(mouth, constant(100, aaa=60), opened=0.15, speaking=speaking).mouth.values[:, 0]
    assert opened[:42].max() < 1e-6 and opened[60:].min() > 0.14
    assert np.abs(np.diff(opened)).max() < 0.08, "not at once"


def test_blinks_shut_the_eyes_whatever_the_lids_do(speech):
    for blink in (5, -10):
        after = mixed(MouthControls(speech), constant(len(speech), blink=blink)).blink
        assert (after[20] == 1).all() and (np.sign(after[30]) == -np.sign(blink)).all()
    shut = mixed(MouthControls(speech), constant(len(speech), blink=-20)).blink
    assert (shut == 1).all()


def test_a_preset_in_half_is_half():
    whole, half = (add_preset(MotionTrack.neutral(1), "sad", amount) for amount in (1.0, 0.5))
    for channel in ("brows", "inner_brows", "smile", "blink"):
        np.testing.assert_allclose(2 * getattr(half, channel), getattr(whole, channel), rtol=1e-6)
    assert whole.inner_brows > 0 > whole.smile, "sad: the inner ends of the brows up, the corners of the mouth down"
