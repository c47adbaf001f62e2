"""The rasteriser of the face mesh."""

from __future__ import annotations

import numpy as np

from liveportrait_talker.render.embedded.raster import rasterise


def test_a_back_face_does_not_cover_a_front_face():
    """Both triangles cover the window; the back face is nearer to the viewer."""
    corners = np.array([[-20, -20], [-20, 60], [60, -20]], np.float32)
    position = np.concatenate([corners, corners])
    shifts = np.repeat(np.array([[1, 0], [2, 0]], np.float32), 3, axis=0)
    depth = np.repeat(np.array([0, 5], np.float32), 3)
    triangles = np.array([[0, 1, 2], [3, 5, 4]])  # y points down: the first has a negative area
    maps = [np.empty((4, 4), np.float32) for _ in range(3)]
    rasterise(0, 0, 0, 0, 1, position, shifts, depth, triangles, np.ones(4, np.float32), np.ones(4, np.float32), *maps)
    np.testing.assert_allclose(maps[0], np.arange(4) - np.ones((4, 1)))
