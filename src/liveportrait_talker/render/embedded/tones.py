"""What the inside of a mouth takes from its picture: colours, grain, and teeth a little of one's own.

Colours are linear light, 0…1, (3,) float32; lengths are IOD.
"""

from __future__ import annotations

import copy

import cv2
import numpy as np
import numpy.typing as npt

from ...arrays import Floats, Image
from ...face.tracked import TrackedFace

GAMMA = 2.2
LUMA = np.array([0.2126, 0.7152, 0.0722])
_ENAMEL = np.array([1.06, 1.0, 0.86])
_GAPS = np.array([0.0, 0.096, 0.166, 0.222, 0.262, 0.295])  # between the teeth, half a row
_GRAIN_SIDE = 64
_COLOURED = ("skin", "lip", "teeth", "cavity", "tongue", "gum")
_TINT_SIDE = 160  # px of the face that are looked at for its hue
_SINGLE_HUE = 2.0  # a* and b*: what a picture of one hue may stray from it


class MouthTones:
    """Colours (linear light, 0…1) that the inside takes from the picture."""

    def __init__(self, image: Image, face: TrackedFace) -> None:
        iod = face.pose.iod
        points = face.landmarks[:, :2]
        radius = max(2, int(0.06 * iod))
        cheeks = [_patch(image, points[i], radius) for i in (205, 425)]
        skin = np.median(np.concatenate(cheeks), axis=0)
        left, right = (float(np.median(c @ LUMA)) for c in cheeks)
        slope = (right - left) / max(right + left, 1e-4)
        self.sideways = np.float32(np.clip(slope, -0.4, 0.4) * 2.0)  # light from one side, per IOD
        lip_points = [points[list(pair)].mean(axis=0) for pair in ((13, 0), (14, 17), (81, 39), (311, 269))]
        lip = np.median(np.concatenate([_patch(image, p, max(1, radius // 3)) for p in lip_points]), axis=0)
        white = _eye_white(image, face)
        self.skin = skin
        self.lip = lip
        skin_luma, white_luma = float(skin @ LUMA), float(white @ LUMA)
        # Enamel in the picture's own light, as its eye whites and a little its skin show it; never a cool grey.
        hue = 0.45 * _ENAMEL + 0.4 * white / max(white_luma, 1e-4) + 0.15 * (skin / max(skin_luma, 1e-4)) ** 0.8
        # In a yellowed painting enamel is yellow, not green; in no light is it pink or blue.
        blueness = float(np.clip(1.35 * skin[2] / max(skin[1], 1e-4), 0.4, 0.93))
        redness = 1.03 + 0.4 * (0.93 - blueness)
        tint = np.array([redness, 1.0, min(hue[2] / hue[1], blueness)])
        tint = tint / (tint @ LUMA)
        self.teeth = (tint * 0.95 * max(min(white_luma, 1.1 * skin_luma), 0.8 * skin_luma)).astype(np.float32)
        self.cavity = (skin * (0.10, 0.045, 0.04)).astype(np.float32)
        self.tongue = (0.6 * lip * (1.15, 0.8, 0.8) + 0.12 * skin * (1.1, 0.5, 0.45)).astype(np.float32)
        self.gum = (0.6 * lip).astype(np.float32)
        single_hue = _tint(_crop(image, points[4], int(0.9 * iod)))
        if single_hue is not None:
            for part in _COLOURED:
                setattr(self, part, _tinted(getattr(self, part), single_hue))
        cheek = _crop(image, points[205], radius * 2)
        grey = cv2.cvtColor(np.ascontiguousarray(cheek), cv2.COLOR_RGB2GRAY).astype(np.float32)
        fine = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
        spread = float(np.clip(np.median(np.abs(fine)) / 0.6745, 0.0, 6.0)) / 255.0
        shape = np.random.default_rng(int(1000 * iod))
        noise = shape.normal(0, 1, (_GRAIN_SIDE, _GRAIN_SIDE)).astype(np.float32)
        self.grain = cv2.GaussianBlur(noise, (0, 0), 0.8, borderType=cv2.BORDER_REFLECT) * np.float32(1.8 * spread)
        self.gaps_left, self.gaps_right = (_gaps(shape) for _ in range(2))
        self.edges = shape.normal(0, 0.0025, (2, len(_GAPS))).astype(np.float32)

    @property
    def light(self) -> float:
        """How bright the skin is, linear light, 0…1."""
        return float(self.skin @ LUMA)

    def in_light(self, ratio: float) -> MouthTones:
        """The same mouth where the light is `ratio` times as bright."""
        dimmed = copy.copy(self)
        for part in _COLOURED:
            setattr(dimmed, part, getattr(self, part) * np.float32(ratio))
        return dimmed


def skin_light(image: Image, face: TrackedFace) -> float:
    """How bright the cheeks are, linear light, 0…1."""
    radius = max(2, int(0.06 * face.pose.iod))
    cheeks = [_patch(image, face.landmarks[i, :2], radius) for i in (205, 425)]
    return float(np.median(np.concatenate(cheeks), axis=0) @ LUMA)


def _tint(piece: Image) -> npt.NDArray[np.float32] | None:
    """(256, 3) linear light of each 8-bit luma where a picture has a single hue, such as black and white; else None."""
    step = max(1, max(piece.shape[:2]) // _TINT_SIDE)
    lab = cv2.cvtColor(np.ascontiguousarray(piece[::step, ::step], np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    basis = np.stack([lab[:, 0] ** k for k in range(4)], axis=1)
    curve, *_ = np.linalg.lstsq(basis.astype(np.float64), lab[:, 1:].astype(np.float64), rcond=None)
    off = np.abs(lab[:, 1:] - basis @ curve)
    if np.percentile(off, 95) > _SINGLE_HUE:
        return None
    lightness = np.linspace(0, 100, 256)
    seen = np.clip(lightness, *np.percentile(lab[:, 0], (1, 99)))  # beyond what is there the curve knows nothing
    hue = np.stack([seen**k for k in range(4)], axis=1) @ curve
    colours = np.column_stack([lightness, hue]).astype(np.float32)
    rgb = cv2.cvtColor(colours[None], cv2.COLOR_LAB2RGB)[0]
    linear = np.clip(rgb, 0, 1) ** GAMMA
    places = np.interp(np.linspace(0, 1, 256), linear @ LUMA, np.arange(256))
    table: npt.NDArray[np.float32] = linear[np.rint(places).astype(int)].astype(np.float32)
    return table


def _tinted(colour: Floats, tint: Floats) -> npt.NDArray[np.float32]:
    """The colour that is as bright in a picture of a single hue."""
    luma = float(np.clip(colour @ LUMA, 0, 1))
    found = tint[round(255 * luma)]
    brightness = luma / max(float(found @ LUMA), 1e-4)
    result: npt.NDArray[np.float32] = (found * brightness).astype(np.float32)
    return result


def _gaps(shape: np.random.Generator) -> npt.NDArray[np.float32]:
    """Half a row of teeth, no two people's alike."""
    own = _GAPS[1:] * shape.uniform(0.95, 1.05) + shape.normal(0, 0.003, len(_GAPS) - 1)
    return np.append(0.0, own).astype(np.float32)


def _crop(image: Image, centre: Floats, radius: int) -> Image:
    height, width = image.shape[:2]
    x = int(np.clip(centre[0], radius, max(width - radius - 1, radius)))
    y = int(np.clip(centre[1], radius, max(height - radius - 1, radius)))
    return image[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]


def _patch(image: Image, centre: Floats, radius: int) -> Floats:
    """(n, 3) linear light around a point."""
    linear: Floats = (_crop(image, centre, radius).reshape(-1, 3) / 255.0) ** GAMMA
    return linear


def _eye_white(image: Image, face: TrackedFace) -> Floats:
    """The bright, colourless part of the eyes, linear light."""
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
