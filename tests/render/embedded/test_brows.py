"""Brows and widened eyes: which landmarks they move."""

from __future__ import annotations

import numpy as np
import pytest

from liveportrait_talker.face.tracked import TrackedFace
from liveportrait_talker.render.embedded.brows import upper_face_basis
from liveportrait_talker.render.embedded.limits import MAX_BROW, MAX_EYE_WIDENING, Limits
from liveportrait_talker.render.embedded.mesh import PortraitMesh
from liveportrait_talker.render.embedded.model import POINTS, face_model

MODEL = face_model()
BASIS = upper_face_basis(MODEL)
BROW = {0: (105, 66, 52), 1: (334, 296, 282)}
STILL_POINTS = (33, 133, 145, 159, 386, 374, 263, 1, 2, 13, 14, 61, 291, 152)  # eyes, nose, mouth, chin


def test_brows_move_independently_and_add_up():
    for side in (0, 1):
        assert (BASIS[side, list(BROW[side]), 1] > 0.85).all()
        assert np.abs(BASIS[side, list(BROW[1 - side])]).max() < 0.15
        assert not BASIS[side, list(STILL_POINTS)].any()
        assert not BASIS[side, POINTS:].any()  # no vertex outside the face
    between = BASIS[0, 9, 1] + BASIS[1, 9, 1]
    assert between == pytest.approx(1.0, abs=0.1)
    top = BASIS[:2, 10, 1].sum()
    assert top < 0.3  # the hairline hardly moves


def test_left_and_right_are_mirror_images():
    face = MODEL.mean_face[:POINTS]
    mirrored = face * (-1, 1, 1)
    pair = np.linalg.norm(face[:, None] - mirrored[None], axis=-1).argmin(axis=1)
    for a, b in ((0, 1), (4, 5)):
        np.testing.assert_allclose(BASIS[a, :POINTS], BASIS[b][pair], atol=0.02)


def test_widening_moves_the_upper_lid():
    assert BASIS[4, 159, 1] > 0.09 and not BASIS[4, [145, 33, 133, 105]].any()
    assert BASIS[5, 386, 1] > 0.09


def test_inner_ends_rise_and_come_together_without_the_outer_ones():
    assert (BASIS[2, [107, 336], 1] > 0.85).all() and np.abs(BASIS[2, [70, 300]]).max() < 0.1
    left, right = BASIS[3, [107, 336], 0]  # x, to the image's right
    assert left > 0.5 and right < -0.5 and not BASIS[3, :, 1].any()


def test_displacements_are_limited():
    points = MODEL.mean_face * (100, -100, -100) + (256, 256, 0)
    face = TrackedFace(points)
    mesh, limits = PortraitMesh(face, MODEL), Limits.of(face)

    def moved(brows, blink=(0, 0)) -> np.ndarray:
        expression = limits.limit_expression(np.array(brows, float), 0.0, np.array(blink, float), 0.0)
        displacement, _ = mesh.displace(mesh.rotation, np.zeros(5), np.zeros(2), 1.0, expression)
        return displacement

    assert not moved((0, 0)).any() and not moved((0, 0), blink=(1, 0.5)).any()  # blinks are drawn in the texture
    up = moved((0.08, 0))
    assert up[105, 1] == pytest.approx(-8, abs=1) and abs(up[334, 1]) < 1.5
    assert np.abs(moved((5, -5))[:, 1]).max() <= 100 * MAX_BROW + 1e-3
    assert moved((0, 0), blink=(-5, 0))[159, 1] == pytest.approx(-100 * MAX_EYE_WIDENING * 0.13, rel=0.2)
