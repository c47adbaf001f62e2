"""The fitted colours of the mouth interior: what real mouths show between the lips, from the opening and the face.

A small network was fitted to talking clips (`scripts/fit_mouth_colours.py`; docs/method/embedded_renderer.md, Mouth
colours). It gives smooth colours without detail of their own: edges and grain of teeth come from `teeth`, or from a
photograph (`mouth_examples`).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from ...arrays import Floats, Floats32, Image
from ...face.tracked import TrackedFace
from .mouth_plane import Opening

WEIGHTS = Path(__file__).with_name("mouth_colours.npz")
LUMA = np.array([0.2126, 0.7152, 0.0722])
ROWS, ACROSS = 12, 24
"""Size of the grid of colours: from the upper to the lower lip, and from corner to corner."""
_DOWN = (np.arange(ROWS) + 0.5) / ROWS  # 0 at the upper lip, 1 at the lower one
_SIDE = (np.arange(ACROSS) + 0.5) / ACROSS * 2 - 1  # −1 at the left corner of the image, 1 at the right one
_SKIN_POINTS = (50, 280, 101, 330, 205, 425)
_LIP_POINTS = ((14, 17), (87, 84), (317, 314))
_PATCH_IOD, _LIP_PATCH_IOD = 0.05, 0.02
MOST = 1.3  # standard deviations of the fitted faces; a face beyond counts as this far
_REFERENCE = 76.0  # L* + 16 to which differences are scaled: they are proportional to L* + 16 as the light changes


def to_lab(rgb: Floats | Image) -> Floats32:
    """Return CIELAB (…, 3) of sRGB (…, 3), 0…255."""
    flat = np.ascontiguousarray(rgb, np.float32).reshape(1, -1, 3) / np.float32(255)
    lab: Floats32 = cv2.cvtColor(flat, cv2.COLOR_RGB2LAB).reshape(np.shape(rgb))
    return lab


def to_rgb(lab: Floats) -> Floats32:
    """Return sRGB (…, 3), 0…255, of CIELAB (…, 3)."""
    flat = np.ascontiguousarray(lab, np.float32).reshape(1, -1, 3)
    rgb: Floats32 = cv2.cvtColor(flat, cv2.COLOR_LAB2RGB).reshape(np.shape(lab)) * np.float32(255)
    return rgb


def measure_skin(image: Image, face: TrackedFace) -> Floats32:
    """Return the colour (3,) of cheeks and the sides of the chin, CIELAB."""
    radius = max(1, int(_PATCH_IOD * face.pose.iod))
    return _median_lab(image, [face.landmarks[i, :2] for i in _SKIN_POINTS], radius)


def measure_lip(image: Image, face: TrackedFace) -> Floats32:
    """Return the colour (3,) of the lower lip, CIELAB."""
    radius = max(1, int(_LIP_PATCH_IOD * face.pose.iod))
    points = [face.landmarks[list(pair), :2].mean(axis=0) for pair in _LIP_POINTS]
    return _median_lab(image, points, radius)


class MouthColours:
    """The fitted network."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        with np.load(weights, allow_pickle=False) as stored:
            self._layers = [(stored[f"weight_{k}"], stored[f"bias_{k}"]) for k in range(3)]
            self._mean, self._spread = stored["face_mean"], stored["face_spread"]

    def _describe_face(self, skin: Floats, lip: Floats) -> Floats32:
        """Return the network's description (6,) of a face by its colours (3,), CIELAB."""
        scale = (skin[0] + 16) / _REFERENCE
        described = (np.concatenate([skin, (lip - skin) / scale]) - self._mean) / self._spread
        return np.asarray(np.clip(described, -MOST, MOST), np.float32)

    def predict(self, opening: Opening, skin: Floats, lip: Floats) -> Floats32:
        """Return the colours (ROWS, ACROSS, 3) between the lips, CIELAB.

        Args:
            opening: shape of the opening and pose of the head.
            skin: (3,) of `measure_skin`, in the light of this frame.
            lip: (3,) of `measure_lip`, in the same light.
        """
        points = describe_opening(opening.gap, opening.half_width, opening.yaw, opening.pitch)
        return self.predict_at(points, skin, lip)

    def predict_at(self, points: Floats, skin: Floats, lip: Floats) -> Floats32:
        """Return the same for points (ROWS, ACROSS, 13) of `describe_opening`."""
        face = self._describe_face(skin, lip)
        x = np.concatenate([points, np.broadcast_to(face, (*points.shape[:2], len(face)))], axis=2).astype(np.float32)
        for weight, bias in self._layers[:-1]:
            x = np.tanh(x @ weight + bias)
        weight, bias = self._layers[-1]
        lab: Floats32 = skin + (x @ weight + bias) * ((skin[0] + 16) / _REFERENCE)
        lab[..., 0] = np.maximum(lab[..., 0], 0)
        return lab.astype(np.float32)


@lru_cache(maxsize=1)
def mouth_colours() -> MouthColours:
    """Return the fitted network; it is read once."""
    return MouthColours()


def describe_opening(gap: float, half_width: float, yaw: float, pitch: float) -> Floats32:
    """Return the network's description (ROWS, ACROSS, 13) of each point of an opening; arguments as in `Opening`."""
    gap, half_width = min(max(gap, 0.02), 0.35), min(max(half_width, 0.15), 0.4)
    yaw, pitch = min(max(yaw, -30.0), 30.0), min(max(pitch, -25.0), 25.0)
    down, side = np.meshgrid(_DOWN, _SIDE, indexing="ij")
    local = gap * (1 - side**2)
    everywhere = np.ones_like(down)
    return np.stack(
        [
            2 * down - 1,
            np.sin(2 * np.pi * down),
            np.cos(2 * np.pi * down),
            np.sin(3 * np.pi * down),
            side,
            np.abs(side),
            down * local / 0.1,
            (1 - down) * local / 0.1,
            side * half_width / 0.3,
            everywhere * gap / 0.15,
            everywhere * half_width / 0.3,
            everywhere * yaw / 20,
            everywhere * pitch / 15,
        ],
        axis=2,
    ).astype(np.float32)


def crop_around(image: Image, centre: Floats, radius: int) -> Image:
    """Return the square of an image around a point (2,), px; cut, or moved, to lie inside."""
    height, width = image.shape[:2]
    x = int(np.clip(centre[0], radius, max(width - radius - 1, radius)))
    y = int(np.clip(centre[1], radius, max(height - radius - 1, radius)))
    return image[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]


def _median_lab(image: Image, points: list[Floats], radius: int) -> Floats32:
    pixels = np.concatenate([crop_around(image, point, radius).reshape(-1, 3) for point in points])
    return np.asarray(np.median(to_lab(pixels), axis=0), np.float32)
