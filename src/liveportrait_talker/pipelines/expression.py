"""The expression of a face that speaks: options and voice → change of its motion track."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..arrays import Floats, Floats64
from ..audio.loudness import detect_speech, frame_loudness_db
from ..audio.pitch import frame_pitch_hz
from ..driving.expression import add_preset, mix_expression
from ..driving.sliders import build_slider_track, opening_of
from ..errors import OptionError
from ..face.mouth_offsets import measure_source_mouth
from ..face.tracked import TrackedSource
from ..media import Waveform
from ..motion import LipKeypoints, MotionTrack, MouthControls
from ..motion.lips import controls_from_keypoints
from ..motion.prosody import UpperFace, follow_voice
from ..options.expression import ExpressionOptions
from ..options.sliders import ExpressionEdit, sliders
from .edit_keyframes import Keyframe, read_keyframes, slider_tracks

log = logging.getLogger(__name__)

_PROSODY_FPS = 50.0  # whatever the video's, so that the motion does not depend on it
_COPYING = {"source_ratio", "sample_ratio"}
_TURNING = {"rotate_pitch", "rotate_yaw", "rotate_roll"}


def add_expression(
    track: MotionTrack, source: TrackedSource, voice: Waveform, options: ExpressionOptions, rng: np.random.Generator
) -> MotionTrack:
    """Return the motion of a speaking (or listening) face with the expression that the options ask for.

    Without any the track itself is returned.

    Args:
        track: head, blinks, gaze and mouth.
        source: the tracked face.
        voice: what it says.
        options: see ExpressionOptions.
        rng: of the brows that follow the voice.

    Raises:
        TalkerError: the keyframes cannot be read, or make no sense for this source.
    """
    times = np.arange(len(track)) / track.fps
    keys = slider_tracks(read_expression_keys(options, source.is_still), times)
    values = _sum_sliders(options.constant_sliders, keys, len(times))
    upper_face = _follow_voice(voice, times, rng) if source.is_still and options.liveliness else None
    if not values and options.preset is None and upper_face is None:
        return track
    rest = {"smile": 0 * times}
    change = build_slider_track(rest | values, track.fps)
    # The sliders of mouth and eyes that turn the head with them in `edit` leave it to speech here.
    turning = rest | {name: values[name] for name in _TURNING & values.keys()}
    change = replace(change, head=build_slider_track(turning, track.fps).head)
    if options.preset is not None:
        change = add_preset(change, *options.preset)
    if upper_face is not None:
        brows, widening = (options.liveliness * each[:, None] for each in upper_face)
        change = replace(change, brows=change.brows + brows, blink=change.blink - widening)
    opened = opening_of(keys["aaa"]) if "aaa" in keys else 0 * times
    return mix_expression(
        track,
        change,
        _aperture(track, source),
        opened_in_pauses=opened,
        speaking=detect_speech(frame_loudness_db(voice, track.fps), track.fps),
    )


def read_expression_keys(options: ExpressionOptions, still_source: bool) -> Sequence[Keyframe]:
    """Return the keyframes that the options name, none without a file. Raises TalkerError as `add_expression` does."""
    if options.expression_keys is None:
        return ()
    keyframes = read_keyframes(options.expression_keys)
    named = {name for frame in keyframes for name in frame.values}
    if copying := sorted(named & _COPYING):
        raise OptionError(f"{copying[0]} in {options.expression_keys.name} is for edit alone: leave it out.")
    if not still_source and (turning := sorted(named & _TURNING)):
        raise OptionError(
            f"{turning[0]} in {options.expression_keys.name} is for a picture: a source video moves its own head."
        )
    return keyframes


def warn_of_late_keyframes(options: ExpressionOptions, keyframes: Sequence[Keyframe], frames: int, fps: float) -> None:
    """Log that keyframes go on after the video's end, by more than a frame."""
    if options.expression_keys is not None and keyframes[-1].seconds > (frames + 1) / fps:
        name, last = options.expression_keys.name, keyframes[-1].seconds
        log.warning("%s goes on to %.1f s, the video ends after %.1f s.", name, last, frames / fps)


def _sum_sliders(constant: dict[str, float], keys: dict[str, Floats64], frames: int) -> dict[str, Floats64]:
    """Return the sum (T,) of constant sliders and keyframes by slider, within the slider's range."""
    limits = {each.name: (each.metadata["low"], each.metadata["high"]) for each in sliders(ExpressionEdit)}
    return {
        name: np.clip(keys.get(name, np.zeros(frames)) + constant.get(name, 0.0), *limits[name])
        for name in (*constant, *(keys.keys() - constant.keys()))
    }


def _follow_voice(voice: Waveform, times: Floats, rng: np.random.Generator) -> UpperFace:
    loudness = frame_loudness_db(voice, _PROSODY_FPS)
    speaking = detect_speech(loudness, _PROSODY_FPS)
    return follow_voice(frame_pitch_hz(voice, _PROSODY_FPS), loudness, speaking, _PROSODY_FPS, times, rng)


def _aperture(track: MotionTrack, source: TrackedSource) -> Floats:
    """Return the aperture (T,) of the lips in IOD."""
    if isinstance(track.mouth, LipKeypoints):  # relative to shut lips
        return controls_from_keypoints(track.mouth).values[:, 0]
    assert isinstance(track.mouth, MouthControls)
    return track.mouth.values[:, 0] + measure_source_mouth(source, len(track), track.fps)[:, 0]
