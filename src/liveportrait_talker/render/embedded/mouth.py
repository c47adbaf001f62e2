"""The mouth interior: cavity, tongue and teeth, painted behind the lips.

A warp cannot add teeth. They are painted in linear light on a plane that is fixed to the skull, slightly behind the
lips, in colours taken from the skin, lips and eye whites of the image. Lengths are IOD; U runs sideways from the middle
of the mouth, V up from the line where the lips close (docs/method/embedded_renderer.md, Mouth interior).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ...arrays import Floats, Floats32, Floats64, Image, Integers
from ...face.tracked import TrackedFace
from ...motion.smoothing import smoothstep
from ...system.jit import kernel
from .curves import smooth_curve
from .fill import fill_harmonic
from .mesh import PortraitMesh
from .shading import ramp, sample_bilinear
from .tones import GAMMA, LUMA, MouthTones

_BEHIND_LIPS = 0.06
_COLUMNS = 96  # samples of the lip curves across the mouth
_SPILL = 0.045  # IOD around FaceMesh's lip line in which teeth are searched
_TEETH_APERTURES = (0.015, 0.04)  # IOD; source apertures over which the source's own teeth are faded in


class _View(NamedTuple):
    """Geometry of the mouth in one frame."""

    affine: Floats32
    """(2, 3) px of the painted part → U, V."""
    u_first: float
    u_last: float
    upper_edge: Floats32
    """(columns,) V of the upper lip, U from `u_first` to `u_last`."""
    lower_edge: Floats32
    jaw: float
    """How far the lower lip has moved, ≤ 0."""
    fade: float
    """Opacity, 0…1."""
    pixel: np.float32
    """Size of an image pixel."""


class _Colours(NamedTuple):
    """Linear light, see `MouthTones`."""

    teeth: Floats32
    cavity: Floats32
    tongue: Floats32
    gum: Floats32
    sideways: np.float32
    grain: Floats32


class _TeethShape(NamedTuple):
    """See `MouthTones`."""

    gaps_left: Floats32
    gaps_right: Floats32
    edges: Floats32


class _Photo(NamedTuple):
    """The mouth interior in the source image."""

    pixels: Image
    to_pixels: Floats32
    """(2, 3) affine from (U, V, 1) to x, y in `pixels`."""
    u_range: tuple[np.float32, np.float32]
    edges: Floats32
    """(2, columns) V of the upper and lower lip in the source."""
    weight: np.float32
    """0…1, opacity."""


class MouthInterior:
    """The mouth interior of one portrait."""

    def __init__(
        self, image: Image, face: TrackedFace, mesh: PortraitMesh, tones: MouthTones, *, all_painted: bool
    ) -> None:
        """Prepare the interior.

        Args:
            image: (H, W, 3) the source.
            face: its face.
            mesh: of `face`.
            tones: colours.
            all_painted: do not use the interior that the image shows, because it changes in a video.
        """
        model = mesh.model
        self._mesh = mesh
        self._tones = tones
        self._all_painted = all_painted
        lips = mesh.canonical[np.concatenate([model.upper_lip, model.lower_lip])]
        self._depth = float(np.median(lips[:, 2])) - _BEHIND_LIPS
        # The line where the lips close, on the plane, in the source's pose.
        on_plane = self._unproject_to_plane(mesh.position, mesh.rotation, np.zeros(2), 1.0)
        corners = on_plane[[model.upper_lip[0], model.upper_lip[-1]]]
        self._aperture = max(face.aperture, 0.0)
        self._centre = np.array([corners[:, 0].mean(), on_plane[13, 1] - 0.35 * self._aperture])
        self._lower_lip = float(on_plane[14, 1] - self._centre[1])
        self._photo, self._photo_teeth = self._read_photo(image, 0.0 if all_painted else face.aperture)

    def _read_photo(self, image: Image, aperture: float) -> tuple[_Photo, Floats32]:
        """Return the mouth interior in the source image, weight 0 where no teeth show, and the colour (3,) of teeth."""
        nothing = np.zeros((2, 3), np.float32)
        none = _Photo(np.zeros((2, 2, 3), np.uint8), nothing, (np.float32(0), np.float32(1)), nothing, np.float32(0))
        black = np.zeros(3, np.float32)
        mesh, still = self._mesh, np.zeros(2)
        if aperture < _TEETH_APERTURES[0]:
            return none, black
        u, upper, lower = self.lip_curves(mesh.position, mesh.rotation, still, 1.0)
        loop = mesh.position[np.concatenate([mesh.model.upper_lip, mesh.model.lower_lip[::-1]])]
        left, top = np.maximum(np.floor(loop.min(axis=0)).astype(int) - 3, 0)
        right, bottom = np.minimum(np.ceil(loop.max(axis=0)).astype(int) + 4, image.shape[1::-1])
        if right - left < 4 or bottom - top < 4:
            return none, black
        pixels = np.ascontiguousarray(image[top:bottom, left:right])
        mask = np.zeros(pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint(loop - (left, top)).astype(np.int32)], 1)
        if not mask.any():  # the lips lie on the border of the image
            return none, black
        linear = (pixels[mask > 0] / 255.0) ** GAMMA
        luma = linear @ LUMA
        bright = float(np.percentile(luma, 75))
        skin = self._tones.skin
        weight = float(smoothstep(0.30, 0.55, np.array(bright / max(float(skin @ LUMA), 1e-4))))
        teeth: Floats32 = np.median(linear[luma >= bright], axis=0).astype(np.float32)
        # Pixels that are redder than the skin are lip or tongue.
        redness = (teeth[0] / max(teeth[1], 1e-4)) / (skin[0] / max(skin[1], 1e-4))
        weight *= 1 - float(smoothstep(0.95, 1.1, np.array(redness)))
        weight *= float(smoothstep(*_TEETH_APERTURES, np.array(aperture)))
        forward = np.eye(3)
        forward[:2] = self._pixel_affine(np.array([left, top]), mesh.rotation, still, 1.0)
        to_pixels = np.linalg.inv(forward)[:2].astype(np.float32)
        u_range = np.float32(u[0]), np.float32(u[-1])
        edges = np.stack([upper, lower]).astype(np.float32)
        return _Photo(pixels, to_pixels, u_range, edges, np.float32(weight)), teeth

    def _pixel_affine(self, corner: Integers, rotation: Floats, shift_px: Floats, scale: float) -> Floats:
        """Return the affine (2, 3) from px of a part of the image that begins at `corner` to U, V."""
        probes: Floats64 = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) + corner
        plane = self._unproject_to_plane(probes, rotation, shift_px, scale) - self._centre
        return np.column_stack([plane[1] - plane[0], plane[2] - plane[0], plane[0]])

    def _fade(self, mouth: Floats) -> float:
        """Return the opacity of the painting, 0…1: 0 for a still image whose mouth is at rest."""
        if self._all_painted:
            return 1.0
        # A mouth that is wide open in the source keeps its own interior.
        own = float(smoothstep(0.14, 0.20, np.array(self._aperture)))
        change = abs(mouth[0]) + 0.5 * abs(mouth[4])
        return (1 - own) * float(smoothstep(0.0, 0.03 + 0.4 * self._aperture, np.array(change)))

    def _unproject_to_plane(self, xy: Floats, rotation: Floats, shift_px: Floats, scale: float) -> Floats:
        """Return canonical x, y on the plane of the teeth for image px (…, 2)."""
        return self._mesh.unproject_at_depth(xy, self._depth, rotation, shift_px, scale)

    def paint(
        self,
        window: Image,
        corner: tuple[int, int],
        moved: Floats,
        rotation: Floats,
        shift_px: Floats,
        scale: float,
        mouth: Floats,
    ) -> None:
        """Paint the interior into a part of the image.

        Args:
            window: (h, w, 3), changed in place.
            corner: left, top of `window`, image px.
            moved: (V, 2) moved vertices, image px.
            rotation: (3, 3) of the head.
            shift_px: (2,) of the head.
            scale: of the head.
            mouth: (5,) controls.
        """
        fade = self._fade(mouth)
        if fade <= 0:
            return
        model = self._mesh.model
        u, upper_edge, lower_edge = self.lip_curves(moved, rotation, shift_px, scale)
        if (upper_edge - lower_edge).max() < 0.002:
            return
        outline = np.concatenate([moved[model.upper_lip], moved[model.lower_lip]])
        low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 2 - corner, 0)
        high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 3 - corner, window.shape[1::-1])
        if (high <= low).any():
            return
        part = window[low[1] : high[1], low[0] : high[0]]
        affine = self._pixel_affine(low + corner, rotation, shift_px, scale)
        low_lip = float(lower_edge[_COLUMNS // 2]) - self._lower_lip - 0.35 * self._aperture
        view = _View(
            affine.astype(np.float32),
            float(u[0]),
            float(u[-1]),
            upper_edge.astype(np.float32),
            lower_edge.astype(np.float32),
            min(low_lip, 0.0),
            fade,
            np.float32(1.0 / self._mesh.iod),
        )
        t = self._tones
        teeth = t.teeth if self._photo.weight <= 0 else self._photo_teeth
        colours = _Colours(teeth, t.cavity, t.tongue, t.gum, t.sideways, t.grain)
        shape = _TeethShape(t.gaps_left, t.gaps_right, t.edges)
        _paint(part, tuple(view), tuple(colours), tuple(shape), tuple(self._photo))  # Numba dispatches these faster

    def lip_curves(
        self, moved: Floats, rotation: Floats, shift_px: Floats, scale: float
    ) -> tuple[Floats, Floats, Floats]:
        """Return U (columns,) and V of the upper and lower inner lip there; arguments as for `paint`."""
        model = self._mesh.model
        upper, lower = (
            self._mesh.unproject_at_depth(moved[lip], self._depth, rotation, shift_px, scale) - self._centre
            for lip in (model.upper_lip, model.lower_lip)
        )
        u = np.linspace(upper[0, 0], upper[-1, 0], _COLUMNS)
        upper_v, lower_v = (smooth_curve(lip[:, 0], lip[:, 1], u, taps=7, min_step=1e-5) for lip in (upper, lower))
        return u, upper_v, lower_v


def remove_spilled_teeth(image: Image, face: TrackedFace, mesh: PortraitMesh, tones: MouthTones) -> Image:
    """Return a video frame in which teeth near the lip line are replaced by lip.

    FaceMesh's lip line is not exact. Teeth on the wrong side of it would move with the lip and look like a white stripe
    on a closing mouth. The opening, and pixels around it that look like teeth, are filled from the lips.
    """
    if face.aperture < _TEETH_APERTURES[0]:
        return image
    reach = max(2, round(_SPILL * mesh.iod))
    loop = mesh.position[np.concatenate([mesh.model.upper_lip, mesh.model.lower_lip[::-1]])]
    left, top = np.maximum(np.floor(loop.min(axis=0)).astype(int) - 3 * reach, 0)
    right, bottom = np.minimum(np.ceil(loop.max(axis=0)).astype(int) + 3 * reach + 1, image.shape[1::-1])
    if right - left < 8 or bottom - top < 8:
        return image
    patch = image[top:bottom, left:right]
    opening = np.zeros(patch.shape[:2], np.uint8)
    cv2.fillPoly(opening, [np.rint(loop - (left, top)).astype(np.int32)], 1)
    size = 2 * reach + 1
    around = cv2.dilate(opening, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    linear = (patch / 255.0) ** GAMMA
    red, green = linear[..., 0], np.maximum(linear[..., 1], 1e-3)
    lip_redness = tones.lip[0] / max(tones.lip[1], 1e-3)
    toothy = (linear @ LUMA > 1.15 * float(tones.lip @ LUMA)) & (red / green < 0.85 * lip_redness)
    hole = (opening > 0) | ((around > 0) & (cv2.dilate(toothy.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0))
    cleaned = image.copy()
    cleaned[top:bottom, left:right] = np.rint(fill_harmonic(patch.astype(np.float32), hole)).clip(0, 255)
    return cleaned


@kernel
def _paint(image: Image, view: _View, colours: _Colours, teeth_shape: _TeethShape, photo: _Photo) -> None:
    affine, u_first, u_last, upper_edge, lower_edge, jaw, fade, pixel = view
    teeth, cavity, tongue, gum, sideways, grain = colours
    gaps_left, gaps_right, edges = teeth_shape
    photo_pixels, to_photo, photo_u, photo_edges, photo_weight = photo
    height, width = image.shape[:2]
    columns = upper_edge.shape[0]
    per_u = (columns - 1) / max(u_last - u_first, 1e-6)
    soft = 0.006 + 0.8 * pixel  # edges of the painting are no sharper than the image
    for y in range(height):
        for x in range(width):
            u = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]
            v = affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]
            at = (u - u_first) * per_u
            if at <= 0 or at >= columns - 1:
                continue
            i = int(at)
            w = at - i
            top = upper_edge[i] * (1 - w) + upper_edge[i + 1] * w
            bottom = lower_edge[i] * (1 - w) + lower_edge[i + 1] * w
            gap = top - bottom
            cover = min(max((top - v) / pixel + 0.5, 0.0), 1.0) * min(max((v - bottom) / pixel + 0.5, 0.0), 1.0)
            cover *= min(max(gap / (1.5 * pixel), 0.0), 1.0) * fade
            if cover <= 0.003:
                continue
            side = abs(u)
            depth_light = 0.62 + 0.38 * ramp(0.02, 0.13, gap)
            lip_shadow = 0.34 + 0.66 * ramp(0.0, 0.05, top - v)
            cheek_shadow = 1.0 - 0.78 * ramp(0.12, 0.26, side)
            tilt = max(1.0 + sideways * u, 0.3)
            # Index of the tooth, and the position across it.
            row = gaps_right if u > 0 else gaps_left
            tooth = 0
            while tooth < row.shape[0] - 2 and side > row[tooth + 1]:
                tooth += 1
            start, end = row[tooth], row[tooth + 1]
            across = min(max((side - start) / (end - start), 0.0), 1.0)
            from_gap = min(side - start, end - side) if side < end else 0.0
            rounding = 1.0 - 0.16 * (2 * across - 1) ** 4 - 0.05 * abs(2 * across - 1)
            crease = 1.0 - 0.20 * (1.0 - ramp(0.0, 0.0045 + soft * 0.5, max(from_gap, 0.0)))
            corner = 0.009 * (1.0 - ramp(0.0, 0.022, max(from_gap, 0.0)))
            # Layers from back to front: cavity, tongue, lower teeth, upper teeth.
            deep = 0.55 + 0.9 * ramp(0.0, 0.12, top - v) * (1.0 - 0.5 * ramp(0.1, 0.25, side))
            r, g, b = cavity[0] * deep, cavity[1] * deep, cavity[2] * deep
            tongue_top = -0.025 + 0.5 * jaw - 1.1 * u * u
            on_tongue = ramp(-0.03, 0.02, tongue_top - v) * ramp(0.05, 0.12, gap)
            if on_tongue > 0:
                lit = (0.30 + 0.65 * ramp(0.0, 0.07, tongue_top - v)) * cheek_shadow * depth_light
                lit *= 1.0 - 0.18 * (1.0 - ramp(0.0, 0.02, side))
                r += (tongue[0] * lit - r) * on_tongue
                g += (tongue[1] * lit - g) * on_tongue
                b += (tongue[2] * lit - b) * on_tongue
            lower_top = -0.018 + 0.92 * jaw + 0.48 * u * u
            on_lower = ramp(-soft, soft, lower_top - 0.6 * corner - v) * (1.0 - ramp(0.20, 0.24, side))
            if on_lower > 0:
                lit = 0.52 * depth_light * cheek_shadow * rounding * crease * tilt
                lit *= 0.55 + 0.45 * ramp(0.0, 0.03, v - bottom)
                r += (teeth[0] * lit - r) * on_lower
                g += (teeth[1] * lit - g) * on_lower
                b += (teeth[2] * lit - b) * on_lower
            edge = -0.022 + 0.44 * side * side + corner + edges[1 if u > 0 else 0, tooth]
            if tooth == 1:
                edge += 0.006  # the lateral incisors are shorter
            on_upper = ramp(-soft, soft, v - edge) * (1.0 - ramp(0.265, 0.295, side))
            if on_upper > 0:
                height_on = (v - edge) / 0.115
                lit = depth_light * lip_shadow * cheek_shadow * rounding * crease * tilt
                lit *= 0.86 + 0.14 * ramp(0.0, 0.22, height_on)  # the biting edge is translucent
                shine = 0.10 * min(teeth[1] / 0.3, 1.0) * ramp(0.25, 0.42, height_on) * (1 - ramp(0.42, 0.6, height_on))
                shine *= max(1.0 - abs(across - 0.42) * 4.0, 0.0) * depth_light * lip_shadow * cheek_shadow
                tr, tg, tb = teeth[0] * lit + shine, teeth[1] * lit + shine, teeth[2] * lit + shine
                on_gum = ramp(0.95, 1.12, height_on + 0.12 * (2 * across - 1) ** 2)
                tr += (gum[0] * lit * 0.9 - tr) * on_gum
                tg += (gum[1] * lit * 0.9 - tg) * on_gum
                tb += (gum[2] * lit * 0.9 - tb) * on_gum
                r += (tr - r) * on_upper
                g += (tg - g) * on_upper
                b += (tb - b) * on_upper
            # Opacity of the source's own interior.
            own = 0.0
            photo_at = (u - photo_u[0]) / (photo_u[1] - photo_u[0]) * (photo_edges.shape[1] - 1)
            if photo_weight > 0 and 0 < photo_at < photo_edges.shape[1] - 1:
                j = int(photo_at)
                q = photo_at - j
                photo_top = photo_edges[0, j] * (1 - q) + photo_edges[0, j + 1] * q
                photo_bottom = photo_edges[1, j] * (1 - q) + photo_edges[1, j + 1] * q
                own = ramp(0.0, 2.5 * pixel, photo_top - v) * ramp(0.0, 2.5 * pixel + 0.004, v - photo_bottom)
                own *= photo_weight
            # Grain is fixed to the skull, so that it moves with the teeth.
            gy, gx = int(v / pixel) % grain.shape[0], int(u / pixel) % grain.shape[1]
            noise = grain[gy, gx] * 255.0
            for c in range(3):
                linear = r if c == 0 else (g if c == 1 else b)
                value = 255.0 * max(linear, 0.0) ** (1.0 / 2.2) + noise
                if own > 0:
                    photo_x = to_photo[0, 0] * u + to_photo[0, 1] * v + to_photo[0, 2]
                    photo_y = to_photo[1, 0] * u + to_photo[1, 1] * v + to_photo[1, 2]
                    value += (sample_bilinear(photo_pixels, photo_y, photo_x, c) - value) * own
                old = float(image[y, x, c])
                image[y, x, c] = np.uint8(min(max(old + (value - old) * cover + 0.5, 0.0), 255.0))
