import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.motion.rotation import degrees_from_matrix, matrix_from_degrees, swap_convention


def axis(turn: float, a: int, b: int) -> np.ndarray:
    """Rotation by `turn` degrees that carries axis a towards axis b."""
    m = np.eye(3)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    m[a, a] = m[b, b] = c
    m[b, a], m[a, b] = s, -s
    return m


def test_matrices_match_the_golden_ones(golden):
    g = golden("talker_reference_pose")
    np.testing.assert_allclose(matrix_from_degrees(g["euler_pyr_degrees"]), g["rotation"], atol=1e-6)


def test_matrix_is_the_product_the_specification_names():
    pitch, yaw, roll = 12.0, -33.0, 48.0
    product = axis(roll, 0, 1) @ axis(yaw, 2, 0) @ axis(pitch, 1, 2)
    np.testing.assert_allclose(matrix_from_degrees(np.array([pitch, yaw, roll])), product.T, atol=1e-12)


@given(st.tuples(st.floats(-179, 179), st.floats(-89, 89), st.floats(-179, 179)))
def test_degrees_survive_the_way_there_and_back(angles):
    degrees = np.array([[angles, angles]])
    matrix = matrix_from_degrees(degrees)
    assert matrix.shape == (1, 2, 3, 3)
    np.testing.assert_allclose(
        matrix @ np.swapaxes(matrix, -1, -2), np.broadcast_to(np.eye(3), matrix.shape), atol=1e-9
    )
    np.testing.assert_allclose(degrees_from_matrix(matrix), degrees, atol=1e-6)


@given(st.tuples(st.floats(-60, 60), st.floats(-60, 60), st.floats(-60, 60)))
def test_swapped_angles_are_the_same_turn_in_the_other_frame(angles):
    pitch, yaw, roll = angles
    meter = axis(roll, 0, 1) @ axis(yaw, 2, 0) @ axis(-pitch, 1, 2)  # tools/face_tracks.py
    flip = np.diag([1.0, -1.0, -1.0])
    theirs = matrix_from_degrees(swap_convention(np.array(angles))).T  # points as columns
    np.testing.assert_allclose(theirs, flip @ meter @ flip, atol=1e-9)
    np.testing.assert_array_equal(swap_convention(swap_convention(np.array(angles))), angles)
