"""One portrait's mesh: the shared face mesh laid on its landmarks, with rings over hair, neck and background."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...arrays import Floats
from ...face.geometry import rotation_matrix
from ...face.tracked import TrackedFace
from ...motion.smoothing import smoothstep
from .brows import upper_face_basis
from .model import PIVOT, POINTS, RINGS, RINGS_TO_OUTLINE, RINGS_TO_REST, FaceModel

_OUTLINE = {"side": 1.22, "top": 1.55, "chin": 1.06}  # the head's outline, in oval radii
_REACH, _REACH_CHIN = 0.45, 0.65  # from there the motion fades to rest over this many oval radii


class PortraitMesh:
    """Vertices of the source and how they move. Positions are picture px; depth is canonical (unit IOD)."""

    def __init__(self, face: TrackedFace, model: FaceModel) -> None:
        self.model = model
        pose = face.pose
        self.iod = pose.iod
        self.rotation_deg = pose.rotation_deg
        self.rotation = pose.rotation
        self._origin = pose.origin
        landmarks = face.landmarks[:POINTS].astype(np.float64)
        points = (landmarks * (1, -1, -1) - pose.origin) @ pose.rotation / pose.iod  # canonical
        depth = points[:, 2] + model.relief * (PIVOT[2] - points[:, 2])
        ring_xy, ring_depth, ring_weight = self._rings(landmarks[:, :2], depth)
        eye_xy = np.stack([landmarks[loop, :2].mean(axis=0) for loop in model.eye_openings])
        eye_depth = np.array([depth[loop].mean() for loop in model.eye_openings])
        self.position = np.concatenate([landmarks[:, :2], ring_xy, eye_xy])
        self.weight = np.concatenate([np.ones(POINTS), ring_weight, np.ones(2)])
        self._basis = model.mouth_basis.reshape(len(model.mouth_basis), -1)
        self._upper_basis = upper_face_basis(model).reshape(4, -1)
        self.canonical = self.to_canonical(self.position, np.concatenate([depth, ring_depth, eye_depth]))

    def _rings(self, landmarks: Floats, depth: Floats) -> tuple[Floats, Floats, Floats]:
        oval = self.model.face_oval
        centre = landmarks[oval].mean(axis=0)
        radius = landmarks[oval] - centre
        up = self.rotation[:2, 1] * (1, -1)
        up = up / np.linalg.norm(up)
        upness = radius @ up / np.linalg.norm(radius, axis=1)
        top, chin = smoothstep(0, 1, upness), smoothstep(0, 1, -upness)
        outline = _OUTLINE["side"] + (_OUTLINE["top"] - _OUTLINE["side"]) * top
        outline = outline + (_OUTLINE["chin"] - _OUTLINE["side"]) * chin
        reach = _REACH + (_REACH_CHIN - _REACH) * chin
        # Above, the hair's edge lies as deep as the pivot; sinking as fast under the chin draws a second chin.
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
        """Canonical (…, 3) of picture points (…, 2) px at canonical depth (…)."""
        seen = (xy * (1, -1) - self._origin[:2]) / self.iod
        flat = (seen - depth[..., None] * self.rotation[:2, 2]) @ _inverse_2x2(self.rotation).T
        return np.concatenate([flat, depth[..., None]], axis=-1)

    def seen_at_depth(self, xy: Floats, depth: float, rotation: Floats, shift_px: Floats, scale: float) -> Floats:
        """Canonical (…, 2) x, y of the point at canonical `depth` that a moved head shows at picture px (…, 2)."""
        pivot = self.rotation @ PIVOT
        seen = ((xy - shift_px) * (1, -1) - self._origin[:2]) / self.iod - pivot[:2]
        turned = scale * rotation
        flat = (seen - (depth - PIVOT[2]) * turned[:2, 2]) @ _inverse_2x2(turned).T
        seen_xy: Floats = flat + PIVOT[:2]
        return seen_xy

    def turned(self, delta_deg: Floats) -> Floats:
        """(3, 3) rotation after adding `delta_deg` (pitch, yaw, roll) to the source's own angles."""
        if not np.any(delta_deg):
            return self.rotation
        # The stored rotation may differ from its angles in the last bits: turn it by their difference.
        return rotation_matrix(self.rotation_deg + delta_deg) @ rotation_matrix(self.rotation_deg).T @ self.rotation

    def displaced(
        self, rotation: Floats, mouth: Floats, shift_px: Floats, scale: float, upper_face: Floats | None = None
    ) -> tuple[Floats, Floats]:
        """Move the mesh.

        Args:
            rotation: (3, 3) canonical → picture, see `turned`.
            mouth: (5,) controls in IOD.
            shift_px: (2,) px, x right, y down.
            scale: ratio to the source's size.
            upper_face: (4,) left and right brow raised, in IOD; left and right eye widened, in its gap.

        Returns:
            (V, 2) displacement in px, exactly zero for no motion, and (V,) depth in IOD towards the viewer.
        """
        moved: npt.NDArray[np.float64] = (mouth @ self._basis).reshape(-1, 3)  # (V, 3)
        if upper_face is not None and np.any(upper_face):
            moved = moved + (upper_face @ self._upper_basis).reshape(-1, 3)
        point = self.canonical + moved - PIVOT
        change = point @ (scale * rotation - self.rotation).T + moved @ self.rotation.T
        displacement = change[:, :2] * (self.iod, -self.iod) + shift_px
        depth = point @ rotation[2]
        return displacement * self.weight[:, None], depth


def _inverse_2x2(matrix: Floats) -> Floats:
    """Inverse of a matrix's upper left corner; written out, as LAPACK costs more than the frame's whole mesh."""
    (a, b), (c, d) = matrix[:2, :2]
    return np.asarray(np.array([[d, -b], [-c, a]]) / (a * d - b * c))
