"""The expression editor: a face with its sliders moved, as keypoints for the warping network.

Source: docs/method/liveportrait.md, Expression editor. An edit applies to one face or to every frame of a clip.
Sliders at rest leave the face as it is, apart from stitching. The released code differs: it adds t_z to the edited
keypoints and not to the source's, which moves the face in depth, and it turns the source's expression with the head,
which the networks do not. `as_released=True` reproduces that, for parity tests.
"""

from __future__ import annotations

import numpy as np

from ...arrays import Floats64
from ...motion.rotation import matrix_from_degrees
from ...options.sliders import HEAD_POINT, ExpressionEdit
from .animation_inputs import PointNetworks
from .keypoints import KEYPOINTS, FaceMotion, transform_keypoints

_SAMPLE_ROWS = {"mouth": (14, 17, 19, 20), "eyes": (1, 2, 11, 13, 15, 16)}


def edit_expression(
    source: FaceMotion,
    edit: ExpressionEdit,
    networks: PointNetworks,
    *,
    sample: FaceMotion | None = None,
    stitching: bool = True,
    as_released: bool = False,
) -> Floats64:
    """Return the driving keypoints x_d (N, 21, 3) of the source's N faces, edited.

    Args:
        source: one face, or one a frame.
        edit: the sliders.
        networks: only stitching is used.
        sample: a face whose expression or pose is taken too: one for all, or N.
        stitching: keep neck and shoulders where they are.
        as_released: reproduce the released code, see the module.
    """
    own = source.expression * edit.source_ratio
    own[:, HEAD_POINT] = source.expression[:, HEAD_POINT]
    change, turn = edit.expression()[None], edit.turn_deg()
    if sample is not None:
        change = change + edit.sample_ratio * _copied_expression(sample, edit.sample_parts)
        if edit.sample_parts in ("all", "rotation"):
            turn = turn + edit.sample_ratio * sample.rotation_deg
    before, after = (own + change, np.zeros_like(own)) if as_released else (change, own)
    rotation = matrix_from_degrees(source.rotation_deg + turn)
    x_d = transform_keypoints(source.keypoints + before, rotation, after, source.scale, source.translation)
    x_d = _in_depth(x_d, source, as_released)
    return networks.stitching(source.points, x_d) if stitching else x_d


def _copied_expression(sample: FaceMotion, parts: str) -> Floats64:
    """Return (N, 21, 3) what is copied of the sample's expression, never its position in the image."""
    taken = np.zeros_like(sample.expression)
    if parts != "rotation":
        rows = list(_SAMPLE_ROWS.get(parts, range(KEYPOINTS)))
        taken[:, rows] = sample.expression[:, rows]
    taken[:, HEAD_POINT, :2] = 0.0
    return taken


def _in_depth(points: Floats64, source: FaceMotion, as_released: bool) -> Floats64:
    """Add t_z where the released code is reproduced."""
    if as_released:
        points[..., 2] += source.translation[:, 2:]
    return points
