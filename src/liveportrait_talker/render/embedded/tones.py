"""What a face's own image says about its mouth: colours of skin and lip, grain, tooth shapes, a single hue.

Source: docs/method/embedded_renderer.md, Tones. Lengths are IOD.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...arrays import Floats, Floats32, Image
from ...face.tracked import TrackedFace
from .mouth_colours import LUMA, crop_around, measure_lip, measure_skin, to_lab, to_rgb
from .teeth import TeethShape

GAMMA = 2.2
_GAPS = np.array([0.0, 0.096, 0.166, 0.222, 0.262, 0.295])  # positions between the teeth of half a row
_GRAIN_SIDE = 64
_HUE_SIDE = 160  # px to which the face is reduced to determine its hue
_HUE_TOLERANCE = 2.0  # deviation in a* and b* within which an image has a single hue


class MouthTones:
    """Colours, grain and tooth shapes for one face, measured in its image."""

    def __init__(self, image: Image, face: TrackedFace) -> None:
        iod = face.pose.iod
        points = face.landmarks[:, :2]
        self.skin = measure_skin(image, face)
        """(3,) CIELAB."""
        self._lip = measure_lip(image, face)
        self.single_hue = _fit_hue_table(crop_around(image, points[4], int(0.9 * iod)))
        """(256, 3) sRGB 0…255 for each luma of an image of a single hue, such as black and white; else (0, 3)."""
        cheek = crop_around(image, points[205], 2 * max(2, int(0.06 * iod)))
        grey = cv2.cvtColor(np.ascontiguousarray(cheek), cv2.COLOR_RGB2GRAY).astype(np.float32)
        fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
        spread = float(np.clip(np.median(np.abs(fine)) / 0.6745, 0.0, 6.0))
        rng = np.random.default_rng(int(1000 * iod))
        noise = rng.normal(0, 1, (_GRAIN_SIDE, _GRAIN_SIDE)).astype(np.float32)
        self.grain = cv2.GaussianBlur(noise, (0, 0), 0.8, borderType=cv2.BORDER_REFLECT) * np.float32(1.8 * spread)
        left, right = (_random_gaps(rng) for _ in range(2))
        self.teeth = TeethShape(left, right, rng.normal(0, 0.0025, (2, len(_GAPS))).astype(np.float32))

    def lip_under(self, skin: Floats) -> Floats32:
        """Return the colour (3,) of the lips, CIELAB, in the light under which the skin has the colour `skin`."""
        ratio = (skin[0] + 16) / (self.skin[0] + 16)
        return np.asarray(skin + (self._lip - self.skin) * ratio, np.float32)


def luminance(lab: Floats) -> float:
    """Return the luminance, linear light, 0…1, of a colour (3,) in CIELAB."""
    lightness = float(lab[0])
    return ((lightness + 16) / 116) ** 3 if lightness > 8 else lightness / 903.3


def linear_light(lab: Floats) -> Floats:
    """Return linear light (3,), 0…1, of a colour (3,) in CIELAB."""
    return np.asarray((np.clip(to_rgb(lab), 0, 255) / 255.0) ** GAMMA)


def _fit_hue_table(piece: Image) -> Floats32:
    """Return the sRGB colour (256, 3) of each luma where the image has a single hue, else (0, 3)."""
    step = max(1, max(piece.shape[:2]) // _HUE_SIDE)
    lab = to_lab(piece[::step, ::step]).reshape(-1, 3)
    basis = np.stack([lab[:, 0] ** k for k in range(4)], axis=1)
    curve, *_ = np.linalg.lstsq(basis.astype(np.float64), lab[:, 1:].astype(np.float64), rcond=None)
    off = np.abs(lab[:, 1:] - basis @ curve)
    if np.percentile(off, 95) > _HUE_TOLERANCE:
        return np.zeros((0, 3), np.float32)
    lightness = np.linspace(0, 100, 256)
    covered = np.clip(lightness, *np.percentile(lab[:, 0], (1, 99)))  # the curve is undetermined beyond the data
    hue = np.stack([covered**k for k in range(4)], axis=1) @ curve
    colours = np.column_stack([lightness, hue]).astype(np.float32)
    rgb = np.clip(to_rgb(colours), 0, 255)
    rows = np.interp(np.arange(256), rgb @ LUMA, np.arange(256))
    table: Floats32 = rgb[np.rint(rows).astype(int)]
    return table


def _random_gaps(rng: np.random.Generator) -> Floats32:
    """Return tooth gaps of half a row with random variation."""
    gaps = _GAPS[1:] * rng.uniform(0.95, 1.05) + rng.normal(0, 0.003, len(_GAPS) - 1)
    return np.append(0.0, gaps).astype(np.float32)
