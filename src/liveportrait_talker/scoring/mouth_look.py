"""How the inside of a mouth looks: beside the skin, and beside a true clip (docs/score.md, Mouth look)."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ..arrays import Floats, Floats32, Floats64, Image
from ..face.geometry import LANDMARKS, interocular_distance
from ..face.ratios import eye_openness
from ..face.tracked import TrackedFace
from .samples import Samples

_OPEN = 0.06  # IOD: mouths that are less open show too little
_INNER_LIPS = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95]
_SKIN = (50, 280, 101, 330, 205, 425)  # cheeks, beside the nose
_SKIN_REACH = 0.04  # IOD: half side of a patch of skin
_SMALLEST_IOD = 120.0  # px: smaller mouths are enlarged
_FEWEST_PIXELS = 30
_BRIGHTEST = 90  # percentile of the lightness: teeth
_MESH = LANDMARKS - 10
# Crops around two landmarks: (width, height) px, distance of the landmarks in it.
_LIPS_CROP, _EYE_CROP = ((96, 64), 60.0), ((64, 48), 36.0)
_MOUTH_CORNERS, _EYE_CORNERS = (61, 291), ((33, 133), (362, 263))  # left to right in the image
_SHUT_EYES = 0.45  # of the 80th percentile of the openness


class Shown(NamedTuple):
    """A frame that shows a face."""

    image: Image
    face: TrackedFace


class _Inside(NamedTuple):
    lab: Floats32
    """(n, 3) CIELAB pixels inside the inner lips."""
    detail: float
    """Mean gradient of the lightness."""

    @property
    def teeth(self) -> Floats:
        """(3,) mean of the brightest tenth."""
        lightness = self.lab[:, 0]
        brightest: Floats = self.lab[lightness >= np.percentile(lightness, _BRIGHTEST)].mean(axis=0)
        return brightest


def mouth_colours(shown: Shown) -> dict[str, float]:
    """Return colours inside the lips less those of the skin, in CIELAB; empty where the mouth shows too little."""
    inside = _inside(shown.image, shown.face.landmarks) if shown.face.aperture > _OPEN else None
    if inside is None:
        return {}
    skin = _skin(shown.image, shown.face.landmarks)
    lightness, red, yellow = inside.lab.mean(axis=0) - skin
    return {
        "mouth_dL": float(lightness),
        "mouth_da": float(red),
        "mouth_db": float(yellow),
        "teeth_skin_dL": float(inside.teeth[0] - skin[0]),
        "mouth_contrast": float(inside.lab[:, 0].std()),
    }


class PairLook:
    """Compares frames of a video with those of the true clip."""

    def __init__(self) -> None:
        self._samples = Samples()
        self._eyes: list[tuple[float, float]] = []  # openness of the true eyes, similarity

    def add(self, true: Shown, made: Shown) -> None:
        """Compare two frames that show the same moment, of any sizes."""
        row = {"mouth_ssim": _crop_ssim(true, made, _MOUTH_CORNERS, _LIPS_CROP)}
        if true.image.shape == made.image.shape:
            low = np.maximum(true.face.landmarks[:_MESH, :2].min(axis=0), 0).astype(int)
            high = true.face.landmarks[:_MESH, :2].max(axis=0).astype(int)
            box = slice(low[1], high[1]), slice(low[0], high[0])
            row["face_ssim"] = _ssim(*(cv2.cvtColor(each.image[box], cv2.COLOR_RGB2GRAY) for each in (true, made)))
        similarity = np.mean([_crop_ssim(true, made, eye, _EYE_CROP) for eye in _EYE_CORNERS])
        self._eyes.append((float(eye_openness(true.face.landmarks).mean()), float(similarity)))
        if true.face.aperture > _OPEN:
            real, inside = (_inside(each.image, each.face.landmarks) for each in (true, made))
            if real is not None and inside is not None:
                lightness, red, yellow = inside.teeth - real.teeth
                row["inner_dE"] = float(np.linalg.norm(real.lab.mean(axis=0) - inside.lab.mean(axis=0)))
                row |= {"teeth_dL": float(lightness), "teeth_da": float(red), "teeth_db": float(yellow)}
                row["inner_contrast"] = float(inside.lab[:, 0].std() / max(real.lab[:, 0].std(), 1e-3))
                row["inner_detail"] = inside.detail / max(real.detail, 1e-3)
        self._samples.add(row)

    def figures(self) -> dict[str, float]:
        """Return the medians over the frames; `eye_ssim` over those in which the true eyes are shut."""
        if not self._eyes:
            return {}
        openness, similarity = np.array(self._eyes).T
        shut = openness < _SHUT_EYES * np.percentile(openness, 80)
        eyes = {"eye_ssim": float(np.median(similarity[shut]))} if shut.any() else {}
        return self._samples.percentiles(50) | eyes


def _inside(image: Image, landmarks: Floats) -> _Inside | None:
    """Return what shows inside the inner lips; None where that is less than 30 px."""
    lips = landmarks[_INNER_LIPS, :2]
    low = np.maximum(np.floor(lips.min(axis=0)).astype(int) - 2, 0)
    high = np.minimum(np.ceil(lips.max(axis=0)).astype(int) + 3, image.shape[1::-1])
    if min(high - low) < 4:
        return None
    zoom = max(1.0, _SMALLEST_IOD / float(np.linalg.norm(landmarks[33, :2] - landmarks[263, :2])))
    part = cv2.resize(image[low[1] : high[1], low[0] : high[0]], None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    mask = np.zeros(part.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round((lips - low) * zoom * 8).astype(np.int32)], 1, shift=3)
    use = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
    if use.sum() < _FEWEST_PIXELS:
        return None
    lab = cv2.cvtColor(part.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    down, across = np.gradient(lab[..., 0])
    return _Inside(lab[use], float(np.hypot(down, across)[use].mean()))


def _skin(image: Image, landmarks: Floats) -> Floats64:
    """Return the CIELAB colour (3,) of the skin: the median over six patches."""
    reach = max(1, round(_SKIN_REACH * interocular_distance(landmarks)))
    colours = []
    for x, y in landmarks[list(_SKIN), :2].round().astype(int):
        patch = image[max(y - reach, 0) : max(y + reach + 1, 1), max(x - reach, 0) : max(x + reach + 1, 1)]
        if patch.size:
            colours.append(cv2.cvtColor(patch.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).mean(axis=(0, 1)))
    return np.asarray(np.median(colours or [[np.nan] * 3], axis=0))


def _crop_ssim(one: Shown, other: Shown, corners: tuple[int, int], crop: tuple[tuple[int, int], float]) -> float:
    return _ssim(*(_crop(each.image, each.face.landmarks, corners, crop) for each in (one, other)))


def _crop(image: Image, landmarks: Floats, corners: tuple[int, int], crop: tuple[tuple[int, int], float]) -> Image:
    """Return a grey crop in which two landmarks lie at a fixed distance on the horizontal middle line."""
    (width, height), distance = crop
    left, right = landmarks[list(corners), :2].astype(np.float64)
    across = right - left
    scale = distance / max(float(np.linalg.norm(across)), 1e-6)
    cos, sin = scale * across / max(float(np.linalg.norm(across)), 1e-6)
    x, y = (left + right) / 2
    matrix = np.array([[cos, sin, width / 2 - cos * x - sin * y], [-sin, cos, height / 2 + sin * x - cos * y]])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.cvtColor(cv2.warpAffine(image, matrix, (width, height), flags=way), cv2.COLOR_RGB2GRAY))


def _ssim(one: Image, other: Image) -> float:
    """Return the structural similarity of two grey images of one size, 1 = the same."""
    a, b = one.astype(np.float64), other.astype(np.float64)

    def blur(x: Floats64) -> Floats64:
        return np.asarray(cv2.GaussianBlur(x, (0, 0), 1.5))

    mean_a, mean_b = blur(a), blur(b)
    variances = blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    same = (2 * mean_a * mean_b + 6.5025) * (2 * covariance + 58.5225)
    return float((same / ((mean_a**2 + mean_b**2 + 6.5025) * (variances + 58.5225))).mean())
