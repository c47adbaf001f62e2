"""Key points: from what the motion extractor says to what the warping network is given.

Source: spec liveportrait.md §8, §9, §16 and talker.md §10, §11. Everything is batched over faces or frames, in
NumPy and float64: 63 numbers a frame are nothing beside the networks, and no precision setting can touch them.
Angles here have LivePortrait's signs; `motion.rotation` turns the meter's into them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...arrays import Floats, Floats64
from ...motion.lips import LIP_KEYPOINTS as LIPS
from ...motion.rotation import matrix_from_degrees
from ...motion.smoothing import OBSERVATION_VARIANCE, kalman_smooth

KEYPOINTS = 21
_BINS = 66
_DEGREES_PER_BIN = 3.0
_FIRST_BIN_DEG = -97.5
_NEAR_PUPIL, _FAR_PUPIL = 11, 15  # what moves the irises, with the lids about them


@dataclass(frozen=True, eq=False)
class FaceMotion:
    """What the motion extractor sees in N faces, refined (spec liveportrait.md §5)."""

    keypoints: Floats64
    """(N, 21, 3) canonical key points x, y, z, about ±0.4."""
    expression: Floats64
    """(N, 21, 3) their deformation, before the scale."""
    scale: Floats64
    """(N, 1), about 1.1–1.6."""
    translation: Floats64
    """(N, 3) x, y, z; z is never used."""
    rotation_deg: Floats64
    """(N, 3) pitch, yaw, roll."""

    def __post_init__(self) -> None:
        shapes = {
            "keypoints": (KEYPOINTS, 3),
            "expression": (KEYPOINTS, 3),
            "scale": (1,),
            "translation": (3,),
            "rotation_deg": (3,),
        }
        for name, shape in shapes.items():
            array = np.array(getattr(self, name), dtype=np.float64)
            if array.shape != (len(self.keypoints), *shape):
                wanted = ", ".join(map(str, shape))
                raise ValueError(f"FaceMotion.{name} must be (N, {wanted}), got {array.shape}")
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __repr__(self) -> str:
        return f"FaceMotion(N={len(self)})"

    @classmethod
    def from_heads(cls, heads: Mapping[str, Tensor]) -> FaceMotion:
        """From the raw heads of `MotionExtractor`, on any device, or from angles that are degrees (N, 1) already."""
        raw = {name: head.detach().cpu().double().numpy() for name, head in heads.items()}
        return cls(
            keypoints=raw["kp"].reshape(-1, KEYPOINTS, 3),
            expression=raw["exp"].reshape(-1, KEYPOINTS, 3),
            scale=raw["scale"],
            translation=raw["t"],
            rotation_deg=np.concatenate([degrees_from_bins(raw[name]) for name in ("pitch", "yaw", "roll")], axis=1),
        )

    def take(self, indices: npt.NDArray[np.integer[Any]]) -> FaceMotion:
        """These of the N faces, in this order."""
        return FaceMotion(
            self.keypoints[indices],
            self.expression[indices],
            self.scale[indices],
            self.translation[indices],
            self.rotation_deg[indices],
        )

    @property
    def rotation(self) -> Floats64:
        """(N, 3, 3), for `points @ rotation`."""
        return matrix_from_degrees(self.rotation_deg)

    @property
    def points(self) -> Floats64:
        """x_s (N, 21, 3): the key points as they stand in the picture, x right, y down, −1…1."""
        return transform_keypoints(self.keypoints, self.rotation, self.expression, self.scale, self.translation)


def degrees_from_bins(logits: Floats) -> Floats64:
    """Angles (N, 1) in degrees, −97.5…97.5, from logits (N, 66); what is not 66 wide is degrees already (§9)."""
    x = np.asarray(logits, dtype=np.float64)
    if x.shape[1] != _BINS:
        return x
    weight = np.exp(x - x.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    degrees: Floats64 = weight @ (_DEGREES_PER_BIN * np.arange(_BINS) + _FIRST_BIN_DEG)
    return degrees[:, None]


def transform_keypoints(
    keypoints: Floats, rotation: Floats, expression: Floats, scale: Floats, translation: Floats
) -> Floats64:
    """Points (N, 21, 3) in the picture: s · (x_c R + δ) + (t_x, t_y, 0) (§9).

    Shapes: (N, 21, 3), (N, 3, 3), (N, 21, 3), (N, 1), (N, 3); an N of 1 stands for all.
    """
    shift = np.array(translation, dtype=np.float64)  # a copy: z is dropped
    shift[..., 2] = 0.0
    turned = np.asarray(keypoints, dtype=np.float64) @ rotation + expression
    moved: Floats64 = np.asarray(scale, dtype=np.float64)[..., None] * turned + shift[..., None, :]
    return moved


def stitch(network: nn.Module, source: Floats, driving: Floats) -> Floats64:
    """Driving points (N, 21, 3), moved so that the neck and shoulders of the source stay where they are (§8).

    Args:
        network: `stitching`, on any device.
        source: x_s (N or 1, 21, 3).
        driving: x_d (N, 21, 3).
    """
    out = _apply(network, _pairs(source, driving))
    stitched = np.asarray(driving, dtype=np.float64) + out[:, :-2].reshape(-1, KEYPOINTS, 3)
    stitched[..., :2] += out[:, None, -2:]
    return stitched


def retarget(network: nn.Module, source: Floats, ratios: Floats) -> Floats64:
    """Offsets (N, 21, 3) that open or shut eyes or lips; the caller adds them to the driving points (§8).

    Args:
        network: `retarget_eye` or `retarget_lip`, on any device.
        source: x_s (N or 1, 21, 3).
        ratios: (N, 3) source left, source right, wanted for the eyes; (N, 2) source, wanted for the lips.
    """
    return _apply(network, _pairs(source, ratios)).reshape(-1, KEYPOINTS, 3)


def relative_lips(rest: Floats, offsets: Floats, neutral: Floats) -> Floats64:
    """Expression rows (T, 6, 3) of `LIPS`: the mouth at rest, moved as the voice moves it.

    Args:
        rest: (T or 1, 6, 3) rows of the source's expression.
        offsets: (T, 6, 3) of the MappingNet.
        neutral: (6, 3) its offsets of a mouth that says nothing. The original took frame 0's (defect 22).
    """
    lips: Floats64 = np.asarray(rest, dtype=np.float64) + offsets - np.asarray(neutral, dtype=np.float64)
    return lips


def original_lips(
    source: FaceMotion, offsets: Floats, *, video: bool, observation_variance: float = OBSERVATION_VARIANCE
) -> Floats64:
    """Expression rows (T, 6, 3) as the original made them, for parity (talker.md §11).

    Frame 0 is taken for the neutral mouth and for the source's rest, and only a video's lips are smoothed.
    """
    lips = relative_lips(source.expression[:1, LIPS], offsets, offsets[0])
    return kalman_smooth(lips, observation_variance) if video else lips


def look(expression: Floats, pupil_x: float | Floats, pupil_y: float | Floats) -> Floats64:
    """Expression (N, 21, 3) with the irises moved, x + to the picture's right and y + up, useful to ±15 (§15.3).

    `pupil_x` and `pupil_y` are one number for all, or (N,).
    """
    moved = np.array(expression, dtype=np.float64)
    pupil_x, pupil_y = np.asarray(pupil_x, np.float64), np.asarray(pupil_y, np.float64)
    near, far = np.where(pupil_x > 0, 0.0007, 0.001), np.where(pupil_x > 0, 0.001, 0.0007)
    moved[:, _NEAR_PUPIL, 0] += near * pupil_x
    moved[:, _FAR_PUPIL, 0] += far * pupil_x
    for iris in (_NEAR_PUPIL, _FAR_PUPIL):
        moved[:, iris, 1] -= 0.001 * pupil_y
    return moved


def talking_points(
    source: FaceMotion,
    lips: Floats,
    rotation: Floats,
    *,
    pupils: tuple[float | Floats, float | Floats] = (0.0, 0.0),
    zoom: float | Floats = 1.0,
    shift: Floats | None = None,
    offsets: Floats | None = None,
    stitching: nn.Module | None = None,
    late_offsets: Floats | None = None,
    multiplier: float = 1.0,
) -> Floats64:
    """Driving points x_d (T, 21, 3) of a talking face, for `WarpingNetwork` (talker.md §11, liveportrait.md §16).

    Frames do not see one another, so a long clip may be asked for in pieces.

    Args:
        source: one face, or one a frame.
        lips: (T, 6, 3) rows of `LIPS` in place of the source's own.
        rotation: (T or 1, 3, 3) of the head, absolute.
        pupils: x, y of `look`.
        zoom: ratio to the source's scale: a number, or (T, 1).
        shift: (T, 2) x right, y down, added to the source's translation.
        offsets: (T, 21, 3) added before stitching, as `retarget` makes them for blinks.
        stitching: the network, or None to leave the points as they are.
        late_offsets: (T, 21, 3) or (1, 21, 3) added after it, where LivePortrait shuts a source's lips (§12 step 4).
        multiplier: how far to go from the source's points to the driven ones, 1 = all the way.
    """
    expression = np.broadcast_to(source.expression, (len(lips), KEYPOINTS, 3)).copy()
    expression[:, LIPS] = lips
    if np.any(pupils[0]) or np.any(pupils[1]):
        expression = look(expression, *pupils)
    start = source.points
    translation = source.translation
    if shift is not None:
        translation = np.column_stack([translation[:, :2] + shift, np.zeros(len(shift))])
    x_d = transform_keypoints(source.keypoints, rotation, expression, source.scale * zoom, translation)
    if offsets is not None:
        x_d = x_d + offsets
    if stitching is not None:
        x_d = stitch(stitching, start, x_d)
    if late_offsets is not None:
        x_d = x_d + late_offsets
    driven: Floats64 = start + (x_d - start) * multiplier
    return driven


def _pairs(source: Floats, other: Floats) -> Floats64:
    """Rows (N, 63 + n): source points and what belongs to them, flattened point by point."""
    right = np.asarray(other, dtype=np.float64).reshape(len(other), -1)
    left = np.broadcast_to(np.asarray(source, dtype=np.float64).reshape(len(source), -1), (len(right), KEYPOINTS * 3))
    return np.concatenate([left, right], axis=1)


def _apply(network: nn.Module, rows: Floats64) -> Floats64:
    """The network's answer (N, m) to rows (N, n)."""
    weight = next(network.parameters())
    with torch.inference_mode():
        # Cast first: Apple's devices have no float64.
        answer = network(torch.from_numpy(rows).to(weight.dtype).to(weight.device))
    array: Floats64 = answer.cpu().double().numpy()
    return array
