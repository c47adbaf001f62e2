"""Retargeting: from measurements of a driving face to a motion track of the source.

LivePortrait's rules of relative and absolute motion (docs/method/liveportrait.md, Animation), on measurements instead
of keypoints. Mouth, lids, gaze and brows are relative to the driving person's rest, which the first frame need not be.
Source: docs/method/reenactment.md, Rest and Following.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from ..arrays import Floats
from ..face.measurements import measure_faces
from ..face.mouth_offsets import subtract_source_mouth
from ..face.tracked import TrackedSource
from ..motion.face_measurements import FaceMeasurements
from ..motion.rotation import MAX_TURN_DEG
from ..motion.smoothing import moving_average, smoothstep
from ..motion.track import HeadTrack, MotionTrack, MouthControls
from .reference import OPEN_PERCENTILE, SHUT_SHARE, SMOOTH_S, lid_closure

log = logging.getLogger(__name__)

MAX_SHIFT, MAX_ZOOM = 0.22, 0.10  # IOD, ratio: moved further, the head drags the background along
_LIPS_PARTED = 0.03  # IOD, as LivePortrait's `lip_normalize_threshold`
_REST_SHARE = 0.3  # share of the frames, the least open ones, that define the mouth at rest
_WIDE = 1.12  # share of the open eye's ratio above which it is opened wide
_MAX_WIDENING = 0.3
_TOGETHER = 0.5  # share of the difference of both lids that is taken as an error
_WINK = (0.78, 0.95)  # share of the open eye's ratio of the eye that stays open in a wink
_MAX_BROWS = 0.12  # IOD
# Mean of ten faces at rest, for driving images, which show no other state.
_AVERAGE_MOUTH = np.array([0.0, 0.563, 0.193, -0.284])
_AVERAGE_EYES, _AVERAGE_BROWS = 0.35, 0.519
_AVERAGE_GAZE = np.array([0.0, 0.03])
# Effect of the controls on lip height and corner height (docs/method/embedded_renderer.md, Mouth basis).
_LIP_HEIGHT_BY = np.array([-0.05, -0.12, 0.42])  # open, spread, round
_CORNER_HEIGHT_BY = np.array([-0.10, 0.37, -0.13])

GAZE_TRAVEL = np.array([0.10, 0.09])
"""Measured gaze, x and y in eye widths, of an iris at the end of its travel."""
HEAD, EYES, MOUTH, BROWS = "head", "eyes", "mouth", "brows"
PARTS = {
    "all": (HEAD, EYES, MOUTH, BROWS),
    "exp": (EYES, MOUTH, BROWS),
    "pose": (HEAD,),
    "lip": (MOUTH,),
    "eyes": (EYES,),
}
"""Animation region → driven parts."""


@dataclass(frozen=True)
class Rest:
    """Measurements of a face at rest."""

    mouth: Floats
    """(4,) as `FaceMeasurements.mouth`."""
    eyes: Floats
    """(2,) eye ratios of open eyes."""
    gaze: Floats
    """(2,) as `FaceMeasurements.gaze`."""
    brows: Floats
    """(2,) as `FaceMeasurements.brow_height`."""

    @classmethod
    def average(cls) -> Rest:
        """Return the rest of an average face."""
        return cls(_AVERAGE_MOUTH, np.full(2, _AVERAGE_EYES), _AVERAGE_GAZE, np.full(2, _AVERAGE_BROWS))

    @classmethod
    def of_clip(cls, face: FaceMeasurements) -> Rest:
        """Return the rest of the person in a clip, or the average rest for a single frame."""
        if len(face) == 1:
            return cls.average()
        aperture = face.mouth[:, 0]
        shut = np.argsort(aperture, kind="stable")[: max(1, round(_REST_SHARE * len(face)))]
        mouth = np.median(face.mouth[shut], axis=0).astype(np.float64)
        mouth[0] = max(float(np.percentile(aperture, 5)), 0.0)
        eyes = np.percentile(face.eye_ratios, OPEN_PERCENTILE, axis=0)
        awake = (face.eye_ratios > 0.6 * eyes).all(axis=1)
        gaze = np.median(face.gaze[awake if awake.any() else slice(None)], axis=0)
        return cls(mouth, eyes, gaze, np.median(face.brow_height, axis=0))

    @classmethod
    def as_shown(cls, face: FaceMeasurements) -> Rest:
        """Return the medians over all frames, for absolute motion."""
        parts = (face.mouth, face.eye_ratios, face.gaze, face.brow_height)
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
    max_turn_deg: Floats = MAX_TURN_DEG,
) -> MotionTrack:
    """Return the motion that makes `source` follow the driving face, one row per driving frame, at its frame rate.

    Turns that look wrong on a portrait are scaled down as a whole, so that they keep their shape.

    Args:
        driving: measurements, already on the output's clock.
        source: the face that follows.
        rest: of the driving person; None measures it in `driving`, which must not be a still repeated over many rows.
        region: driven parts, see `PARTS`.
        relative: move from the source's own pose and rest; otherwise take on the driving pose and expression.
        multiplier: scale of the motion, 1 = as driven.
        normalize_lip: first shut the parted lips of a still source.
        eye_retargeting: open the eyes as far as the driving ones, measured on the source's own eye ratio.
        lip_retargeting: take on the driving aperture of the lips.
        max_turn_deg: (3,) pitch, yaw, roll that the source can turn and look right.
    """
    frames, parts = len(driving), PARTS[region]
    own = measure_faces(source)
    usual = rest or Rest.of_clip(driving)
    rest = usual if relative else Rest.as_shown(own)
    neutral = MotionTrack.neutral(frames, driving.fps)
    head, mouth, blink, gaze, brows = neutral.head, neutral.mouth, neutral.blink, neutral.gaze, neutral.brows
    window = max(1, round(SMOOTH_S * driving.fps)) if frames > 1 else 1
    if HEAD in parts:
        head = _retarget_head(
            driving, source, own, window, relative, region == "all", multiplier=multiplier, max_turn_deg=max_turn_deg
        )
    if MOUTH in parts:
        controls = controls_from_measurements(driving.mouth - rest.mouth)
        if source.is_still:
            if not relative or lip_retargeting:
                controls[:, 0] = driving.mouth[:, 0] - own.mouth[0, 0]
            elif normalize_lip and own.mouth[0, 0] >= _LIPS_PARTED:
                controls[:, 0] -= own.mouth[0, 0]
            mouth = MouthControls(multiplier * controls)
        else:  # in place of the video's own talking
            controls[:, 0] = driving.mouth[:, 0]
            mouth = subtract_source_mouth(multiplier * controls, source, driving.fps)
    if EYES in parts:
        eyes = rest.eyes if relative and not eye_retargeting else np.median(own.eye_ratios, axis=0)
        lids = blink_from_eye_ratios(driving.eye_ratios, eyes, usual.eyes)
        blink = np.clip(multiplier * lids, -_MAX_WIDENING, 1)
        offset = moving_average(_interpolate_blinks(driving.gaze, lids), window) - rest.gaze
        gaze = np.clip(multiplier * offset / GAZE_TRAVEL, -1, 1)
    if BROWS in parts:
        raised = moving_average(driving.brow_height, window) - rest.brows
        brows = np.clip(multiplier * raised, -_MAX_BROWS, _MAX_BROWS)
    return MotionTrack(driving.fps, head, blink, gaze, mouth, brows)


def controls_from_measurements(change: Floats) -> Floats:
    """Convert changes of `FaceMeasurements.mouth` (T, 4) to values of `MouthControls` (T, 5)."""
    aperture, width, lips, corners = np.asarray(change, np.float64).T
    first = np.stack([aperture, np.maximum(width, 0), np.maximum(-width, 0)])
    press, corner_up = -(lips - _LIP_HEIGHT_BY @ first), corners - _CORNER_HEIGHT_BY @ first
    return np.stack([*first, press, corner_up], axis=1)


def blink_from_eye_ratios(eye_ratios: Floats, opened: Floats, usual: Floats | None = None) -> Floats:
    """Convert eye ratios to closures of lids.

    Args:
        eye_ratios: (T, 2) of the driving eyes.
        opened: (2,) ratios for a closure of 0.
        usual: (2,) ratios of the driving eyes when they are open, by default `opened`.

    Returns:
        (T, 2) as `MotionTrack.blink`.
    """
    usual = opened if usual is None else usual
    shut = SHUT_SHARE * usual  # what landmarks read on shut lids depends on the person, not on how far they open
    share = SHUT_SHARE + (1 - SHUT_SHARE) * (eye_ratios - shut) / np.maximum(opened - shut, np.maximum(shut, 1e-6))
    closure = lid_closure(share)
    # The lids of both eyes are innervated together: an eye that shuts less is read wrong, unless the other one winks.
    lead = np.maximum(closure[..., ::-1] - closure, 0.0)
    closure = closure + _TOGETHER * lead * (1 - smoothstep(*_WINK, share))
    lids: Floats = closure - np.clip(share - _WIDE, 0.0, _MAX_WIDENING)
    return lids


def _retarget_head(
    driving: FaceMeasurements,
    source: TrackedSource,
    own: FaceMeasurements,
    window: int,
    relative: bool,
    with_size: bool,
    *,
    multiplier: float,
    max_turn_deg: Floats,
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
    fitted = _limit_columns(turn, max_turn_deg)
    share = np.abs(fitted).max(axis=0) / np.maximum(np.abs(turn).max(axis=0), 1e-6)
    if (np.abs(turn).max(axis=0) * (1 - share)).max() > 1.0:
        log.warning(
            "the driving head turns further than the embedded renderer can follow: its turns are reduced to %s %% "
            "(pitch, yaw, roll).",
            " ".join(f"{100 * s:.0f}" for s in share),
        )
    face = source.faces[0]
    crop_width = face.crop.scale * face.crop.size[0]
    shift = _limit_columns(shift, np.full(2, MAX_SHIFT)) * (face.pose.iod / crop_width)
    return HeadTrack(fitted, shift, 1 + _limit_columns(zoom[:, None], np.array([MAX_ZOOM]))[:, 0])


def _limit_columns(motion: Floats, most: Floats) -> Floats:
    """Scale down each column of `motion` (T, n) whose 98th percentile exceeds `most` (n,)."""
    widest = np.percentile(np.abs(motion), 98, axis=0)
    return np.asarray(motion * np.minimum(1.0, most / np.maximum(widest, 1e-9)))


def _interpolate_blinks(gaze: Floats, lids: Floats) -> Floats:
    """Interpolate `gaze` (T, 2) where the lids hide the iris."""
    visible = np.flatnonzero(lids.max(axis=1) < 0.5)
    if len(visible) in (0, len(gaze)):
        return gaze
    at = np.arange(len(gaze))
    return np.stack([np.interp(at, visible, column[visible]) for column in gaze.T], axis=1)
