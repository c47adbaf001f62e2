"""The face mesh that all portraits share: topology, mouth basis, masks.

`face_model.npz` was measured on talking clips with FaceMesh (docs/method/embedded_renderer.md, Face mesh).
Canonical frame: x to the right of the image, y up, z towards the viewer, unit IOD, the origin of MediaPipe's canonical
face model, 0.30 IOD below the line between the eyes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from ...arrays import Floats, Integers
from ...motion.smoothing import smoothstep

POINTS = 468  # landmarks of FaceMesh without the irises
PIVOT = np.array([0.0, -0.35, -0.35])  # the head turns about this point in the skull, above the neck
UPPER_LID = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
"""Landmarks of the upper lids of the left and right eye, left to right in the image."""
RINGS_TO_OUTLINE = 3
RINGS_TO_REST = 6
RINGS = RINGS_TO_OUTLINE + RINGS_TO_REST
# The lower lip drops 0.72 per unit of opening, but FaceMesh follows the contour in the image and gives the chin
# only 0.22. Without this minimum the lip folds over the skin under it.
JAW_SHARE = 0.55 * 0.72
WIDTH_GAIN = 1.25  # compensates for the skin around the lips, which damps spread and round


@dataclass(frozen=True, eq=False)
class FaceModel:
    """Vertices: 468 FaceMesh landmarks, 9 rings of 36 outside the face oval from inside out, two eye centres."""

    mean_face: Floats
    """(478, 3) canonical."""
    triangles: Integers
    """(N, 3) int32: face, rings, eye openings and mouth opening."""
    face_oval: Integers
    """(36,) loop."""
    upper_lip: Integers
    """(11,) upper inner lip from the left mouth corner of the image to the right."""
    lower_lip: Integers
    """(11,) lower inner lip, including the same two corners."""
    eye_openings: tuple[Integers, Integers]
    """(16,) loops of the left and right eye of the image, from the outer corner, upper side first."""
    mouth_basis: Floats
    """(5, V, 3) displacement in IOD per unit of mouth control."""
    relief: Floats
    """(468,) share by which depth at the rim of the face is pulled to the pivot's, 0…0.6."""


@lru_cache(maxsize=1)
def face_model() -> FaceModel:
    """Return the shared model; it is read once."""
    with resources.files(__package__).joinpath("face_model.npz").open("rb") as file, np.load(file) as data:
        stored = {k: data[k] for k in data.files}
    mean_face = stored["mean_face"].astype(np.float64)
    oval, lips = stored["face_oval"], stored["inner_lips"]
    eyes = (stored["eye_opening_right"], stored["eye_opening_left"])
    upper, lower = lips[:11], np.concatenate([lips[:1], lips[:10:-1], lips[10:11]])
    basis = _adjust_basis(stored["mouth_basis"].astype(np.float64), mean_face[:POINTS])
    return FaceModel(
        mean_face=mean_face,
        triangles=_build_triangles(stored["triangles"], oval, upper, lower, eyes),
        face_oval=oval,
        upper_lip=upper,
        lower_lip=lower,
        eye_openings=eyes,
        mouth_basis=_extend_basis(basis, oval, mean_face),
        relief=_compute_relief(mean_face[:POINTS], oval),
    )


def _build_triangles(
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
        pair = (following, loop) if side == 0 else (loop, following)  # the loops have opposite orientations
        parts.append(np.stack([*pair, centre], 1))
    parts += [np.stack([upper[:-1], lower[:-1], lower[1:]], 1), np.stack([upper[:-1], lower[1:], upper[1:]], 1)]
    triangles = np.concatenate(parts)
    distinct = (
        (triangles[:, 0] != triangles[:, 1])
        & (triangles[:, 1] != triangles[:, 2])
        & (triangles[:, 0] != triangles[:, 2])
    )
    return np.ascontiguousarray(triangles[distinct], np.int32)


def _adjust_basis(basis: Floats, face: Floats) -> Floats:
    """Mask the measured basis on nose and eyes; apply the jaw share and the width gain."""
    x, y = face[:, 0], face[:, 1]
    adjusted = basis * smoothstep(0.22, 0.32, -y)[:, None]  # from the nose base to just under it
    under_lip = smoothstep(0.70, 0.80, -y) * (1 - smoothstep(0.35, 0.65, np.abs(x)))
    drop = adjusted[0, :, 1]
    adjusted[0, :, 1] = np.where(under_lip > 0, np.minimum(drop, -JAW_SHARE * under_lip), drop)
    adjusted[1:3] *= WIDTH_GAIN
    return adjusted


def _extend_basis(basis: Floats, oval: Integers, mean_face: Floats) -> Floats:
    """Extend the basis to the rings: it falls to a quarter at the outline of the head, and to 0 at the last ring."""
    fade = np.concatenate(
        [
            np.linspace(1.0, 0.25, RINGS_TO_OUTLINE + 1)[1:],
            0.25 * (1 - smoothstep(0, 1, np.arange(1, RINGS_TO_REST + 1) / RINGS_TO_REST)),
        ]
    )
    rings = [basis[:, oval] * f for f in fade]
    eyes = np.zeros((len(basis), 2, 3))
    return np.concatenate([basis, *rings, eyes], axis=1)


def _compute_relief(face: Floats, oval: Integers) -> Floats:
    """Compute the flattening of cheek rim and jaw, without which they would fold over the hair when the head turns."""
    rim = face[oval][:, :2]
    rim = np.concatenate([rim + (np.roll(rim, -1, 0) - rim) * t for t in (0, 0.25, 0.5, 0.75)])
    distance = np.linalg.norm(face[:, None, :2] - rim[None], axis=-1).min(axis=1)
    near_rim = 1 - smoothstep(0.0, 0.3, distance)
    sideways = smoothstep(0.3, 0.6, np.abs(face[:, 0]))
    below_the_eyes = 1 - smoothstep(0.3, 0.6, face[:, 1])
    return np.asarray(0.6 * near_rim * sideways * below_the_eyes)
