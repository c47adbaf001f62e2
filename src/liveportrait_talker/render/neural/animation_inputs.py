"""Inputs of an animation: its settings, the driving motion, and the three small networks.

Source: docs/method/liveportrait.md, Animation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import Floats, Floats64, Integers
from ...errors import OptionError
from ...motion.smoothing import OBSERVATION_VARIANCE
from ...motion.template import MotionTemplate
from .keypoints import KEYPOINTS, FaceMotion, retarget, stitch

if TYPE_CHECKING:
    from torch import nn


REGIONS = ("all", "exp", "pose", "lip", "eyes")
DRIVING_OPTIONS = ("expression-friendly", "pose-friendly")


@dataclass(frozen=True)
class AnimationSettings:
    """How a driving clip is followed. Names and defaults are those of LivePortrait's command line.

    Raises OptionError for a value that is not known or out of range.
    """

    relative_motion: bool = True
    """Apply the driving face's change from its first frame; otherwise its pose and expression."""
    animation_region: str = "all"
    """What is driven: all, exp (the expression), pose, lip or eyes."""
    driving_option: str = "expression-friendly"
    """expression-friendly or pose-friendly. With frame 0 as the reference they differ only by rounding."""
    driving_multiplier: float = 1.0
    """Scale of the motion from the source's keypoints to the driven ones, 0–2."""
    stitching: bool = True
    """Keep neck and shoulders in place."""
    normalize_lip: bool = False
    """Shut the source's parted lips first (relative motion only)."""
    eye_retargeting: bool = False
    """Open the eyes as far as the driving face's, whatever their shape."""
    lip_retargeting: bool = False
    """Open the lips as far as the driving face's, whatever their shape."""
    source_video_eye_retargeting: bool = False
    """Hold the eyes of a source video open as in its first frame."""
    smooth_observation_variance: float = OBSERVATION_VARIANCE
    """Of the smoothing of a source video's motion over time, 1e-12–1; larger is smoother."""
    lip_normalize_threshold: float = 0.03
    """Lip ratio from which `normalize_lip` treats lips as parted."""
    source_video_eye_threshold: float = 0.18
    """Mean eye ratio below which the first frame's eyes count as shut."""
    as_released: bool = False
    """Reproduce the released code's defects, for parity tests: a source video's smoothed rotations stay unorthogonal;
    relative eye or lip retargeting discards the driving motion; the driving right eye is ignored; eyes of an image
    that is driven by an image take on its expression at rest too."""

    def __post_init__(self) -> None:
        limits = {"driving_multiplier": (0.0, 2.0), "smooth_observation_variance": (1e-12, 1.0)}
        limits |= {"lip_normalize_threshold": (0.0, 1.0), "source_video_eye_threshold": (0.0, 1.0)}
        for name, choices in (("animation_region", REGIONS), ("driving_option", DRIVING_OPTIONS)):
            if getattr(self, name) not in choices:
                raise OptionError(f"{name} {getattr(self, name)!r} is not known: choose one of {', '.join(choices)}.")
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise OptionError(f"{name} {value!r} is out of range: give {low:g} … {high:g}.")


@dataclass(frozen=True)
class PointNetworks:
    """The three small networks as functions of keypoints, float64, N faces at once."""

    stitching: Callable[[Floats64, Floats64], Floats64]
    """x_s (N, 21, 3), x_d (N, 21, 3) → x_d with the source's neck and shoulders."""
    retarget_eye: Callable[[Floats64, Floats64], Floats64]
    """x_s (N, 21, 3), ratios (N, 3) source left, source right, wanted → offsets (N, 21, 3)."""
    retarget_lip: Callable[[Floats64, Floats64], Floats64]
    """x_s (N, 21, 3), ratios (N, 2) source, wanted → offsets (N, 21, 3)."""

    @classmethod
    def of(cls, *, stitching: nn.Module, retarget_eye: nn.Module, retarget_lip: nn.Module) -> PointNetworks:
        """Return the functions of modules on any device."""
        return cls(partial(stitch, stitching), partial(retarget, retarget_eye), partial(retarget, retarget_lip))


@dataclass(frozen=True, eq=False)
class DrivingMotion:
    """Motion of a driving clip of T ≥ 1 frames; one frame is an image. Frame 0 is the reference of relative motion."""

    fps: float
    """Frames a second; for an image, any number above 0."""
    scale: Floats64
    """(T, 1)"""
    rotation: Floats64
    """(T, 3, 3), for `points @ rotation`."""
    expression: Floats64
    """(T, 21, 3)"""
    translation: Floats64
    """(T, 3)"""
    eye_ratios: Floats64
    """(T, 2) left, right in the image."""
    lip_ratio: Floats64
    """(T, 1)"""

    def __post_init__(self) -> None:
        shapes = {"scale": (1,), "rotation": (3, 3), "expression": (KEYPOINTS, 3), "translation": (3,)}
        shapes |= {"eye_ratios": (2,), "lip_ratio": (1,)}
        if not self.fps > 0 or len(self.scale) == 0:
            raise ValueError(f"DrivingMotion needs frames and an fps above 0, got {len(self.scale)} and {self.fps}")
        for name, shape in shapes.items():
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.shape != (len(self.scale), *shape):
                wanted = ", ".join(map(str, shape))
                raise ValueError(f"DrivingMotion.{name} must be (T, {wanted}), got {array.shape}")
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.scale)

    def __repr__(self) -> str:
        return f"DrivingMotion(T={len(self)}, fps={self.fps:g})"

    @classmethod
    def of(cls, motion: FaceMotion, eye_ratios: Floats, lip_ratio: Floats, fps: float) -> DrivingMotion:
        """Return the motion of T driving frames, with their eye ratios (T, 2) and lip ratios (T, 1)."""
        seen = (motion.scale, motion.rotation, motion.expression, motion.translation)
        return cls(fps, *seen, np.asarray(eye_ratios, np.float64), np.asarray(lip_ratio, np.float64))

    @classmethod
    def from_template(cls, template: MotionTemplate) -> DrivingMotion:
        """Return the motion of a template."""
        return cls(**{field.name: getattr(template, field.name) for field in fields(cls)})

    def take(self, indices: Integers, fps: float | None = None) -> DrivingMotion:
        """Return these frames in this order, at another rate if given: for bringing two clips onto one clock."""
        parts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "fps"}
        return DrivingMotion(fps or self.fps, **{name: array[indices] for name, array in parts.items()})
