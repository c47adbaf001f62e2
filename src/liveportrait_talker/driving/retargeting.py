"""A face that follows another: what a driving clip's readings ask of a source, as a motion track.

LivePortrait's rules of what is relative to what (spec liveportrait.md §12), on measured channels in place of its key
points. A mouth, lids, a look and brows are told from the driving person's own rest, which the first frame need not be.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from ..arrays import Floats
from ..face.measurements import face_readings
from ..face.relative import relative_to_source
from ..face.tracked import TrackedSource
from ..motion.face_measurements import FaceMeasurements
from ..motion.smoothing import moving_average
from ..motion.track import HeadTrack, MotionTrack, MouthControls
from .reference import COMFORTABLE_DEG

log = logging.getLogger(__name__)

_SMOOTH_S = 0.12  # FaceMesh trembles: head, look and brows are averaged over this
_WIDEST_SHIFT, _WIDEST_ZOOM = 0.22, 0.10  # IOD, ratio: a head moved further drags the background along
_LIPS_PARTED = 0.03  # IOD, as LivePortrait's `lip_normalize_threshold`
_LEAST_OPEN = 0.3  # share of the frames that say what the mouth is at rest
_OPEN_PERCENTILE = 80
_OPEN, _SHUT, _WIDE = 0.8, 0.3, 1.12  # shares of the open eye's ratio: lids that are open, shut, opened wide
_WIDEST = 0.3
_BROWS_MOST = 0.12  # IOD
# A face at rest, for a driving picture, which shows no other (the mean of ten people; spec/embedded.md, mouth basis).
_USUAL_MOUTH = np.array([0.0, 0.563, 0.193, -0.284])
_USUAL_EYES, _USUAL_BROWS = 0.35, 0.519
_USUAL_GAZE = np.array([0.0, 0.03])
# What the controls do to the height of the lips and of the corners, besides what is theirs (spec/embedded.md §2).
_LIPS_BY = np.array([-0.05, -0.12, 0.42])  # open, spread, round
_CORNERS_BY = np.array([-0.10, 0.37, -0.13])

LOOK = np.array([0.10, 0.09])
"""Eye widths, x and y, that FaceMesh reads of an iris at the end of its travel."""
HEAD, EYES, MOUTH, BROWS = "head", "eyes", "mouth", "brows"
PARTS = {
    "all": (HEAD, EYES, MOUTH, BROWS),
    "exp": (EYES, MOUTH, BROWS),
    "pose": (HEAD,),
    "lip": (MOUTH,),
    "eyes": (EYES,),
}
"""Animation region → what is driven."""


@dataclass(frozen=True)
class Rest:
    """What counts as rest for a face."""

    mouth: Floats
    """(4,) as `FaceMeasurements.mouth`."""
    eyes: Floats
    """(2,) ratios of open eyes."""
    gaze: Floats
    """(2,)"""
    brows: Floats
    """(2,)"""

    @classmethod
    def average(cls) -> Rest:
        """Of a person we know nothing of."""
        return cls(_USUAL_MOUTH, np.full(2, _USUAL_EYES), _USUAL_GAZE, np.full(2, _USUAL_BROWS))

    @classmethod
    def of_clip(cls, seen: FaceMeasurements) -> Rest:
        """Of the person in a clip, from what they usually do; of a picture, the usual face."""
        if len(seen) == 1:
            return cls.average()
        aperture = seen.mouth[:, 0]
        shut = np.argsort(aperture, kind="stable")[: max(1, round(_LEAST_OPEN * len(seen)))]
        mouth = np.median(seen.mouth[shut], axis=0).astype(np.float64)
        mouth[0] = max(float(np.percentile(aperture, 5)), 0.0)
        eyes = np.percentile(seen.eye_ratios, _OPEN_PERCENTILE, axis=0)
        awake = (seen.eye_ratios > 0.6 * eyes).all(axis=1)
        gaze = np.median(seen.gaze[awake if awake.any() else slice(None)], axis=0)
        return cls(mouth, eyes, gaze, np.median(seen.brow_height, axis=0))

    @classmethod
    def as_shown(cls, seen: FaceMeasurements) -> Rest:
        """What a face shows itself, in the middle of its frames: nothing is rest but this."""
        parts = (seen.mouth, seen.eye_ratios, seen.gaze, seen.brow_height)
        return cls(*(np.median(part, axis=0) for part in parts))


def retarget_motion(
    driving: FaceMeasurements,
    source: TrackedSource,
    *,
    rest: Rest | None = None,
    region: str = "all",
    relative: bool = True,
    multiplier: float = 1.0,
    normalize_lip: bool = False,
    eye_retargeting: bool = False,
    lip_retargeting: bool = False,
) -> MotionTrack:
    """What makes `source` do as the driving face does, one row a driving frame, at its rate.

    Turns wider than a portrait bears are made smaller as a whole, so that they keep their shape.

    Args:
        driving: the readings, on the output's clock.
        source: who follows.
        rest: of the driving person; None takes it from `driving`, which must not be one picture held for many rows.
        region: what is driven, see `PARTS`.
        relative: from the first frame's pose and the driving person's rest; otherwise to its very pose and look.
        multiplier: how far the motion goes, 1 = as driven.
        normalize_lip: shut a picture's parted lips first.
        eye_retargeting: the eyes open as far as the driving face's, whatever their shape.
        lip_retargeting: the lips do.
    """
    frames, parts = len(driving), PARTS[region]
    own = face_readings(source)
    rest = (rest or Rest.of_clip(driving)) if relative else Rest.as_shown(own)
    neutral = MotionTrack.neutral(frames, driving.fps)
    head, mouth, blink, gaze, brows = neutral.head, neutral.mouth, neutral.blink, neutral.gaze, neutral.brows
    window = max(1, round(_SMOOTH_S * driving.fps)) if frames > 1 else 1
    if HEAD in parts:
        head = _head(driving, source, own, window, relative, with_size=region == "all", multiplier=multiplier)
    if MOUTH in parts:
        controls = controls_from_measurements(driving.mouth - rest.mouth)
        if source.is_still:
            if not relative or lip_retargeting:
                controls[:, 0] = driving.mouth[:, 0] - own.mouth[0, 0]
            elif normalize_lip and own.mouth[0, 0] >= _LIPS_PARTED:
                controls[:, 0] -= own.mouth[0, 0]
            mouth = MouthControls(multiplier * controls)
        else:  # it takes the place of the video's own talking
            controls[:, 0] = driving.mouth[:, 0]
            mouth = relative_to_source(multiplier * controls, source, driving.fps)
    if EYES in parts:
        eyes = rest.eyes if relative and not eye_retargeting else np.median(own.eye_ratios, axis=0)
        lids = blink_from_eye_ratios(driving.eye_ratios, eyes)
        blink = np.clip(multiplier * lids, -_WIDEST, 1)
        turned = moving_average(_through_blinks(driving.gaze, lids), window) - rest.gaze
        gaze = np.clip(multiplier * turned / LOOK, -1, 1)
    if BROWS in parts:
        raised = moving_average(driving.brow_height, window) - rest.brows
        brows = np.clip(multiplier * raised, -_BROWS_MOST, _BROWS_MOST)
    return MotionTrack(driving.fps, head, blink, gaze, mouth, brows)


def controls_from_measurements(change: Floats) -> Floats:
    """(T, 5) controls of `MouthControls` that change `FaceMeasurements.mouth` by (T, 4)."""
    aperture, width, lips, corners = np.asarray(change, np.float64).T
    first = np.stack([aperture, np.maximum(width, 0), np.maximum(-width, 0)])
    press, corner_up = -(lips - _LIPS_BY @ first), corners - _CORNERS_BY @ first
    return np.stack([*first, press, corner_up], axis=1)


def blink_from_eye_ratios(eye_ratios: Floats, opened: Floats) -> Floats:
    """(T, 2) `MotionTrack.blink` of lids with these ratios, where `opened` (2,) is open; what they waver is nothing."""
    share = eye_ratios / np.maximum(opened, 1e-6)
    shut = np.clip((_OPEN - share) / (_OPEN - _SHUT), 0.0, 1.0)
    wide = np.clip(share - _WIDE, 0.0, _WIDEST)
    lids: Floats = shut - wide
    return lids


def _head(
    driving: FaceMeasurements,
    source: TrackedSource,
    own: FaceMeasurements,
    window: int,
    relative: bool,
    *,
    with_size: bool,
    multiplier: float,
) -> HeadTrack:
    rotation, place = moving_average(driving.rotation_deg, window), moving_average(driving.place, window)
    size = moving_average(driving.size, 2 * window)
    frames = len(driving)
    if relative:
        turn, shift, zoom = rotation - rotation[0], place - place[0], size / size[0] - 1
    else:
        indices = source.frame_indices(frames, driving.fps)
        turn, shift, zoom = rotation - own.rotation_deg[indices], place - np.median(place, axis=0), np.zeros(frames)
    turn, shift, zoom = multiplier * turn, multiplier * shift, multiplier * zoom * with_size
    fitted = _bearable(turn, COMFORTABLE_DEG)
    share = np.abs(fitted).max(axis=0) / np.maximum(np.abs(turn).max(axis=0), 1e-6)
    if (np.abs(turn).max(axis=0) * (1 - share)).max() > 1.0:
        log.warning(
            "the driving head turns further than the embedded renderer can follow: its turns are reduced to %s %% "
            "(pitch, yaw, roll).",
            " ".join(f"{100 * s:.0f}" for s in share),
        )
    face = source.faces[0]
    crop_width = face.crop.scale * face.crop.size[0]
    shift = _bearable(shift, np.full(2, _WIDEST_SHIFT)) * (face.pose.iod / crop_width)
    return HeadTrack(fitted, shift, 1 + _bearable(zoom[:, None], np.array([_WIDEST_ZOOM]))[:, 0])


def _bearable(motion: Floats, most: Floats) -> Floats:
    """(T, n) made smaller as a whole, each column by itself, where it goes beyond `most` for longer than a moment."""
    widest = np.percentile(np.abs(motion), 98, axis=0)
    return np.asarray(motion * np.minimum(1.0, most / np.maximum(widest, 1e-9)))


def _through_blinks(gaze: Floats, lids: Floats) -> Floats:
    """(T, 2) with what FaceMesh guesses of an iris behind lids replaced by what is seen before and after."""
    seen = np.flatnonzero(lids.max(axis=1) < 0.5)
    if len(seen) in (0, len(gaze)):
        return gaze
    at = np.arange(len(gaze))
    return np.stack([np.interp(at, seen, column[seen]) for column in gaze.T], axis=1)
