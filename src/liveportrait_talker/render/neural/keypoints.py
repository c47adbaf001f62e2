"""Keypoints: from the motion extractor's outputs to the warping network's inputs.

See docs/method/liveportrait.md, Stitching, Keypoints, Gaze and Talking. All functions are batched over faces or frames
and compute in float64 with NumPy, so that precision settings do not affect them. Angles have LivePortrait's signs;
`motion.rotation` converts from those of motion tracks (docs/method/conventions.md, Head angles).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...arrays import Floats, Floats64, Integers
from ...motion.lips import LIP_KEYPOINTS
from ...motion.rotation import matrix_from_degrees

KEYPOINTS = 21
_BINS = 66
_DEGREES_PER_BIN = 3.0
_FIRST_BIN_DEG = -97.5
_NEAR_PUPIL, _FAR_PUPIL = 11, 15  # keypoints that move the irises


@dataclass(frozen=True, eq=False)
class FaceMotion:
    """Motion of N faces, decoded from the motion extractor's heads (docs/method/liveportrait.md, Motion)."""

    keypoints: Floats64
    """(N, 21, 3) canonical keypoints x, y, z, about ±0.4."""
    expression: Floats64
    """(N, 21, 3) expression deformation, before the scale."""
    scale: Floats64
    """(N, 1), about 1.1–1.6."""
    translation: Floats64
    """(N, 3) x, y, z; z is not used."""
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
        """Decode the raw heads of `MotionExtractor`, on any device; angles may also be degrees (N, 1)."""
        raw = {name: head.detach().cpu().double().numpy() for name, head in heads.items()}
        return cls(
            keypoints=raw["kp"].reshape(-1, KEYPOINTS, 3),
            expression=raw["exp"].reshape(-1, KEYPOINTS, 3),
            scale=raw["scale"],
            translation=raw["t"],
            rotation_deg=np.concatenate([degrees_from_bins(raw[name]) for name in ("pitch", "yaw", "roll")], axis=1),
        )

    def take(self, indices: Integers) -> FaceMotion:
        """Return the faces at `indices`, in this order."""
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
        """x_s (N, 21, 3): transformed keypoints in the crop, x right, y down, −1…1."""
        return transform_keypoints(self.keypoints, self.rotation, self.expression, self.scale, self.translation)


def degrees_from_bins(logits: Floats) -> Floats64:
    """Return angles (N, 1) in degrees, −97.5…97.5, from logits (N, 66); other widths are taken as degrees."""
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
    """Return transformed keypoints (N, 21, 3): s · (x_c R + δ) + (t_x, t_y, 0).

    Shapes: (N, 21, 3), (N, 3, 3), (N, 21, 3), (N, 1), (N, 3); an N of 1 is broadcast.
    """
    shift = np.array(translation, dtype=np.float64)  # a copy, because z is set to 0
    shift[..., 2] = 0.0
    turned = np.asarray(keypoints, dtype=np.float64) @ rotation + expression
    moved: Floats64 = np.asarray(scale, dtype=np.float64)[..., None] * turned + shift[..., None, :]
    return moved


def stitch(network: nn.Module, source: Floats, driving: Floats) -> Floats64:
    """Return driving keypoints (N, 21, 3), corrected so that neck and shoulders of the source stay in place.

    Args:
        network: `stitching`, on any device.
        source: x_s (N or 1, 21, 3).
        driving: x_d (N, 21, 3).
    """
    out = _run_network(network, _join_rows(source, driving))
    stitched = np.asarray(driving, dtype=np.float64) + out[:, :-2].reshape(-1, KEYPOINTS, 3)
    stitched[..., :2] += out[:, None, -2:]
    return stitched


def retarget(network: nn.Module, source: Floats, ratios: Floats) -> Floats64:
    """Return offsets (N, 21, 3) that open or close eyes or lips; the caller adds them to the driving keypoints.

    Args:
        network: `retarget_eye` or `retarget_lip`, on any device.
        source: x_s (N or 1, 21, 3).
        ratios: (N, 3) source left, source right, target for the eyes; (N, 2) source, target for the lips.
    """
    return _run_network(network, _join_rows(source, ratios)).reshape(-1, KEYPOINTS, 3)


def shift_irises(expression: Floats, pupil_x: float | Floats, pupil_y: float | Floats) -> Floats64:
    """Return expression (N, 21, 3) with the irises moved (docs/method/liveportrait.md, Gaze).

    Args:
        expression: (N, 21, 3).
        pupil_x: a number or (N,), positive to the right of the image, useful to ±15.
        pupil_y: a number or (N,), positive up, useful to ±15.
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
    change: Floats | None = None,
    zoom: float | Floats = 1.0,
    shift: Floats | None = None,
    offsets: Floats | None = None,
    stitching: nn.Module | None = None,
    late_offsets: Floats | None = None,
    multiplier: float = 1.0,
) -> Floats64:
    """Return driving keypoints x_d (T, 21, 3) of a talking face (docs/method/liveportrait.md, Talking).

    Frames are independent, so a long clip may be computed in parts.

    Args:
        source: one face, or one for each frame.
        lips: (T, 6, 3) expression of `LIP_KEYPOINTS`, replacing the source's.
        rotation: (T or 1, 3, 3) of the head, absolute.
        pupils: x, y of `shift_irises`.
        change: (T, 21, 3) added to the expression, lips included.
        zoom: ratio to the source's scale, a number or (T, 1).
        shift: (T, 2) x right, y down, added to the source's translation.
        offsets: (T, 21, 3) of `retarget`, added before stitching.
        stitching: the network, or None for no stitching.
        late_offsets: (T, 21, 3) or (1, 21, 3), added after stitching.
        multiplier: factor of the motion from the source's keypoints to the driving ones.
    """
    expression = np.broadcast_to(source.expression, (len(lips), KEYPOINTS, 3)).copy()
    expression[:, LIP_KEYPOINTS] = lips
    if np.any(pupils[0]) or np.any(pupils[1]):
        expression = shift_irises(expression, *pupils)
    if change is not None:
        expression = expression + change
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


def _join_rows(source: Floats, other: Floats) -> Floats64:
    """Return rows (N, 63 + n): source keypoints and other values, flattened keypoint by keypoint."""
    right = np.asarray(other, dtype=np.float64).reshape(len(other), -1)
    left = np.broadcast_to(np.asarray(source, dtype=np.float64).reshape(len(source), -1), (len(right), KEYPOINTS * 3))
    return np.concatenate([left, right], axis=1)


def _run_network(network: nn.Module, rows: Floats64) -> Floats64:
    """Return the network's output (N, m) for rows (N, n)."""
    weight = next(network.parameters())
    with torch.inference_mode():
        # Cast before the transfer, because MPS devices have no float64.
        output = network(torch.from_numpy(rows).to(weight.dtype).to(weight.device))
    array: Floats64 = output.cpu().double().numpy()
    return array
