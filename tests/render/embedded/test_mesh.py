"""The mesh on the mean face, without tracker and pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.face.geometry import head_pose, mouth_aperture, mouth_width
from liveportrait_talker.face.tracked import TrackedFace
from liveportrait_talker.render.embedded.mesh import PortraitMesh
from liveportrait_talker.render.embedded.model import POINTS, face_model

SIZE = 150.0  # px between the eyes
MODEL = face_model()
FACE = TrackedFace(MODEL.mean_face * (1, -1, -1) * SIZE + (400, 400, 0))
MESH = PortraitMesh(FACE, MODEL)
STILL = np.zeros(2)


def moved(rotation_deg=(0, 0, 0), mouth=(0, 0, 0, 0, 0)):
    rotation = MESH.add_rotation(np.array(rotation_deg, float))
    return MESH.displace(rotation, np.array(mouth, float), STILL, 1.0)


def landmarks_after(displacement, depth):
    points = np.array(FACE.landmarks, dtype=np.float64)
    points[:POINTS, :2] += displacement[:POINTS]
    rest = MESH.canonical[:POINTS] @ MESH.rotation[2]
    points[:POINTS, 2] -= (depth[:POINTS] - (rest - (MESH.rotation @ [0, -0.35, -0.35])[2])) * SIZE
    return points


def test_no_motion_gives_zero_displacement():
    displacement, _ = moved()
    assert not displacement.any()


@pytest.mark.parametrize("opening", [0.02, 0.08, 0.15, 0.22])
def test_the_mouth_opens_by_the_control(opening):
    after = landmarks_after(*moved(mouth=(opening, 0, 0, 0, 0)))
    assert mouth_aperture(after) - FACE.aperture == pytest.approx(opening, rel=0.03)
    assert mouth_width(after) == pytest.approx(FACE.width, abs=0.02 * opening + 1e-3)


def test_spread_and_round_change_the_width_only():
    for mouth, change in (((0, 0.06, 0, 0, 0), 1), ((0, 0, 0.06, 0, 0), -1)):
        after = landmarks_after(*moved(mouth=mouth))
        assert mouth_width(after) - FACE.width == pytest.approx(change * 1.25 * 0.06, rel=0.06)
        assert mouth_aperture(after) == pytest.approx(FACE.aperture, abs=0.003)
    for mouth in ((0, 0, 0, 0.05, 0), (0, 0, 0, 0, 0.05)):
        after = landmarks_after(*moved(mouth=mouth))
        assert mouth_width(after) == pytest.approx(FACE.width, abs=0.003)
        assert mouth_aperture(after) == pytest.approx(FACE.aperture, abs=0.003)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [-8.0, 5.0, 10.0])
def test_the_head_turns_by_the_given_angles(axis, degrees):
    asked = np.zeros(3)
    asked[axis] = degrees
    change = head_pose(landmarks_after(*moved(asked))).rotation_deg - FACE.rotation_deg
    assert change[axis] == pytest.approx(degrees, rel=0.1)
    assert np.abs(np.delete(change, axis)).max() < 0.5


def test_the_mouth_does_not_move_nose_and_eyes():
    displacement, _ = moved(mouth=(0.2, 0.1, 0.1, 0.05, 0.05))
    above = np.flatnonzero(MODEL.mean_face[:POINTS, 1] > -0.2)
    assert not displacement[above].any()


@settings(max_examples=40)
@given(st.tuples(st.floats(-8, 8), st.floats(-3, 3), st.floats(-9, 9)), st.floats(0, 0.2))
def test_few_triangles_fold(rotation_deg, opening):
    displacement, _ = moved(rotation_deg, (opening, 0, 0, 0, 0))

    def areas(points):
        a, b, c = (points[MODEL.triangles[:, k]] for k in range(3))
        return (b - a)[:, 0] * (c - a)[:, 1] - (c - a)[:, 0] * (b - a)[:, 1]

    before, after = areas(MESH.position), areas(MESH.position + displacement)
    sizeable = np.abs(after) > np.median(np.abs(before)) / 5
    folded = (before < 0) & (after > 0) & sizeable
    in_the_face = (MODEL.triangles < POINTS).all(axis=1)
    assert (folded & in_the_face).sum() <= 4
    assert folded.sum() <= 24, "a lowered chin covers the first rings of the neck"


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(-0.8, 0.8), st.floats(-0.8, 0.8), st.floats(-0.3, 0.6))
def test_unproject_inverts_the_projection(pitch, yaw, x, y, depth):
    rotation = MESH.add_rotation(np.array([pitch, yaw, 3.0]))
    shift, scale = np.array([4.0, -7.0]), 1.02
    displacement, _ = MESH.displace(rotation, np.zeros(5), shift, scale)
    assert displacement.shape == MESH.position.shape
    pivot = np.array([0, -0.35, -0.35])
    point = scale * rotation @ (np.array([x, y, depth]) - pivot) + MESH.rotation @ pivot
    seen = (point[:2] * MESH.iod + FACE.pose.origin[:2]) * (1, -1) + shift
    assert MESH.unproject_at_depth(seen, depth, rotation, shift, scale) == pytest.approx((x, y), abs=1e-6)


def test_the_outermost_ring_does_not_move():
    displacement, _ = moved((8, 8, 8), (0.2, 0, 0, 0, 0))
    assert np.abs(displacement[POINTS + 8 * 36 : POINTS + 9 * 36]).max() < 1e-9
    assert np.abs(displacement[POINTS + 2 * 36 : POINTS + 3 * 36]).max() > 1
