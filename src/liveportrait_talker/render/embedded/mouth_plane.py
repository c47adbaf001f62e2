"""The plane of the teeth: coordinates in which the mouth interior of any frame is painted or read.

The plane is fixed to the skull, slightly behind the lips. U runs sideways from the middle of the source's mouth, V up
from the line where its lips close, both in IOD (docs/method/embedded_renderer.md, Mouth interior).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...arrays import Floats, Floats32
from ...face.geometry import rotation_degrees
from ...face.tracked import TrackedFace
from .curves import smooth_curve
from .mesh import PortraitMesh

COLUMNS = 96  # samples of a lip contour
_BEHIND_LIPS = 0.06


@dataclass(frozen=True, eq=False)
class Opening:
    """The opening between the inner lips in one frame."""

    left: float
    """U of the left mouth corner of the image."""
    right: float
    upper: Floats32
    """(COLUMNS,) V of the upper inner lip, U from `left` to `right`."""
    lower: Floats32
    yaw: float
    """Of the head in this frame, degrees."""
    pitch: float

    @property
    def contours(self) -> tuple[float, float, Floats32, Floats32]:
        """Left, right, upper and lower, as kernels take them."""
        return self.left, self.right, self.upper, self.lower

    @property
    def gap(self) -> float:
        """The largest distance between the lips, IOD."""
        return float((self.upper - self.lower).max())

    @property
    def half_width(self) -> float:
        """Half the distance between the corners, IOD."""
        return (self.right - self.left) / 2


class MouthPlane:
    """The plane of the teeth of one face."""

    def __init__(self, face: TrackedFace, mesh: PortraitMesh) -> None:
        model = mesh.model
        self._mesh = mesh
        lips = mesh.canonical[np.concatenate([model.upper_lip, model.lower_lip])]
        self._depth = float(np.median(lips[:, 2])) - _BEHIND_LIPS
        # In the source's pose.
        on_plane = self._unproject(mesh.position, mesh.rotation, np.zeros(2), 1.0)
        corners = on_plane[[model.upper_lip[0], model.upper_lip[-1]]]
        aperture = max(face.aperture, 0.0)
        self._centre = np.array([corners[:, 0].mean(), on_plane[13, 1] - 0.35 * aperture])
        self.lower_lip = float(on_plane[14, 1] - self._centre[1]) + 0.35 * aperture
        """V at which the lower lip of the source meets the upper one."""

    def _unproject(self, xy: Floats, rotation: Floats, shift_px: Floats, scale: float) -> Floats:
        return self._mesh.unproject_at_depth(xy, self._depth, rotation, shift_px, scale)

    def from_pixels(self, corner: Floats, rotation: Floats, shift_px: Floats, scale: float) -> Floats:
        """Return the affine (2, 3) from px of a part of the image that begins at `corner` to U, V.

        Args:
            corner: (2,) left, top, image px.
            rotation: (3, 3) of the head.
            shift_px: (2,) of the head.
            scale: of the head.
        """
        probes = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) + corner
        plane = self._unproject(probes, rotation, shift_px, scale) - self._centre
        return np.column_stack([plane[1] - plane[0], plane[2] - plane[0], plane[0]])

    def opening(self, moved: Floats, rotation: Floats, shift_px: Floats, scale: float) -> Opening:
        """Return the opening between the lips of moved vertices (V, 2), image px; arguments as for `from_pixels`."""
        model = self._mesh.model
        upper, lower = (
            self._unproject(moved[lip], rotation, shift_px, scale) - self._centre
            for lip in (model.upper_lip, model.lower_lip)
        )
        u = np.linspace(upper[0, 0], upper[-1, 0], COLUMNS)
        upper_v, lower_v = (smooth_curve(lip[:, 0], lip[:, 1], u, taps=7, min_step=1e-5) for lip in (upper, lower))
        pitch, yaw, _ = rotation_degrees(rotation)
        return Opening(
            left=float(u[0]),
            right=float(u[-1]),
            upper=upper_v.astype(np.float32),
            lower=lower_v.astype(np.float32),
            yaw=float(yaw),
            pitch=float(pitch),
        )
