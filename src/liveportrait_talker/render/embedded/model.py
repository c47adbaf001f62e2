"""The face mesh every portrait shares: topology, mouth basis, masks.

Numbers in `face_model.npz` were measured on talking clips with FaceMesh (shared/fixtures/mouth_basis.npz says how).
Canonical frame: x to the picture's right, y up, z to the viewer, unit IOD, origin between the eyes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from ...arrays import Floats, Integers
from ...motion.smoothing import smoothstep

POINTS = 468  # FaceMesh without the irises
PIVOT = np.array([0.0, -0.35, -0.35])  # the skull turns about this point above the neck
RINGS_TO_OUTLINE = 3
RINGS_TO_REST = 6
RINGS = RINGS_TO_OUTLINE + RINGS_TO_REST
# The lower lip drops 0.72 per unit of opening but FaceMesh, clinging to the picture's contour, gives the chin
# only 0.22: without this share the lip folds over the skin under it.
JAW_SHARE = 0.55 * 0.72
WIDTH_GAIN = 1.25  # the skin around the lips damps spread and round


@dataclass(frozen=True, eq=False)
class FaceModel:
    """Vertices: 0…467 FaceMesh's, then 9 rings of 36 outside the face oval from inside out, then two eye centres."""

    mean_face: Floats
    """(478, 3) canonical."""
    triangles: Integers
    """(N, 3) int32: the face, the rings, the closed eyes and the closed mouth."""
    face_oval: Integers
    """(36,) the oval's loop."""
    upper_lip: Integers
    """(11,) inner lip, mouth corner to mouth corner from the picture's left, upper side."""
    lower_lip: Integers
    """(11,) the same, lower side; shares both corners."""
    eye_openings: tuple[Integers, Integers]
    """(16,) loops of the eyes at the picture's left and right, from the outer corner, upper side first."""
    mouth_basis: Floats
    """(5, V, 3) displacement per unit of control (IOD)."""
    relief: Floats
    """(468,) how far the side rim and jaw are pulled back to the pivot's depth, 0…0.6."""

    def ring(self, k: int) -> Integers:
        """(36,) vertices of ring k, −1 = the oval itself."""
        if k < 0:
            return self.face_oval
        n = len(self.face_oval)
        return np.arange(POINTS + k * n, POINTS + (k + 1) * n)


@lru_cache(maxsize=1)
def face_model() -> FaceModel:
    """The shared model, read once."""
    with resources.files(__package__).joinpath("face_model.npz").open("rb") as file, np.load(file) as data:
        stored = {k: data[k] for k in data.files}
    mean_face = stored["mean_face"].astype(np.float64)
    oval, lips = stored["face_oval"], stored["inner_lips"]
    eyes = (stored["eye_opening_right"], stored["eye_opening_left"])
    upper, lower = lips[:11], np.concatenate([lips[:1], lips[:10:-1], lips[10:11]])
    basis = _shaped_basis(stored["mouth_basis"].astype(np.float64), mean_face[:POINTS])
    return FaceModel(
        mean_face=mean_face,
        triangles=_triangles(stored["triangles"], oval, upper, lower, eyes),
        face_oval=oval,
        upper_lip=upper,
        lower_lip=lower,
        eye_openings=eyes,
        mouth_basis=_extended_basis(basis, oval, mean_face),
        relief=_relief(mean_face[:POINTS], oval),
    )


def _triangles(
    face: Integers, oval: Integers, upper: Integers, lower: Integers, eyes: tuple[Integers, Integers]
) -> Integers:
    parts = [face]
    n = len(oval)
    loops = [oval] + [POINTS + k * n + np.arange(n) for k in range(RINGS)]
    for inner, outer in itertools.pairwise(loops):
        inner_next, outer_next = np.roll(inner, -1), np.roll(outer, -1)
        parts += [np.stack([inner, inner_next, outer], 1), np.stack([inner_next, outer_next, outer], 1)]
    for side, loop in enumerate(eyes):
        centre = np.full(len(loop), POINTS + RINGS * n + side)
        following = np.roll(loop, -1)
        pair = (following, loop) if side == 0 else (loop, following)  # the loops run in opposite senses
        parts.append(np.stack([*pair, centre], 1))
    parts += [np.stack([upper[:-1], lower[:-1], lower[1:]], 1), np.stack([upper[:-1], lower[1:], upper[1:]], 1)]
    triangles = np.concatenate(parts)
    distinct = (
        (triangles[:, 0] != triangles[:, 1])
        & (triangles[:, 1] != triangles[:, 2])
        & (triangles[:, 0] != triangles[:, 2])
    )
    return np.ascontiguousarray(triangles[distinct], np.int32)


def _shaped_basis(basis: Floats, face: Floats) -> Floats:
    """The measured basis, kept off the nose and eyes, with the jaw's share and the width gain."""
    x, y = face[:, 0], face[:, 1]
    shaped = basis * smoothstep(0.22, 0.32, -y)[:, None]  # from the nose base to just under it
    under_lip = smoothstep(0.70, 0.80, -y) * (1 - smoothstep(0.35, 0.65, np.abs(x)))
    drop = shaped[0, :, 1]
    shaped[0, :, 1] = np.where(under_lip > 0, np.minimum(drop, -JAW_SHARE * under_lip), drop)
    shaped[1:3] *= WIDTH_GAIN
    return shaped


def _extended_basis(basis: Floats, oval: Integers, mean_face: Floats) -> Floats:
    """Rings under the chin follow the jaw, a quarter of it at the head's outline and nothing at rest."""
    fade = np.concatenate(
        [
            np.linspace(1.0, 0.25, RINGS_TO_OUTLINE + 1)[1:],
            0.25 * (1 - smoothstep(0, 1, np.arange(1, RINGS_TO_REST + 1) / RINGS_TO_REST)),
        ]
    )
    rings = [basis[:, oval] * f for f in fade]
    eyes = np.zeros((len(basis), 2, 3))
    return np.concatenate([basis, *rings, eyes], axis=1)


def _relief(face: Floats, oval: Integers) -> Floats:
    """Where the cheek's rim and the jaw are flattened in depth, so that a turn does not fold them over the hair."""
    rim = face[oval][:, :2]
    rim = np.concatenate([rim + (np.roll(rim, -1, 0) - rim) * t for t in (0, 0.25, 0.5, 0.75)])
    distance = np.linalg.norm(face[:, None, :2] - rim[None], axis=-1).min(axis=1)
    near_rim = 1 - smoothstep(0.0, 0.3, distance)
    sideways = smoothstep(0.3, 0.6, np.abs(face[:, 0]))
    below_the_eyes = 1 - smoothstep(0.3, 0.6, face[:, 1])
    return np.asarray(0.6 * near_rim * sideways * below_the_eyes)
