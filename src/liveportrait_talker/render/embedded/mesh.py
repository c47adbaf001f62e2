"""Mesh of one portrait: the shared face mesh on its landmarks, with rings over hair, neck and background."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ...arrays import Floats
from ...face.geometry import rotation_matrix
from ...face.tracked import TrackedFace
from ...motion.smoothing import smoothstep
from .brows import upper_face_basis
from .model import PIVOT, POINTS, RINGS, RINGS_TO_OUTLINE, RINGS_TO_REST, FaceModel
from .smile import smile_basis

_OUTLINE = {"side": 1.22, "top": 1.55, "chin": 1.06}  # of the head, in oval radii
_REACH = {"side": 0.45, "top": 0.45, "chin": 0.65}  # oval radii beyond the outline over which the motion fades to 0
# With layers the background is not dragged along: hair moves as a whole, shoulders follow.
_REACH_OF_LAYERS = {"side": 0.6, "top": 0.25, "chin": 0.8}
_HAIR_MARGIN = 0.1  # oval radii


class PortraitMesh:
    """Vertices of the source and their motion. Positions are image px; depth is canonical (unit IOD)."""

    def __init__(self, face: TrackedFace, model: FaceModel, extent: Floats | None = None) -> None:
        """`extent`: (36,) where the person ends, see `Layers`; None: the background is part of the image."""
        self.model = model
        pose = face.pose
        self.iod = pose.iod
        self.rotation_deg = pose.rotation_deg
        self.rotation = pose.rotation
        self._origin = pose.origin
        landmarks = face.landmarks[:POINTS].astype(np.float64)
        points = (landmarks * (1, -1, -1) - pose.origin) @ pose.rotation / pose.iod  # canonical
        depth = points[:, 2] + model.relief * (PIVOT[2] - points[:, 2])
        ring_xy, ring_depth, ring_weight = self._build_rings(landmarks[:, :2], depth, extent)
        eye_xy = np.stack([landmarks[loop, :2].mean(axis=0) for loop in model.eye_openings])
        eye_depth = np.array([depth[loop].mean() for loop in model.eye_openings])
        self.position = np.concatenate([landmarks[:, :2], ring_xy, eye_xy])
        self.weight = np.concatenate([np.ones(POINTS), ring_weight, np.ones(2)])
        self._basis = model.mouth_basis.reshape(len(model.mouth_basis), -1)
        self._expression_basis = np.concatenate([upper_face_basis(model), smile_basis(model)[None]]).reshape(7, -1)
        self.canonical = self.to_canonical(self.position, np.concatenate([depth, ring_depth, eye_depth]))

    def _build_rings(self, landmarks: Floats, depth: Floats, extent: Floats | None) -> tuple[Floats, Floats, Floats]:
        oval = self.model.face_oval
        centre = landmarks[oval].mean(axis=0)
        radius = landmarks[oval] - centre
        up = self.rotation[:2, 1] * (1, -1)
        up = up / np.linalg.norm(up)
        upness = radius @ up / np.linalg.norm(radius, axis=1)
        top, chin = smoothstep(0, 1, upness), smoothstep(0, 1, -upness)

        def around(values: Mapping[str, float]) -> Floats:
            side = values["side"]
            blended: Floats = side + (values["top"] - side) * top + (values["chin"] - side) * chin
            return blended

        outline = around(_OUTLINE)
        reach = around(_REACH if extent is None else _REACH_OF_LAYERS)
        if extent is not None:
            hair = smoothstep(-0.2, 0.3, upness)
            outline = outline + hair * np.maximum(extent + _HAIR_MARGIN - outline, 0)
        # At the top, depth falls to the pivot's at the outline. The same slope under the chin draws a second chin.
        sink = 0.5 + 0.5 * smoothstep(-0.2, 0.2, upness)
        xy, z, weight = [], [], []
        for k in range(1, RINGS + 1):
            inside = min(k / RINGS_TO_OUTLINE, 1.0)
            beyond = max(k - RINGS_TO_OUTLINE, 0) / RINGS_TO_REST
            factor = 1 + (outline - 1) * inside + reach * beyond
            xy.append(centre + radius * factor[:, None])
            z.append(depth[oval] + sink * inside * (PIVOT[2] - depth[oval]))
            weight.append(np.full(len(oval), 1 - float(smoothstep(0, 1, np.array(beyond)))))
        return np.concatenate(xy), np.concatenate(z), np.concatenate(weight)

    def to_canonical(self, xy: Floats, depth: Floats) -> Floats:
        """Return canonical points (…, 3) of image points (…, 2) px at canonical depth (…) in the source's pose."""
        projected = (xy * (1, -1) - self._origin[:2]) / self.iod
        flat = (projected - depth[..., None] * self.rotation[:2, 2]) @ _inverse_2x2(self.rotation).T
        return np.concatenate([flat, depth[..., None]], axis=-1)

    def unproject_at_depth(self, xy: Floats, depth: float, rotation: Floats, shift_px: Floats, scale: float) -> Floats:
        """Return canonical x, y (…, 2) at canonical `depth` of the image points (…, 2) px of a moved head."""
        pivot = self.rotation @ PIVOT
        projected = ((xy - shift_px) * (1, -1) - self._origin[:2]) / self.iod - pivot[:2]
        scaled = scale * rotation
        flat = (projected - (depth - PIVOT[2]) * scaled[:2, 2]) @ _inverse_2x2(scaled).T
        canonical_xy: Floats = flat + PIVOT[:2]
        return canonical_xy

    def add_rotation(self, delta_deg: Floats) -> Floats:
        """Return the (3, 3) rotation for the source's angles plus `delta_deg` (pitch, yaw, roll)."""
        if not np.any(delta_deg):
            return self.rotation
        # The stored matrix may differ from that of its angles in the last bits, so it is multiplied by their quotient.
        return rotation_matrix(self.rotation_deg + delta_deg) @ rotation_matrix(self.rotation_deg).T @ self.rotation

    def displace(
        self, rotation: Floats, mouth: Floats, shift_px: Floats, scale: float, expression: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Return the displacement of the vertices.

        Args:
            rotation: (3, 3) canonical → image, from `add_rotation`.
            mouth: (5,) controls in IOD.
            shift_px: (2,) px, x right, y down.
            scale: ratio to the source's size.
            expression: (7,) of `Limits.limit_expression`.

        Returns:
            (V, 2) displacement in px, exactly zero without motion, and (V,) depth in IOD towards the viewer.
        """
        moved: npt.NDArray[np.float64] = (mouth @ self._basis).reshape(-1, 3)  # (V, 3)
        if expression is not None and np.any(expression):
            moved = moved + (expression @ self._expression_basis).reshape(-1, 3)
        point = self.canonical + moved - PIVOT
        change = point @ (scale * rotation - self.rotation).T + moved @ self.rotation.T
        displacement = change[:, :2] * (self.iod, -self.iod) + shift_px
        depth = point @ rotation[2]
        return displacement * self.weight[:, None], depth


def _inverse_2x2(matrix: Floats) -> Floats:
    """Invert the upper left 2×2 of a matrix; written out, because LAPACK takes longer than the rest of `displace`."""
    (a, b), (c, d) = matrix[:2, :2]
    return np.asarray(np.array([[d, -b], [-c, a]]) / (a * d - b * c))
