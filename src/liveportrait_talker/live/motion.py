"""Motion of a live face: head, lids, gaze and breath without end, and the mouth that the sound makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, repeat

import numpy as np

from ..arrays import Floats64
from ..face.mouth_offsets import subtract_source_mouth
from ..face.tracked import TrackedSource
from ..motion.blink import LiveBlinks
from ..motion.breath import endless_breaths
from ..motion.gaze import endless_gaze
from ..motion.live_head import LiveHead
from ..motion.random_streams import BLINK, BREATH, GAZE, HEAD, random_streams
from ..motion.track import HeadTrack, MotionTrack
from ..options.live import LiveOptions
from ..options.talk import PUPIL_RANGE
from .sound import Moment


class LiveMotion:
    """Makes one frame of motion after another; the same seed, picture and sound give the same."""

    def __init__(self, source: TrackedSource, options: LiveOptions) -> None:
        self._source, self._options, fps = source, options, options.fps
        rng = random_streams(options.seed, source.footage[0])
        self._head = LiveHead(fps, rng(HEAD))
        self._blinks = LiveBlinks(fps, rng(BLINK), rate_per_minute=options.blink_rate if options.blink else 0.0)
        natural = options.gaze == "natural"
        self._gaze: Iterator[Floats64] = endless_gaze(fps, rng(GAZE)) if natural else repeat(np.zeros(2))
        self._gaze_offset = np.array([options.pupil_x, options.pupil_y]) / PUPIL_RANGE
        breathing = options.breath and not options.still
        self._breath = chain.from_iterable(endless_breaths(fps, rng(BREATH))) if breathing else repeat(0.0)

    def step(self, moment: Moment) -> MotionTrack:
        """Return the motion of the next frame, a track of length 1."""
        options = self._options
        turn = self._head.step(moment.loudness_db, moment.speech_ahead) * options.head_motion
        closure = self._blinks.step(moment.speech_ahead)
        gaze = np.clip(next(self._gaze) + self._gaze_offset, -1, 1)
        mouth = options.expression_scale * np.asarray(moment.mouth, np.float64)[None]
        return MotionTrack(
            fps=options.fps,
            head=HeadTrack.turning(turn[None]),
            blink=np.full((1, 2), closure),
            gaze=gaze[None],
            mouth=subtract_source_mouth(mouth, self._source, options.fps),
            breath=np.array([next(self._breath)]),
            continues=True,
        )

    def hold(self, track: MotionTrack) -> MotionTrack:
        """Return one frame with the head where the options hold it, whether it moves by itself or as the camera."""
        options = self._options
        head = HeadTrack.still(1) if options.still else track.head
        turn = head.rotation_deg.copy()
        for axis, angle in enumerate((options.pitch, options.yaw, options.roll)):
            if angle is not None:
                turn[:, axis] = angle
        return replace(track, head=replace(head, rotation_deg=turn))
