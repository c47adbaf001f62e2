"""The rasteriser of the face mesh, and its backward map."""

from __future__ import annotations

import numpy as np
import pytest

from liveportrait_talker.render.embedded.bands import Outline
from liveportrait_talker.render.embedded.raster import BackwardMap

NO_MOTION = np.zeros((3, 2), np.float32)
CORNERS = np.array([[-200, -200], [-200, 600], [600, -200]], np.float32)


def backward_map(position, shifts, depth, triangles, *, step=1, window=(0, 0, 4, 4), size=4):
    weights, lift = np.ones(size, np.float32), np.zeros(size, np.float32)
    mesh = position, shifts, depth, triangles
    return BackwardMap(window, step, (0, 0), 1, *mesh, weights, weights, each_axis=False, lift=lift)


def test_a_back_face_does_not_cover_a_front_face():
    """Both triangles cover the window; the back face is nearer to the viewer."""
    position = np.concatenate([CORNERS, CORNERS])
    shifts = np.repeat(np.array([[1, 0], [2, 0]], np.float32), 3, axis=0)
    depth = np.repeat(np.array([0, 5], np.float32), 3)
    triangles = np.array([[0, 1, 2], [3, 5, 4]])  # y points down: the first has a negative area
    map_x = backward_map(position, shifts, depth, triangles).of((0, 0, 4, 4))[0]
    np.testing.assert_allclose(map_x[1:-1, 1:-1], np.arange(4) - np.ones((4, 1)))


@pytest.mark.parametrize("step", [2, 3])
def test_a_coarse_grid_gives_the_same_map_where_the_motion_is_linear(step):
    shifts = np.array([[1, 0], [3, 2], [2, 4]], np.float32)
    window, band = (5, 3, 64, 51), (5 + 6 * 3, 3 + 6 * 2, 58, 47)
    mesh = CORNERS, shifts, np.zeros(3, np.float32), np.array([[0, 1, 2]])
    fine, coarse = (backward_map(*mesh, step=s, window=window, size=70).of(band) for s in (1, step))
    for one, other in zip(fine, coarse, strict=True):
        assert one.shape == (band[3] - band[1] + 2, band[2] - band[0] + 2)
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize("step", [1, 2, 3])
def test_what_does_not_move_maps_to_itself(step):
    mesh = CORNERS, NO_MOTION, np.zeros(3, np.float32), np.array([[0, 1, 2]])
    map_x, map_y, moved = backward_map(*mesh, step=step, window=(2, 1, 40, 33), size=50).of((2, 1, 40, 33))
    np.testing.assert_allclose(map_x, np.broadcast_to(np.arange(1, 41), map_x.shape), atol=1e-5)
    np.testing.assert_allclose(map_y, np.broadcast_to(np.arange(34)[:, None], map_y.shape), atol=1e-5)
    assert not moved.any()


def test_bands_cover_all_that_may_show():
    shown = np.zeros((300, 400), bool)
    shown[120:160, 150:180] = True
    window, reach = (3, 5, 399, 290), 7.5
    covered = np.zeros(shown.shape, int)
    for left, top, right, bottom in Outline(shown).bands(window, reach, 2):
        assert (left - window[0]) % 2 == (top - window[1]) % 2 == 0
        covered[top:bottom, left:right] += 1
    assert covered.max() == 1 and (covered[112:168, 142:188] == 1).all()
    assert covered.sum() < shown.size / 2
    assert not list(Outline(np.zeros((300, 400), bool)).bands(window, reach, 2))
