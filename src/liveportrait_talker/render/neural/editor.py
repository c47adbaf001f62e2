"""The two expression editors: a face with its sliders moved, as points for the warping network.

Source: spec liveportrait.md §15.1 (`edit_portrait`: sliders are added after the head is turned) and §15.2
(`edit_expression`: before). An edit works on one face or on every frame of a clip. What the sliders are is in
`sliders`.

Sliders at rest leave the face as it is, but for what stitching says to that. Not so in the released code, which
`as_released=True` follows for parity: both editors add t_z to the edited points and not to the source's, which moves
the face in depth, and the second turns the source's own expression with the head, as the networks do not.
"""

from __future__ import annotations

import numpy as np

from ...arrays import Floats, Floats64
from ...motion.rotation import matrix_from_degrees
from ...options.sliders import HEAD_POINT, ExpressionEdit, PortraitEdit, sliders
from .animation_inputs import PointNetworks
from .keypoints import KEYPOINTS, FaceMotion, transform_keypoints

__all__ = ["ExpressionEdit", "PortraitEdit", "edit_expression", "edit_portrait", "sliders"]

_SAMPLE_ROWS = {"mouth": (14, 17, 19, 20), "eyes": (1, 2, 11, 13, 15, 16)}


def edit_portrait(
    source: FaceMotion,
    edit: PortraitEdit,
    networks: PointNetworks,
    *,
    eye_ratios: Floats | None = None,
    lip_ratio: Floats | None = None,
    stitching: bool = True,
    as_released: bool = False,
) -> Floats64:
    """Points x_d (N, 21, 3) of the source's N faces, edited (§15.1).

    Args:
        source: one face, or one a frame.
        edit: the sliders.
        networks: stitching and retargeting.
        eye_ratios: (N, 2) of the source, needed where `open_eyes` is given.
        lip_ratio: (N, 1) of the source, needed where `open_lips` is given.
        stitching: keep neck and shoulders where they are.
        as_released: as the released code does, see the module.
    """
    start = source.points
    rotation = matrix_from_degrees(source.rotation_deg + edit.turn_deg())
    expression = source.expression + edit.expression()
    x_d = transform_keypoints(source.keypoints, rotation, expression, source.scale * edit.zoom, source.translation)
    x_d = _in_depth(x_d, source, as_released)
    if edit.open_eyes is not None:
        x_d = x_d + networks.retarget_eye(start, _with_wanted(eye_ratios, edit.open_eyes, (len(source), 2)))
    if edit.open_lips is not None:
        x_d = x_d + networks.retarget_lip(start, _with_wanted(lip_ratio, edit.open_lips, (len(source), 1)))
    return networks.stitching(start, x_d) if stitching else x_d


def edit_expression(
    source: FaceMotion,
    edit: ExpressionEdit,
    networks: PointNetworks,
    *,
    sample: FaceMotion | None = None,
    stitching: bool = True,
    as_released: bool = False,
) -> Floats64:
    """Points x_d (N, 21, 3) of the source's N faces, edited (§15.2).

    Args:
        source: one face, or one a frame.
        edit: the sliders.
        networks: only stitching is asked.
        sample: a face whose expression or pose is taken too: one for all, or N.
        stitching: keep neck and shoulders where they are.
        as_released: as the released code does, see the module.
    """
    own = source.expression * edit.source_ratio
    own[:, HEAD_POINT] = source.expression[:, HEAD_POINT]
    change, turn = edit.expression()[None], edit.turn_deg()
    if sample is not None:
        change = change + edit.sample_ratio * _sampled_expression(sample, edit.sample_parts)
        if edit.sample_parts in ("all", "rotation"):
            turn = turn + edit.sample_ratio * sample.rotation_deg
    before, after = (own + change, np.zeros_like(own)) if as_released else (change, own)
    rotation = matrix_from_degrees(source.rotation_deg + turn)
    x_d = transform_keypoints(source.keypoints + before, rotation, after, source.scale, source.translation)
    x_d = _in_depth(x_d, source, as_released)
    return networks.stitching(source.points, x_d) if stitching else x_d


def _sampled_expression(sample: FaceMotion, parts: str) -> Floats64:
    """(N, 21, 3) what is taken of the sample's expression, its place in the picture never."""
    taken = np.zeros_like(sample.expression)
    if parts != "rotation":
        rows = list(_SAMPLE_ROWS.get(parts, range(KEYPOINTS)))
        taken[:, rows] = sample.expression[:, rows]
    taken[:, HEAD_POINT, :2] = 0.0
    return taken


def _in_depth(points: Floats64, source: FaceMotion, as_released: bool) -> Floats64:
    """The points, moved by t_z where the released code is followed."""
    if as_released:
        points[..., 2] += source.translation[:, 2:]
    return points


def _with_wanted(ratios: Floats | None, wanted: float, shape: tuple[int, int]) -> Floats64:
    """Rows for a retargeting network: the source's ratios, and the one that is wanted."""
    if ratios is None or np.shape(ratios) != shape:
        raise ValueError(f"the source's ratios must be {shape}, got {np.shape(ratios) if ratios is not None else None}")
    return np.hstack([np.asarray(ratios, dtype=np.float64), np.full((shape[0], 1), wanted)])
