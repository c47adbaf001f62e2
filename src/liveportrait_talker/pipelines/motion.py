"""Motion of a talking face: the mouth, joined by head, blinks and gaze as the options select."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Floats
from ..audio.loudness import detect_speech, frame_loudness_db
from ..driving.reference import reference_blinks, reference_head, track_reference
from ..face.mouth_offsets import measure_source_mouth, subtract_source_mouth
from ..face.tracked import TrackedSource
from ..media import Waveform
from ..motion import HeadTrack, LipKeypoints, MotionTrack, Mouth, MouthControls
from ..motion.blink import natural_blinks
from ..motion.breath import natural_breath
from ..motion.classic import classic_head_pose
from ..motion.gaze import idle_gaze
from ..motion.head import natural_head_pose
from ..motion.keyframes import keyframe_angles
from ..motion.lips import controls_from_keypoints
from ..motion.portable import PortableMotion
from ..motion.random_streams import BLINK, BREATH, BROWS, GAZE, HEAD
from ..motion.rotation import MAX_TURN_DEG
from ..options.talk import PUPIL_RANGE, TalkOptions
from ..progress import OnProgress, steps_of
from .expression import add_expression

if TYPE_CHECKING:
    from ..driving.sadtalker.networks import SadTalker

log = logging.getLogger(__name__)


_FINE_FPS = 25.0  # frames a second
_VISIBLE_MOTION = 0.02  # IOD, of the lips' opening


def plan_motion(
    source: TrackedSource,
    voice: Waveform,
    mouth: Mouth,
    fps: float,
    options: TalkOptions,
    *,
    rng: Callable[[int], np.random.Generator],
    sadtalker: Callable[[TalkOptions], SadTalker],
    on_progress: OnProgress,
    max_turn_deg: Floats = MAX_TURN_DEG,
) -> MotionTrack:
    """Return the motion track of a face that speaks.

    Args:
        source: the tracked face.
        voice: the sound; heads and blinks follow its pauses.
        mouth: from the driver, one row a frame.
        fps: frames a second.
        options: see TalkOptions.
        rng: channel → random generator, of `random_streams`.
        sadtalker: options → networks; called only for a head driven by the voice.
        on_progress: called during long steps.
        max_turn_deg: (3,) pitch, yaw, roll up to which a reference is followed.

    Raises:
        TalkerError: a reference cannot be read or shows no face; the options make no sense for this source.
    """
    frames = len(mouth)
    mouth = _scale_mouth(mouth, source, fps, options.expression_scale)
    loudness = frame_loudness_db(voice, fps)
    voiced = detect_speech(loudness, fps)
    head_pose = options.head_pose_for(source.is_still)
    if head_pose == "still" and not source.is_still:
        log.warning("a source video moves its own head: --still adds no motion to it, and takes none away.")
    if head_pose == "synthetic" and options.head_style == "classic":
        head = HeadTrack.turning(
            classic_head_pose(mouth, fps, rng(HEAD), smooth_variance=options.driving_smooth_observation_variance)
        )
    elif head_pose == "synthetic":
        head = HeadTrack.turning(natural_head_pose(loudness, voiced, fps, rng(HEAD)))
    elif head_pose == "reference":
        head = _reference_head(source, frames, fps, options, rng(HEAD), max_turn_deg, on_progress)
    elif head_pose == "audio":
        from ..driving.sadtalker.head import audio_head  # brings torch

        head = audio_head(sadtalker(options), voice, source, fps, rng(HEAD), style=options.pose_style)
    else:  # still, source: the source's own
        head = HeadTrack.still(frames)
    head = _set_angles(head.scaled(options.head_motion), options)
    blinking = source.is_still if options.blink is None else options.blink
    if options.ref_blink is not None:
        seen = track_reference(
            options.ref_blink, max_seconds=options.max_seconds, on_frame=steps_of("following the blinks", on_progress)
        )
        # The head's random stream: blinks and poses of one video start together.
        start = rng(HEAD)
        blink = reference_blinks(seen.eye_ratios, seen.fps, fps, frames, start, from_zero=options.ref_frames_from_zero)
    elif blinking:
        blink = natural_blinks(frames, fps, rng(BLINK), speaking=voiced, rate_per_minute=options.blink_rate)
    else:
        blink = np.zeros((frames, 2))
    glancing = source.is_still if options.gaze is None else options.gaze == "natural"
    gaze = idle_gaze(frames, fps, rng(GAZE)) if glancing else np.zeros((frames, 2))
    gaze = np.clip(gaze + np.array([options.pupil_x, options.pupil_y]) / PUPIL_RANGE, -1, 1)
    breathing = source.is_still and head_pose != "still" if options.breath is None else options.breath
    breath = natural_breath(frames, fps, rng(BREATH)) if breathing else np.zeros(frames)
    track = MotionTrack(fps=fps, head=head, blink=blink, gaze=gaze, mouth=mouth, breath=breath)
    return add_expression(track, source, voice, options, rng(BROWS))


def warn_of_silence(voice: Waveform, mouth: Mouth, *, of_still: bool) -> None:
    """Log that no voice is heard, where that is so."""
    # A low frame rate may miss the voice: a fine one is taken.
    if detect_speech(frame_loudness_db(voice, _FINE_FPS), _FINE_FPS).any():
        return
    if of_still and _moves(mouth):
        log.warning("no clear voice is heard in the sound; the mouth follows what there is.")
    else:
        log.warning("no voice is heard in the sound: the mouth stays at rest.")


def detach_motion(track: MotionTrack, source: TrackedSource) -> PortableMotion:
    """Return the motion of a source apart from it."""
    if isinstance(track.mouth, MouthControls):
        own = measure_source_mouth(source, len(track), track.fps)
        track = dataclasses.replace(track, mouth=MouthControls(track.mouth.values + own))
    return PortableMotion(track)


def attach_motion(motion: PortableMotion, source: TrackedSource, frames: int, fps: float) -> MotionTrack:
    """Return `frames` frames at `fps` of a motion, for the renderer of a source."""
    lasts, needed = len(motion) / motion.track.fps, frames / fps
    if lasts < needed - 1 / fps:
        log.warning("the motion ends after %.1f of %.1f seconds: the face holds still from there.", lasts, needed)
    track = motion.resampled(frames, fps).track
    if isinstance(track.mouth, MouthControls):
        track = dataclasses.replace(track, mouth=subtract_source_mouth(track.mouth.values, source, fps))
    return track


def _reference_head(
    source: TrackedSource,
    frames: int,
    fps: float,
    options: TalkOptions,
    rng: np.random.Generator,
    max_turn_deg: Floats,
    on_progress: OnProgress,
) -> HeadTrack:
    assert options.ref_head_pose is not None  # TalkOptions checks it
    on_frame = steps_of("following the reference", on_progress)
    seen = track_reference(options.ref_head_pose, max_seconds=options.max_seconds, on_frame=on_frame)
    own = np.stack([source.faces[i].rotation_deg for i in source.frame_indices(frames, fps)])
    turn = reference_head(
        seen.rotation_deg, seen.fps, own, fps, rng, from_zero=options.ref_frames_from_zero, max_turn_deg=max_turn_deg
    )
    return HeadTrack.turning(turn)


def _set_angles(head: HeadTrack, options: TalkOptions) -> HeadTrack:
    """Replace the head's angles by those that are given."""
    angles = head.rotation_deg.astype(np.float64)
    for axis, values in enumerate((options.pitch, options.yaw, options.roll)):
        if values is not None:
            angles[:, axis] = keyframe_angles(values, len(head))
    return dataclasses.replace(head, rotation_deg=angles)


def _moves(mouth: Mouth) -> bool:
    """Return whether a portrait's lips move visibly."""
    if isinstance(mouth, LipKeypoints):
        mouth = controls_from_keypoints(mouth)
    return bool(np.ptp(mouth.values[:, 0]) > _VISIBLE_MOTION)


def _scale_mouth(mouth: Mouth, source: TrackedSource, fps: float, scale: float) -> Mouth:
    """Scale the mouth's motion about its rest, where the lips are shut."""
    if scale == 1:
        return mouth
    if isinstance(mouth, LipKeypoints):
        return LipKeypoints(scale * mouth.offsets)
    return subtract_source_mouth(scale * (mouth.values + measure_source_mouth(source, len(mouth), fps)), source, fps)
