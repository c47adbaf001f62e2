"""The structure between the lips: teeth, tongue and cavity as brightness, without colour.

Only its detail is used: what is finer than the fitted colours (`mouth_colours`), and where teeth are.
U, V as in `mouth_plane`; IOD (docs/method/embedded_renderer.md, Teeth).
"""

from __future__ import annotations

from typing import NamedTuple

from ...arrays import Floats32
from ...system.jit import kernel
from .shading import ramp, sample_curve


class TeethShape(NamedTuple):
    """What differs between the teeth of people."""

    gaps_left: Floats32
    """(6,) where the gaps between the teeth of the left half of a row lie, IOD from the middle."""
    gaps_right: Floats32
    edges: Floats32
    """(2, 6) by which the edges of the left and right teeth are lower, IOD."""


@kernel
def draw_teeth(
    out: Floats32,
    affine: Floats32,
    opening: tuple[float, float, Floats32, Floats32],
    jaw: float,
    pixel: float,
    shape: TeethShape,
) -> None:
    """Draw the structure between the lips.

    Args:
        out: (h, w, 2) output: brightness 0…1 of gamma-coded light, and opacity of the opening 0…1.
        affine: (2, 3) px → U, V.
        opening: left, right, upper, lower of `Opening`.
        jaw: how far the lower lip has moved from shut lips, ≤ 0.
        pixel: size of an image pixel.
        shape: of the teeth.
    """
    left, right, upper_edge, lower_edge = opening
    gaps_left, gaps_right, edges = shape
    height, width = out.shape[:2]
    columns = upper_edge.shape[0]
    per_u = (columns - 1) / max(right - left, 1e-6)
    soft = 0.006 + 0.8 * pixel  # edges are no sharper than the image
    for y in range(height):
        for x in range(width):
            out[y, x, 0] = out[y, x, 1] = 0.0
            u = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]
            v = affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]
            at = (u - left) * per_u
            if at <= 0 or at >= columns - 1:
                continue
            top, bottom = sample_curve(upper_edge, at), sample_curve(lower_edge, at)
            gap = top - bottom
            cover = min(max((top - v) / pixel + 0.5, 0.0), 1.0) * min(max((v - bottom) / pixel + 0.5, 0.0), 1.0)
            out[y, x, 1] = cover * min(max(gap / (1.5 * pixel), 0.0), 1.0)
            side = abs(u)
            depth_light = 0.62 + 0.38 * ramp(0.02, 0.13, gap)
            lip_shadow = 0.34 + 0.66 * ramp(0.0, 0.05, top - v)
            cheek_shadow = 1.0 - 0.78 * ramp(0.12, 0.26, side)
            # Index of the tooth, and the position across it.
            row = gaps_right if u > 0 else gaps_left
            tooth = 0
            while tooth < row.shape[0] - 2 and side > row[tooth + 1]:
                tooth += 1
            start, end = row[tooth], row[tooth + 1]
            across = min(max((side - start) / (end - start), 0.0), 1.0)
            from_gap = min(side - start, end - side) if side < end else 0.0
            rounding = 1.0 - 0.16 * (2 * across - 1) ** 4 - 0.05 * abs(2 * across - 1)
            crease = 1.0 - 0.14 * (1.0 - ramp(0.0, 0.0045 + soft * 0.5, max(from_gap, 0.0)))
            corner = 0.009 * (1.0 - ramp(0.0, 0.022, max(from_gap, 0.0)))
            # Layers from back to front: cavity, tongue, lower teeth, upper teeth.
            light = 0.08 * (0.55 + 0.9 * ramp(0.0, 0.12, top - v) * (1.0 - 0.5 * ramp(0.1, 0.25, side)))
            tongue_top = -0.025 + 0.5 * jaw - 1.1 * u * u
            on_tongue = ramp(-0.03, 0.02, tongue_top - v) * ramp(0.05, 0.12, gap)
            lit = 0.25 * (0.30 + 0.65 * ramp(0.0, 0.07, tongue_top - v)) * cheek_shadow * depth_light
            light += (lit * (1.0 - 0.18 * (1.0 - ramp(0.0, 0.02, side))) - light) * on_tongue
            lower_top = -0.018 + 0.92 * jaw + 0.48 * u * u
            on_lower = ramp(-soft, soft, lower_top - 0.6 * corner - v) * (1.0 - ramp(0.20, 0.24, side))
            on_lower *= ramp(0.08, 0.18, gap)
            lit = 0.45 * depth_light * cheek_shadow * rounding * crease
            light += (lit * (0.55 + 0.45 * ramp(0.0, 0.03, v - bottom)) - light) * on_lower
            edge = -0.022 + 0.44 * side * side + corner + edges[1 if u > 0 else 0, tooth]
            if tooth == 1:
                edge += 0.006  # the lateral incisors are shorter
            on_upper = ramp(-soft, soft, v - edge) * (1.0 - ramp(0.265, 0.295, side))
            if on_upper > 0:
                height_on = (v - edge) / 0.115
                lit = depth_light * lip_shadow * cheek_shadow * rounding * crease
                lit *= 0.86 + 0.14 * ramp(0.0, 0.22, height_on)  # the biting edge is translucent
                shine = 0.10 * ramp(0.25, 0.42, height_on) * (1 - ramp(0.42, 0.6, height_on))
                lit += shine * max(1.0 - abs(across - 0.42) * 4.0, 0.0) * depth_light * lip_shadow * cheek_shadow
                on_gum = ramp(0.95, 1.12, height_on + 0.12 * (2 * across - 1) ** 2)
                light += (lit * (1.0 - 0.75 * on_gum) - light) * on_upper
            out[y, x, 0] = max(light, 0.0) ** (1.0 / 2.2)
