"""Colours, grain and tooth shapes of the mouth interior (docs/method/embedded_renderer.md, Tones).

Colours are linear light, 0…1, (3,) float32; lengths are IOD.
"""

from __future__ import annotations

import copy

import cv2
import numpy as np

from ...arrays import Floats, Floats32, Image
from ...face.tracked import TrackedFace

GAMMA = 2.2
LUMA = np.array([0.2126, 0.7152, 0.0722])
_ENAMEL = np.array([1.06, 1.0, 0.86])
_GAPS = np.array([0.0, 0.096, 0.166, 0.222, 0.262, 0.295])  # positions between the teeth of half a row
_GRAIN_SIDE = 64
_COLOUR_FIELDS = ("skin", "lip", "teeth", "cavity", "tongue", "gum")
_HUE_SIDE = 160  # px to which the face is reduced to determine its hue
_HUE_TOLERANCE = 2.0  # deviation in a* and b* within which an image has a single hue


class MouthTones:
    """Colours, grain and tooth shapes for one face, measured in its image."""

    def __init__(self, image: Image, face: TrackedFace) -> None:
        iod = face.pose.iod
        points = face.landmarks[:, :2]
        radius = _cheek_radius(face)
        cheeks = _cheek_patches(image, face)
        skin = np.median(np.concatenate(cheeks), axis=0)
        left, right = (float(np.median(c @ LUMA)) for c in cheeks)
        slope = (right - left) / max(right + left, 1e-4)
        self.sideways = np.float32(np.clip(slope, -0.4, 0.4) * 2.0)  # horizontal slope of the light, per IOD
        lip_points = [points[list(pair)].mean(axis=0) for pair in ((13, 0), (14, 17), (81, 39), (311, 269))]
        lip = np.median(np.concatenate([_linear_patch(image, p, max(1, radius // 3)) for p in lip_points]), axis=0)
        white = _measure_eye_white(image, face)
        self.skin = skin
        self.lip = lip
        skin_luma, white_luma = float(skin @ LUMA), float(white @ LUMA)
        # Enamel in the light of the image, which the eye whites and, to a lesser degree, the skin show.
        hue = 0.45 * _ENAMEL + 0.4 * white / max(white_luma, 1e-4) + 0.15 * (skin / max(skin_luma, 1e-4)) ** 0.8
        # Red follows blue, so that enamel in a yellowed painting is yellow, not green, and never pink or blue.
        blueness = float(np.clip(1.35 * skin[2] / max(skin[1], 1e-4), 0.4, 0.93))
        redness = 1.03 + 0.4 * (0.93 - blueness)
        tint = np.array([redness, 1.0, min(hue[2] / hue[1], blueness)])
        tint = tint / (tint @ LUMA)
        self.teeth = (tint * 0.95 * max(min(white_luma, 1.1 * skin_luma), 0.8 * skin_luma)).astype(np.float32)
        self.cavity = (skin * (0.10, 0.045, 0.04)).astype(np.float32)
        self.tongue = (0.6 * lip * (1.15, 0.8, 0.8) + 0.12 * skin * (1.1, 0.5, 0.45)).astype(np.float32)
        self.gum = (0.6 * lip).astype(np.float32)
        single_hue = _fit_hue_table(_crop(image, points[4], int(0.9 * iod)))
        if single_hue is not None:
            for part in _COLOUR_FIELDS:
                setattr(self, part, _apply_hue(getattr(self, part), single_hue))
        cheek = _crop(image, points[205], radius * 2)
        grey = cv2.cvtColor(np.ascontiguousarray(cheek), cv2.COLOR_RGB2GRAY).astype(np.float32)
        fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
        spread = float(np.clip(np.median(np.abs(fine)) / 0.6745, 0.0, 6.0)) / 255.0
        rng = np.random.default_rng(int(1000 * iod))
        noise = rng.normal(0, 1, (_GRAIN_SIDE, _GRAIN_SIDE)).astype(np.float32)
        self.grain = cv2.GaussianBlur(noise, (0, 0), 0.8, borderType=cv2.BORDER_REFLECT) * np.float32(1.8 * spread)
        self.gaps_left, self.gaps_right = (_random_gaps(rng) for _ in range(2))
        self.edges = rng.normal(0, 0.0025, (2, len(_GAPS))).astype(np.float32)

    @property
    def light(self) -> float:
        """Luminance of the skin, linear light, 0…1."""
        return float(self.skin @ LUMA)

    def relight(self, ratio: float) -> MouthTones:
        """Return a copy with all colours multiplied by `ratio`."""
        copied = copy.copy(self)
        for part in _COLOUR_FIELDS:
            setattr(copied, part, getattr(self, part) * np.float32(ratio))
        return copied


def skin_light(image: Image, face: TrackedFace) -> float:
    """Return the luminance of the cheeks, linear light, 0…1."""
    return float(np.median(np.concatenate(_cheek_patches(image, face)), axis=0) @ LUMA)


def _cheek_radius(face: TrackedFace) -> int:
    return max(2, int(0.06 * face.pose.iod))


def _cheek_patches(image: Image, face: TrackedFace) -> list[Floats]:
    return [_linear_patch(image, face.landmarks[i, :2], _cheek_radius(face)) for i in (205, 425)]


def _fit_hue_table(piece: Image) -> Floats32 | None:
    """Return the colour (256, 3) for each 8-bit luma if the image has a single hue (e.g. black and white), or None."""
    step = max(1, max(piece.shape[:2]) // _HUE_SIDE)
    lab = cv2.cvtColor(np.ascontiguousarray(piece[::step, ::step], np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    basis = np.stack([lab[:, 0] ** k for k in range(4)], axis=1)
    curve, *_ = np.linalg.lstsq(basis.astype(np.float64), lab[:, 1:].astype(np.float64), rcond=None)
    off = np.abs(lab[:, 1:] - basis @ curve)
    if np.percentile(off, 95) > _HUE_TOLERANCE:
        return None
    lightness = np.linspace(0, 100, 256)
    covered = np.clip(lightness, *np.percentile(lab[:, 0], (1, 99)))  # the curve is undetermined beyond the data
    hue = np.stack([covered**k for k in range(4)], axis=1) @ curve
    colours = np.column_stack([lightness, hue]).astype(np.float32)
    rgb = cv2.cvtColor(colours[None], cv2.COLOR_LAB2RGB)[0]
    linear = np.clip(rgb, 0, 1) ** GAMMA
    rows = np.interp(np.linspace(0, 1, 256), linear @ LUMA, np.arange(256))
    table: Floats32 = linear[np.rint(rows).astype(int)].astype(np.float32)
    return table


def _apply_hue(colour: Floats, table: Floats) -> Floats32:
    """Return the colour of equal luma in an image of a single hue."""
    luma = float(np.clip(colour @ LUMA, 0, 1))
    entry = table[round(255 * luma)]
    brightness = luma / max(float(entry @ LUMA), 1e-4)
    result: Floats32 = (entry * brightness).astype(np.float32)
    return result


def _random_gaps(rng: np.random.Generator) -> Floats32:
    """Return tooth gaps of half a row with random variation."""
    gaps = _GAPS[1:] * rng.uniform(0.95, 1.05) + rng.normal(0, 0.003, len(_GAPS) - 1)
    return np.append(0.0, gaps).astype(np.float32)


def _crop(image: Image, centre: Floats, radius: int) -> Image:
    height, width = image.shape[:2]
    x = int(np.clip(centre[0], radius, max(width - radius - 1, radius)))
    y = int(np.clip(centre[1], radius, max(height - radius - 1, radius)))
    return image[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]


def _linear_patch(image: Image, centre: Floats, radius: int) -> Floats:
    """Return (n, 3) pixels around a point in linear light."""
    linear: Floats = (_crop(image, centre, radius).reshape(-1, 3) / 255.0) ** GAMMA
    return linear


def _measure_eye_white(image: Image, face: TrackedFace) -> Floats:
    """Return the median of the brightest fifth of the eyes, linear light."""
    samples = []
    for loop in ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380)):
        outline = face.landmarks[list(loop), :2]
        x, y, w, h = cv2.boundingRect(np.rint(outline).astype(np.int32))
        x, y = max(x, 0), max(y, 0)
        piece = image[y : y + h, x : x + w]
        if not piece.size:
            continue
        mask = np.zeros(piece.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint(outline - (x, y)).astype(np.int32)], 1)
        samples.append(piece[mask > 0])
    pixels = np.concatenate(samples) if samples else np.zeros((0, 3))
    if len(pixels) < 4:
        return np.full(3, 0.4)
    linear = (pixels / 255.0) ** GAMMA
    luma = linear @ LUMA
    bright = linear[luma >= np.percentile(luma, 80)]
    return np.asarray(np.median(bright, axis=0))
