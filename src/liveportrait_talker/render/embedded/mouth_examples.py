"""Photographed mouths of the person: textures between the lips, played back at other openings.

An example keeps the difference between its pixels and the fitted colours of its own opening, pose and light
(`mouth_colours`). At another opening that difference is added to the fitted colours asked for, so what an example does
not show, such as the light in a smaller opening, comes from the model, and what is the person's own from the example.
It is the idea of Video Rewrite (Bregler et al. 1997), with the difference instead of the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...arrays import Floats, Floats32, Image, Indices
from ...face.tracked import TrackedFace
from ...motion.smoothing import smoothstep
from ...system.jit import kernel
from .mesh import PortraitMesh
from .model import face_model
from .mouth_colours import LUMA, measure_lip, measure_skin, mouth_colours, to_rgb
from .mouth_plane import MouthPlane, Opening
from .shading import ramp, sample_bilinear, sample_curve, sample_grid

RIM = 0.02
"""IOD above the lower lip of an example that is not shown, half of it below the upper one."""
_SHOWN_AT = (0.012, 0.05)  # IOD of opening over which an example begins to count
_GAP, _HALF_WIDTH, _YAW, _PITCH = 0.04, 0.04, 10.0, 10.0  # unit of distance between openings: IOD, IOD, degrees
_NEAREST = 2  # examples that are mixed: more of them blur the teeth
_FOLLOW_S = 0.04  # in which weights follow by half
_WIDER = 1.6  # ratio of the gaps up to which an example shows all that is next to the lips
_KNOWN = 0.6  # share of its brightness that a mouth also has where the example does not show it
_TOO_WIDE = 0.4  # a mouth that is wider open than asked for shows more than one that is less open
_PREFERRED = 0.6  # ratio of the distance of an example that the user gave
_SAME_SIZE = 0.8  # ratio of sizes from which on an example is not reduced
_DARKER = (0.08, 0.2)  # fall of the brightness below the teeth, in shares of the skin's
_LIP_CONTRAST = (0.05, 0.12)  # by which teeth next to the lower lip are brighter than it, in shares of the skin's
_TEETH_CONTRAST = (0.05, 0.15)  # by which rows of the same teeth differ at most
_LONGEST_TEETH = (0.13, 0.17)  # IOD of opening from which on upper teeth do not reach the lower lip
_WHOLE_ROW = (0.09, 0.14)  # IOD of opening from which on a mouth shows its teeth whole
_UNLIKE = (1.15, 1.6)  # ratio of the gaps over which such an example is no longer shown
_LEAST_SHARE = 0.02
_OWN = -1  # number of the mouth in the frame that is drawn on


@dataclass(frozen=True, eq=False)
class MouthExample:
    """The mouth in one image."""

    difference: Floats32
    """(h, w, 3) pixels less the fitted colours, sRGB."""
    brightness: float
    """Median of the difference's luma between the lips, reduced: how bright this person's mouth is."""
    to_pixels: Floats32
    """(2, 3) affine from (U, V, 1) to x, y in `difference`."""
    opening: Opening
    lightness: float
    """L* of the skin, plus 16."""
    weight: float
    """0…1, how far it shows a mouth that is open."""
    dark_below_teeth: float
    """0…1, whether it is dark below its upper teeth: a second row would be painted there at a wider opening."""
    moves_with_jaw: float
    """0…1, whether what is next to its lower lip moves with the jaw; 0 where upper teeth reach down to the lip."""

    @classmethod
    def of(cls, image: Image, face: TrackedFace, *, mesh: PortraitMesh | None = None) -> MouthExample | None:
        """Return the example in an image (H, W, 3), None where its lips are shut or outside of the image."""
        if face.aperture <= _SHOWN_AT[0]:
            return None
        mesh = mesh or PortraitMesh(face, face_model())
        plane, still = MouthPlane(face, mesh), np.zeros(2)
        opening = plane.opening(mesh.position, mesh.rotation, still, 1.0)
        lips = mesh.position[np.concatenate([mesh.model.upper_lip, mesh.model.lower_lip])]
        left, top = np.maximum(np.floor(lips.min(axis=0)).astype(int) - 2, 0)
        right, bottom = np.minimum(np.ceil(lips.max(axis=0)).astype(int) + 3, image.shape[1::-1])
        if right - left < 4 or bottom - top < 3:
            return None
        skin, lip = measure_skin(image, face), measure_lip(image, face)
        affine = np.eye(3)
        affine[:2] = plane.from_pixels(np.array([left, top]), mesh.rotation, still, 1.0)
        difference = image[top:bottom, left:right].astype(np.float32)
        grid = to_rgb(mouth_colours().predict(opening, skin, lip))
        _subtract_grid(difference, affine[:2].astype(np.float32), opening.contours, grid)
        inside = np.zeros(difference.shape[:2], np.uint8)
        outline = np.concatenate([mesh.model.upper_lip, mesh.model.lower_lip[::-1]])
        cv2.fillPoly(inside, [np.rint(mesh.position[outline] - (left, top)).astype(np.int32)], 1)
        brightness = _KNOWN * float(np.median(difference[inside > 0] @ LUMA)) if inside.any() else 0.0
        luma = image[top:bottom, left:right] @ LUMA
        dark, with_jaw = _measure_rows(luma, affine[:2], opening, float(to_rgb(skin) @ LUMA))
        weight = float(smoothstep(*_SHOWN_AT, np.array(face.aperture)))
        to_pixels = np.linalg.inv(affine)[:2].astype(np.float32)
        return cls(difference, brightness, to_pixels, opening, float(skin[0]) + 16, weight, dark, with_jaw)

    def distance(self, other: Opening) -> float:
        """Return how different another opening is, 1 = just like another moment of the same sound."""
        one = self.opening
        wider = (one.gap - other.gap) / _GAP
        steps = (
            wider if wider < 0 else _TOO_WIDE * wider,
            (one.half_width - other.half_width) / _HALF_WIDTH,
            (one.yaw - other.yaw) / _YAW,
            (one.pitch - other.pitch) / _PITCH,
        )
        return float(np.sqrt(sum(step * step for step in steps)))

    def reduced(self, iod: float) -> MouthExample:
        """Return the example at the size of a face with this distance between the eyes, px, if it is larger."""
        ratio = iod / float(np.sqrt(abs(np.linalg.det(self.to_pixels[:, :2]))))
        height, width = self.difference.shape[:2]
        size = (max(2, round(width * ratio)), max(2, round(height * ratio)))
        if ratio > _SAME_SIZE or size[0] >= width or size[1] >= height:
            return self
        scale = np.array([size[0] / width, size[1] / height])
        to_pixels = self.to_pixels * scale[:, None]
        to_pixels[:, 2] += 0.5 * scale - 0.5  # pixel centres
        small: Floats32 = cv2.resize(self.difference, size, interpolation=cv2.INTER_AREA)
        return replace(self, difference=small, to_pixels=to_pixels.astype(np.float32))

    def coverage(self, other: Opening) -> float:
        """Return 0…1, how far this mouth shows another opening: parted lips do not show the teeth of a wide one."""
        wider = other.gap / max(self.opening.gap, 1e-6)
        parted = 1 - float(smoothstep(*_WHOLE_ROW, np.array(self.opening.gap)))
        gone = self.dark_below_teeth * parted * float(smoothstep(*_UNLIKE, np.array(wider)))
        return min(1.0, _WIDER / max(wider, 1e-6)) * (1 - gone)


class MouthExamples:
    """The examples of one person, from which each frame takes the nearest."""

    def __init__(self, given: Sequence[MouthExample] = ()) -> None:
        """Take the examples that the user gave, which are preferred to others."""
        self._given = list(given)
        self.begin()

    def begin(self, found: Sequence[MouthExample] = (), *, fps: float = 25.0) -> None:
        """Begin a sequence of frames at `fps`, with examples found in the source besides those that were given."""
        self._examples = [*self._given, *found]
        self._follow = 1 - 0.5 ** (1 / (fps * _FOLLOW_S))  # share by which weights follow from frame to frame
        self._shares: dict[int, float] = {}  # number of an example → its share in the last frame

    def layer(
        self,
        size: tuple[int, int],
        affine: Floats32,
        opening: Opening,
        lightness: float,
        own: MouthExample | None = None,
    ) -> Floats32:
        """Return (h, w, 4): the differences to be added, sRGB, and their opacity 0…1.

        Args:
            size: (width, height).
            affine: (2, 3) px → U, V.
            opening: the opening to be filled.
            lightness: L* + 16 of the skin in this frame: a brighter picture has larger differences.
            own: the mouth in the frame that is drawn on, where there is one.
        """
        layer = np.zeros((size[1], size[0], 4), np.float32)
        for example, weight in self._mix(opening, own):
            weight *= example.weight
            _add_example(
                layer,
                affine,
                opening.contours,
                example.difference,
                example.to_pixels,
                example.opening.contours,
                example.brightness,
                weight,
                example.coverage(opening),
                example.moves_with_jaw,
                lightness / example.lightness,
            )
        return layer

    def _mix(self, opening: Opening, own: MouthExample | None) -> list[tuple[MouthExample, float]]:
        """Return the examples of this frame and their shares, which sum to 1 and change gradually."""
        candidates = dict(enumerate(self._examples)) | ({} if own is None else {_OWN: own})
        if not candidates:
            return []
        distances = {
            number: example.distance(opening) * (_PREFERRED if 0 <= number < len(self._given) else 1.0)
            for number, example in candidates.items()
        }
        nearest = sorted(distances, key=lambda number: distances[number])[:_NEAREST]
        asked = {number: 1 / (0.05 + distances[number]) ** 3 for number in nearest}
        before = self._shares or asked
        shares = {
            number: (1 - self._follow) * before.get(number, 0.0) / sum(before.values())
            + self._follow * asked.get(number, 0.0) / sum(asked.values())
            for number in {*before, *asked} & set(candidates)
        }
        kept = {number: share for number, share in shares.items() if share > _LEAST_SHARE}
        self._shares = {number: share / sum(kept.values()) for number, share in sorted(kept.items())}
        return [(candidates[number], share) for number, share in self._shares.items()]


def choose_frames(faces: tuple[TrackedFace, ...], frames: Indices, most: int) -> list[int]:
    """Return which of some `frames` of a video show its openings best: far apart in shape and pose, in order.

    Args:
        faces: of all frames of the video.
        frames: (N,) numbers of the frames to choose from.
        most: number to be chosen.
    """
    numbers = np.unique(frames)
    described = np.array(
        [
            [
                faces[k].aperture / _GAP,
                faces[k].width / 2 / _HALF_WIDTH,
                faces[k].rotation_deg[1] / _YAW,
                faces[k].rotation_deg[0] / _PITCH,
            ]
            for k in numbers
        ]
    )
    opened = described[:, 0] * _GAP > _SHOWN_AT[1]
    numbers, described = numbers[opened], described[opened]
    if not len(numbers):
        return []
    chosen = [int(np.argmax(described[:, 0]))]
    distance = np.linalg.norm(described - described[chosen[0]], axis=1)
    while len(chosen) < min(most, len(numbers)) and distance.max() > 0.3:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(described - described[chosen[-1]], axis=1))
    return sorted(int(numbers[k]) for k in chosen)


def _measure_rows(luma: Floats, affine: Floats, opening: Opening, skin: float) -> tuple[float, float]:
    """Return `dark_below_teeth` and `moves_with_jaw` of a MouthExample, from the brightness of its rows."""
    y, x = np.mgrid[: luma.shape[0], : luma.shape[1]]
    u, v = (affine[k, 0] * x + affine[k, 1] * y + affine[k, 2] for k in (0, 1))
    across = (u - opening.left) / max(opening.right - opening.left, 1e-6)
    columns = np.linspace(0, 1, len(opening.upper))
    top, bottom = (np.interp(across, columns, edge) for edge in (opening.upper, opening.lower))
    down = (top - v) / np.maximum(top - bottom, 1e-4)
    middle = (np.abs(across - 0.5) < 0.2) & (down > 0) & (down < 1.2)
    down, luma = down[middle], luma[middle]

    def brightness(low: float, high: float) -> float:
        rows = luma[(down > low) & (down <= high)]
        return float(np.median(rows)) / max(skin, 1.0) if len(rows) else np.nan

    fall = brightness(0.1, 0.5) - brightness(0.55, 0.9)
    dark = 0.0 if np.isnan(fall) else float(smoothstep(*_DARKER, np.array(fall)))
    # Upper teeth that reach down to the lip: as bright there as above, brighter than the lip, and nothing dark between.
    above, below, lip = brightness(0.3, 0.5), brightness(0.65, 0.85), brightness(1.0, 1.2)
    darkest = min(brightness(low, low + 0.15) for low in (0.4, 0.55, 0.65))
    if np.isnan(above + below + lip + darkest):
        return dark, 1.0
    reach = smoothstep(*_LIP_CONTRAST, np.array(below - lip)) * (
        1 - smoothstep(*_TEETH_CONTRAST, np.array(above - darkest))
    )
    reach *= 1 - smoothstep(*_TEETH_CONTRAST, np.array(below - above))
    reach *= 1 - smoothstep(*_LONGEST_TEETH, np.array(opening.gap))
    return dark, 1 - float(reach)


@kernel
def _subtract_grid(
    pixels: Floats32, affine: Floats32, opening: tuple[float, float, Floats32, Floats32], grid: Floats32
) -> None:
    left, right, upper, lower = opening
    height, width = pixels.shape[:2]
    columns = upper.shape[0]
    for y in range(height):
        for x in range(width):
            u = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]
            v = affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]
            at = min(max((u - left) / max(right - left, 1e-6), 0.0), 1.0) * (columns - 1)
            top, bottom = sample_curve(upper, at), sample_curve(lower, at)
            down = min(max((top - v) / max(top - bottom, 1e-4), 0.0), 1.0)
            for c in range(3):
                pixels[y, x, c] -= sample_grid(grid, down, at / (columns - 1), c)


@kernel
def _add_example(
    layer: Floats32,
    affine: Floats32,
    opening: tuple[float, float, Floats32, Floats32],
    difference: Floats32,
    to_pixels: Floats32,
    source: tuple[float, float, Floats32, Floats32],
    brightness: float,
    weight: float,
    coverage: float,
    moves_with_jaw: float,
    gain: float,
) -> None:
    left, right, upper, lower = opening
    from_left, from_right, from_upper, from_lower = source
    height, width = layer.shape[:2]
    columns = upper.shape[0]
    for y in range(height):
        for x in range(width):
            u = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]
            v = affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]
            across = (u - left) / max(right - left, 1e-6)
            if across <= 0 or across >= 1:
                continue
            at = across * (columns - 1)
            top, bottom = sample_curve(upper, at), sample_curve(lower, at)
            gap = max(top - bottom, 1e-4)
            depth = min(max(top - v, 0.0), gap)
            # Sideways teeth keep their size in the middle and follow the corners at the ends.
            stretched = from_left + across * (from_right - from_left)
            middle = 0.5 * (left + right)
            from_middle = 0.5 * (from_left + from_right)
            rigid = from_middle + (u - middle)
            side = abs(2 * across - 1)
            blend = ramp(0.3, 0.9, side)
            from_u = rigid + (stretched - rigid) * blend
            from_at = min(max((from_u - from_left) / max(from_right - from_left, 1e-6), 0.0), 1.0) * (columns - 1)
            from_top, from_bottom = sample_curve(from_upper, from_at), sample_curve(from_lower, from_at)
            from_gap = max(from_top - from_bottom, 1e-4)
            # Upper teeth hang from the skull, lower ones on the jaw: both keep their size, what is between is bent.
            by_upper = min(depth, from_gap)
            by_lower = max(from_gap - (gap - depth), 0.0)
            half = ramp(0.25, 0.75, depth / gap)
            with_jaw = 1.0 - (1.0 - moves_with_jaw) * ramp(1.0, 1.2, gap / from_gap)
            share = with_jaw * half
            # A narrower mouth shows what is next to the lips, not what lies between in a wider one.
            near_upper = 1.0 - ramp(0.6 * from_gap, 0.95 * from_gap, depth)
            near_lower = with_jaw * (1.0 - ramp(0.1 * from_gap, 0.4 * from_gap, gap - depth))
            shown = weight * (1.0 - ramp(1.0, 1.4, gap / from_gap) * (1.0 - max(near_upper, near_lower)))
            shown *= coverage
            # Beside its contours an example may show the rim of a lip, which looks like a second one in the mouth.
            rim = min(RIM, 0.25 * from_gap)
            inside = min(max(by_upper + (by_lower - by_upper) * share, 0.5 * rim), from_gap - rim)
            from_v = from_top - inside
            px = to_pixels[0, 0] * from_u + to_pixels[0, 1] * from_v + to_pixels[0, 2]
            py = to_pixels[1, 0] * from_u + to_pixels[1, 1] * from_v + to_pixels[1, 2]
            # Upper teeth tell nothing about the brightness below them.
            elsewhere = brightness * (1.0 - (1.0 - with_jaw) * half)
            for c in range(3):
                detailed = sample_bilinear(difference, py, px, c)
                layer[y, x, c] += gain * (shown * detailed + (weight - shown) * elsewhere)
            layer[y, x, 3] += shown
