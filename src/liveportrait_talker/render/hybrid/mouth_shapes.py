"""The mouths that the networks draw: nine centres of what the signal driver produces, and a wide one.

Chosen by `scripts/choose_mouth_shapes.py`. Source: docs/method/hybrid_renderer.md, Shapes.
"""

from __future__ import annotations

MOUTH_SHAPES = (
    (0.045, 0.015, 0.006, 0.007, 0.003),
    (0.046, 0.002, 0.037, -0.014, -0.007),
    (0.073, 0.012, 0.005, -0.004, -0.003),
    (0.079, 0.014, 0.007, 0.022, 0.015),
    (0.087, 0.002, 0.030, -0.020, -0.009),
    (0.106, 0.015, 0.004, -0.007, -0.003),
    (0.112, 0.020, 0.002, 0.022, 0.016),
    (0.136, 0.016, 0.005, -0.014, -0.006),
    (0.171, 0.026, 0.002, -0.021, -0.011),
    (0.200, 0.034, 0.000, -0.024, -0.015),
)
"""Columns as in `MouthControls`, IOD; the aperture is absolute."""
