"""The mouth interior, painted behind the lips, which a warp cannot add.

From smooth to fine: the fitted colours of the opening (`mouth_colours`); the person's own mouth where an example shows
one (`mouth_examples`), elsewhere the edges of painted teeth (`teeth`); grain. Source: docs/method/embedded_renderer.md,
Mouth interior.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ...arrays import Floats, Floats32, Image
from ...face.tracked import TrackedFace
from ...motion.smoothing import smoothstep
from ...system.jit import kernel
from .fill import fill_harmonic
from .mesh import PortraitMesh
from .mouth_colours import LUMA, mouth_colours, to_rgb
from .mouth_examples import RIM, MouthExample, MouthExamples
from .mouth_plane import MouthPlane
from .shading import ramp, sample_curve, sample_grid
from .teeth import draw_teeth
from .tones import GAMMA, MouthTones, linear_light

_SPILL = 0.045  # IOD around FaceMesh's lip line in which teeth are searched
_PARTED = 0.015  # IOD; from this aperture on teeth may show
_COARSE = 0.06  # IOD; the detail of painted teeth is finer than this
_DETAIL = 0.8  # strength of that detail, relative to the fitted colour
_MOST_DETAIL = 0.6
_CAVITY_SHADE = 0.35  # by which the painted cavity is darker than the fitted colour, a blend of cavities and tongues
_ENAMEL = 0.7  # by which the brightest tooth is brighter than the fitted colour
_PALENESS = 0.5  # share of its chroma that it lacks
_WHITER = 0.35  # share of the skin's brightness that a teeth brightness of 1 adds
_DARKEST, _RANGE = 0.25, 1.05  # shares of the skin's brightness: most that a cavity has, and a tooth more
_BRIGHTEST = 216.0  # sRGB
_CAPPED = 0.75  # of what is above
_REDNESS = 0.5  # of flesh, red above the mean of green and blue, in shares of its luma


class MouthInterior:
    """The mouth interior of one portrait."""

    def __init__(
        self,
        image: Image,
        face: TrackedFace,
        mesh: PortraitMesh,
        tones: MouthTones,
        skin: Floats32,
        examples: MouthExamples,
        *,
        teeth_brightness: float,
        in_video: bool,
    ) -> None:
        """Prepare the interior.

        Args:
            image: (H, W, 3) the source.
            face: its face.
            mesh: of `face`.
            tones: of the person.
            skin: (3,) the colour of the skin in this image, CIELAB.
            examples: other mouths of the person.
            teeth_brightness: −1…1, darker or brighter teeth.
            in_video: the image is a frame of a video, whose own interior is always replaced.
        """
        self._mesh = mesh
        self._tones = tones
        self._skin, self._lip = skin, tones.lip_under(skin)
        self._examples = examples
        self._teeth_brightness = teeth_brightness
        self._in_video = in_video
        self._plane = MouthPlane(face, mesh)
        self._aperture = max(face.aperture, 0.0)
        own = MouthExample.of(image, face, mesh=mesh)
        # Measured in each frame by itself, the share would flicker.
        self._own = replace(own, moves_with_jaw=1.0) if own is not None and in_video else own

    def _fade(self, mouth: Floats) -> float:
        """Return the opacity of the painting, 0…1: 0 for a still image whose mouth is at rest."""
        if self._in_video:
            return 1.0
        # A mouth that is wide open in the source keeps its own interior.
        own = float(smoothstep(0.14, 0.20, np.array(self._aperture)))
        change = abs(mouth[0]) + 0.5 * abs(mouth[4])
        return (1 - own) * float(smoothstep(0.0, 0.03 + 0.4 * self._aperture, np.array(change)))

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
        opening = self._plane.opening(moved, rotation, shift_px, scale)
        if opening.gap < 0.002:
            return
        outline = np.concatenate([moved[model.upper_lip], moved[model.lower_lip]])
        low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 2 - corner, 0)
        high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 3 - corner, window.shape[1::-1])
        if (high <= low).any():
            return
        part = window[low[1] : high[1], low[0] : high[0]]
        affine = self._plane.from_pixels(low + corner, rotation, shift_px, scale).astype(np.float32)
        (height, width), iod = part.shape[:2], self._mesh.iod
        teeth = np.empty((height, width, 2), np.float32)
        jaw = min(float(opening.lower[len(opening.lower) // 2]) - self._plane.lower_lip, 0.0)
        contours, tones = opening.contours, self._tones
        lightness = float(self._skin[0]) + 16
        layer = self._examples.layer((width, height), affine, opening, lightness, self._own)
        draw_teeth(teeth, affine, contours, jaw, 1.0 / iod, tones.teeth)
        coarse = _blur_inside(teeth, _COARSE * iod)
        grid = to_rgb(mouth_colours().predict(opening, self._skin, self._lip))
        brightness = float(to_rgb(self._skin) @ LUMA)
        _compose(
            part,
            affine,
            contours,
            grid,
            layer,
            teeth,
            coarse,
            tones.grain,
            tones.single_hue,
            (fade, brightness, self._teeth_brightness, 1.0 / iod),
        )


def remove_spilled_teeth(image: Image, face: TrackedFace, mesh: PortraitMesh, lip: Floats) -> Image:
    """Return a video frame in which teeth near the lip line are replaced by lip.

    FaceMesh's lip line is not exact. Teeth on the wrong side of it would move with the lip and look like a white stripe
    on a closing mouth. The opening, and pixels around it that look like teeth, are filled from the lips.
    """
    if face.aperture < _PARTED:
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
    lip = linear_light(lip)
    lip_redness = lip[0] / max(lip[1], 1e-3)
    toothy = (linear @ LUMA > 1.15 * float(lip @ LUMA)) & (red / green < 0.85 * lip_redness)
    hole = (opening > 0) | ((around > 0) & (cv2.dilate(toothy.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0))
    cleaned = image.copy()
    cleaned[top:bottom, left:right] = np.rint(fill_harmonic(patch.astype(np.float32), hole)).clip(0, 255)
    return cleaned


def _blur_inside(teeth: Floats32, sigma: float) -> Floats32:
    """Return the structure (h, w) of `draw_teeth`, blurred within the opening; at a size at which that is quick."""
    height, width = teeth.shape[:2]
    reduced = max(1, int(sigma / 3))
    size = (max(1, width // reduced), max(1, height // reduced))
    weighted = np.dstack([teeth[..., 0] * teeth[..., 1], teeth[..., 1]])
    small = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), max(sigma / reduced, 0.5), borderType=cv2.BORDER_CONSTANT)
    blurred = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    inside: Floats32 = blurred[..., 0] / np.maximum(blurred[..., 1], np.float32(1e-3))
    return inside


@kernel
def _compose(
    image: Image,
    affine: Floats32,
    opening: tuple[float, float, Floats32, Floats32],
    grid: Floats32,
    layer: Floats32,
    teeth: Floats32,
    coarse: Floats32,
    grain: Floats32,
    single_hue: Floats32,
    strengths: tuple[float, float, float, float],
) -> None:
    left, right, upper, lower = opening
    fade, bright, whiter, pixel = strengths
    height, width = image.shape[:2]
    columns = upper.shape[0]
    value = np.empty(3, np.float32)
    for y in range(height):
        for x in range(width):
            cover = teeth[y, x, 1] * fade
            if cover <= 0.003:
                continue
            u = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]
            v = affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]
            across = (u - left) / max(right - left, 1e-6)
            at = across * (columns - 1)
            top, bottom = sample_curve(upper, at), sample_curve(lower, at)
            gap = max(top - bottom, 1e-4)
            # Grain is fixed to the skull, so that it moves with the teeth.
            gy, gx = int(v / pixel) % grain.shape[0], int(u / pixel) % grain.shape[1]
            painted = 1.0 - min(layer[y, x, 3], 1.0)
            rim = (1.0 - painted) * min(RIM / gap, 0.25)  # the rim of an example belongs to what is next to it
            down = min(max((top - v) / gap, 0.5 * rim), 1.0 - rim)
            # Relative to the fitted colour, so that the dark corners stay dark.
            structure = teeth[y, x, 0]
            detail = min(max(structure / max(coarse[y, x], 0.15) - 1.0, -_MOST_DETAIL), _MOST_DETAIL)
            light = structure * structure
            shade = 1.0 + painted * (_DETAIL * detail + _ENAMEL * light)
            shade *= 1.0 - painted * _CAVITY_SHADE * (1.0 - ramp(0.3, 0.5, structure))
            added = painted * grain[gy, gx] + bright * _WHITER * whiter * light
            for c in range(3):
                value[c] = sample_grid(grid, down, across, c) * shade + layer[y, x, c] + added
            luma = LUMA[0] * value[0] + LUMA[1] * value[1] + LUMA[2] * value[2]
            for c in range(3):
                value[c] += painted * _PALENESS * light * (luma - value[c])
            # Few of the fitted faces were pale: nothing there is much brighter than what is painted in its place.
            brightest = max(value[0], value[1], value[2])
            most = min(bright * (_DARKEST + _RANGE * structure), _BRIGHTEST)
            if brightest > most:
                ratio = 1.0 - painted * _CAPPED * (brightest - most) / brightest
                for c in range(3):
                    value[c] *= ratio
            # What is no tooth is flesh, which is red in the palest face too.
            luma = LUMA[0] * value[0] + LUMA[1] * value[1] + LUMA[2] * value[2]
            flesh = painted * (1.0 - ramp(0.5, 0.65, structure))
            lacking = _REDNESS * max(luma, 0.0) - (value[0] - 0.5 * (value[1] + value[2]))
            if lacking > 0:
                value[0] += 0.5 * flesh * lacking
                value[1] -= 0.4 * flesh * lacking
                value[2] -= 0.6 * flesh * lacking
            if single_hue.shape[0] > 0:
                entry = single_hue[int(min(max(luma, 0.0), 255.0))]
                for c in range(3):
                    value[c] = entry[c]
            for c in range(3):
                old = float(image[y, x, c])
                image[y, x, c] = np.uint8(min(max(old + (value[c] - old) * cover + 0.5, 0.0), 255.0))
