import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.face.geometry import (
    head_pose,
    interocular_distance,
    mouth_aperture,
    mouth_width,
    rotation_matrix,
)
from liveportrait_talker.face.ratios import eye_ratios
from liveportrait_talker.render.embedded.model import face_model

ANGLES = st.tuples(st.floats(-30, 30), st.floats(-40, 40), st.floats(-40, 40))


def rotated_face(degrees, scale=120.0, shift=(200.0, 300.0, 0.0)):
    points = face_model().mean_face @ rotation_matrix(np.array(degrees)).T
    return points * (1, -1, -1) * scale + shift


@given(ANGLES)
def test_pose_is_recovered(degrees):
    at_rest = head_pose(rotated_face((0, 0, 0))).rotation
    pose = head_pose(rotated_face(degrees))
    assert pose.rotation == pytest.approx(rotation_matrix(np.array(degrees)) @ at_rest, abs=1e-6)
    assert rotation_matrix(pose.rotation_deg) == pytest.approx(pose.rotation, abs=1e-6)


@pytest.mark.parametrize(("axis", "moved"), [(0, "up"), (1, "right"), (2, "counter-clockwise")])
def test_signs_of_angles(axis, moved):
    degrees = np.zeros(3)
    degrees[axis] = 10
    before, after = rotated_face((0, 0, 0)), rotated_face(degrees)
    if moved == "up":
        assert after[4, 1] < before[4, 1]
    elif moved == "right":
        assert after[4, 0] > before[4, 0]
    else:
        assert after[263, 1] < before[263, 1] and after[33, 1] > before[33, 1]
    assert head_pose(after).rotation_deg[axis] > head_pose(before).rotation_deg[axis] + 9


@given(ANGLES, st.floats(30, 500))
def test_the_mouth_does_not_depend_on_pose_or_size(degrees, scale):
    plain, moved = rotated_face((0, 0, 0)), rotated_face(degrees, scale)
    assert mouth_aperture(moved) == pytest.approx(mouth_aperture(plain), abs=1e-6)
    assert mouth_width(moved) == pytest.approx(mouth_width(plain), abs=1e-6)
    assert interocular_distance(moved) == pytest.approx(scale, rel=0.02)


@given(st.floats(-40, 40), st.floats(30, 500))
def test_eyes_do_not_depend_on_roll_or_size(roll, scale):
    plain, moved = rotated_face((0, 0, 0)), rotated_face((0, 0, roll), scale)
    assert eye_ratios(moved) == pytest.approx(eye_ratios(plain), abs=1e-6)
    assert 0.2 < eye_ratios(plain).min() < 0.45
