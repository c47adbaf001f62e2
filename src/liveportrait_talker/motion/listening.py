"""What a face does while somebody else in the picture speaks: it looks at the speaker now and then, and nods.

Source: docs/method/speakers.md, Listening.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..arrays import Flags, Floats, Floats64
from .head import size_nod
from .intervals import true_intervals
from .random_intervals import draw_interval
from .smoothing import bell_average
from .track import HeadTrack, MotionTrack

_REACTION_S = (0.2, 0.6)  # from the speaker's first sound to the look
_AT_SPEAKER_S, _AT_VIEWER_S = 2.4, 2.0  # mean times
_GAZE = np.array([0.55, 0.3])  # of full travel, towards a speaker beside or above
_TURN_DEG = np.array([2.0, 5.0, 0.0])  # pitch, yaw, roll with the look
_TURN_S = 0.7
_NOD_CHANCE = 0.5  # at the end of a phrase of the speaker
_NODS_APART_S = 3.0
_NOD_DEPTH = 0.4  # of the range of nods while speaking
_PHRASE_PAUSE_S = 0.25


def listen(
    track: MotionTrack,
    speaker: Floats,
    speaks: Flags,
    rng: np.random.Generator,
    *,
    turn: float = 1.0,
    gaze_offset: tuple[float, float] = (0.0, 0.0),
) -> MotionTrack:
    """Return the track with looks at the speaker and nods, while others speak and this face does not.

    Args:
        track: motion of a still's face.
        speaker: (T, 2) direction to who speaks, x right, y up, length 1; 0 while nobody else does.
        speaks: (T,) whether this face speaks.
        rng: generator of the motion.
        turn: how much the head moves with the looks, and nods.
        gaze_offset: x, y that the gaze is aside by all the time, of full travel.
    """
    fps, quiet = track.fps, ~speaks
    others = np.any(np.asarray(speaker) != 0, axis=1)
    looking = _draw_looks(others & quiet, fps, rng)
    direction = np.asarray(speaker, np.float64) * looking[:, None]
    gaze = np.where(looking[:, None], direction * _GAZE + gaze_offset, track.gaze)
    degrees = np.stack([direction[:, 1], direction[:, 0], np.zeros(len(track))], axis=1) * _TURN_DEG
    degrees = bell_average(degrees, round(_TURN_S * fps))
    degrees[:, 0] += _draw_nods(others, quiet, fps, rng)
    head = HeadTrack(track.head.rotation_deg + turn * degrees, track.head.shift, track.head.scale)
    return dataclasses.replace(track, gaze=np.clip(gaze, -1, 1), head=head)


def _draw_looks(listening: Flags, fps: float, rng: np.random.Generator) -> Flags:
    """Return when a listener looks at the speaker (T,)."""
    looking = np.zeros(len(listening), bool)
    for first, end in true_intervals(listening):
        at = first + round(rng.uniform(*_REACTION_S) * fps)
        while at < end:
            until = at + max(1, round(draw_interval(_AT_SPEAKER_S, rng) * fps))
            looking[at : min(until, end)] = True
            at = until + max(1, round(draw_interval(_AT_VIEWER_S, rng) * fps))
    return looking


def _draw_nods(others: Flags, quiet: Flags, fps: float, rng: np.random.Generator) -> Floats64:
    """Return the pitch (T,) in degrees of nods at the ends of the speaker's phrases."""
    nods = np.zeros(len(others))
    free_from = 0.0
    for first, end in true_intervals(others):
        chance, depth, length, twice = rng.uniform(size=4)
        at = end / fps
        if chance > _NOD_CHANCE or at < free_from or end - first < _PHRASE_PAUSE_S * fps or not quiet[end - 1]:
            continue
        free_from = at + _NODS_APART_S
        degrees, half = size_nod(_NOD_DEPTH * depth, length)
        for k in range(2 if twice > 0.5 else 1):
            middle = at + half * (1 + 1.6 * k)
            span = slice(max(0, int(np.ceil((middle - half) * fps))), int((middle + half) * fps) + 1)
            phase = (np.arange(len(nods))[span] / fps - middle) / half
            nods[span] -= degrees * 0.6**k * (1.0 + np.cos(np.pi * phase)) / 2
    return nods
