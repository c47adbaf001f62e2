"""Rotation matrices and sign conventions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.motion.rotation import matrix_from_degrees, swap_convention


def axis(turn: float, a: int, b: int) -> np.ndarray:
    """Rotation by `turn` degrees from axis a towards axis b."""
    m = np.eye(3)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    m[a, a] = m[b, b] = c
    m[b, a], m[a, b] = s, -s
    return m


def test_goldens(golden):
    g = golden("talker_reference_pose")
    np.testing.assert_allclose(matrix_from_degrees(g["euler_pyr_degrees"]), g["rotation"], atol=1e-6)


def test_matrix_is_the_documented_product():
    pitch, yaw, roll = 12.0, -33.0, 48.0
    product = axis(roll, 0, 1) @ axis(yaw, 2, 0) @ axis(pitch, 1, 2)
    np.testing.assert_allclose(matrix_from_degrees(np.array([pitch, yaw, roll])), product.T, atol=1e-12)


@given(st.tuples(st.floats(-179, 179), st.floats(-89, 89), st.floats(-179, 179)))
def test_matrices_are_rotations(angles):
    degrees = np.array([[angles, angles]])
    matrix = matrix_from_degrees(degrees)
    assert matrix.shape == (1, 2, 3, 3)
    np.testing.assert_allclose(
        matrix @ np.swapaxes(matrix, -1, -2), np.broadcast_to(np.eye(3), matrix.shape), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(matrix), 1)


@given(st.tuples(st.floats(-60, 60), st.floats(-60, 60), st.floats(-60, 60)))
def test_both_conventions_are_the_same_turn(angles):
    pitch, yaw, roll = angles
    motion = axis(roll, 0, 1) @ axis(yaw, 2, 0) @ axis(-pitch, 1, 2)
    flip = np.diag([1.0, -1.0, -1.0])
    liveportrait = matrix_from_degrees(swap_convention(np.array(angles))).T  # points as columns
    np.testing.assert_allclose(liveportrait, flip @ motion @ flip, atol=1e-9)
    np.testing.assert_array_equal(swap_convention(swap_convention(np.array(angles))), angles)
