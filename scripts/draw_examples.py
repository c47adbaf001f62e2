"""Draw the example media that are made from nothing or from `portrait.png`: a drawing, a painting and a video.

    python scripts/draw_examples.py [folder of the examples, by default those of the package]

The painting lays brush strokes of five sizes along the edges of the picture, as in Hertzmann, "Painterly Rendering with
Curved Brush Strokes of Multiple Sizes" (SIGGRAPH 1998).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from liveportrait_talker import Talker, TalkOptions
from liveportrait_talker.examples import FOLDER, PORTRAIT, VOICE

SIZE = 768
Points = Sequence[tuple[float, float]]


class Sheet:
    """A picture of filled shapes and lines between points in pixels, drawn three times larger and scaled down."""

    SCALE = 3

    def __init__(self, background: str) -> None:
        self.image = Image.new("RGB", (SIZE * self.SCALE,) * 2, background)

    def finished(self) -> Image.Image:
        """Return the picture at its size."""
        return self.image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)

    def fill(self, points: Points, colour: str) -> None:
        """Fill the area within a closed curve."""
        self.paste(colour, self.mask(points))

    def ellipse(self, x: float, y: float, width: float, height: float, colour: str, *, within: Points = ()) -> None:
        """Fill an ellipse by its centre and half axes, inside a closed curve if one is given."""
        box = [self.SCALE * value for value in (x - width, y - height, x + width, y + height)]
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).ellipse(box, fill=255)
        if within:
            mask = Image.fromarray(np.minimum(np.asarray(mask), np.asarray(self.mask(within))))
        self.paste(colour, mask)

    def blush(self, x: float, y: float, radius: float, colour: str) -> None:
        """Tint the surroundings of a point."""
        mask = Image.new("L", self.image.size)
        box = [self.SCALE * value for value in (x - radius, y - 0.6 * radius, x + radius, y + 0.6 * radius)]
        ImageDraw.Draw(mask).ellipse(box, fill=90)
        self.paste(colour, mask.filter(ImageFilter.GaussianBlur(16 * self.SCALE)))

    def line(self, points: Points, colour: str, width: float) -> None:
        """Draw a curve with round ends."""
        draw, path, radius = ImageDraw.Draw(self.image), self._curve(points, closed=False), self.SCALE * width / 2
        draw.line(path, fill=colour, width=round(2 * radius), joint="curve")
        for x, y in (path[0], path[-1]):
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)

    def mask(self, points: Points) -> Image.Image:
        """Return the area within a closed curve."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(self._curve(points, closed=True), fill=255)
        return mask

    def paste(self, colour: str, mask: Image.Image) -> None:
        """Put a colour where the mask is."""
        self.image.paste(Image.new("RGB", self.image.size, colour), mask=mask)

    def _curve(self, points: Points, *, closed: bool) -> list[tuple[float, float]]:
        """Return a Catmull-Rom curve through the points."""
        corners = np.asarray(points, float) * self.SCALE
        around = np.pad(corners, ((1, 2), (0, 0)), mode="wrap" if closed else "edge")
        steps = np.linspace(0, 1, 24, endpoint=False)[:, None]
        path = []
        for k in range(len(corners) if closed else len(corners) - 1):
            a, b, c, d = around[k : k + 4]
            cubic = 3 * b - a - 3 * c + d
            path.append((2 * b + (c - a) * steps + (2 * a - 5 * b + 4 * c - d) * steps**2 + cubic * steps**3) / 2)
        path.append(corners[:1] if closed else corners[-1:])
        return [(float(x), float(y)) for x, y in np.concatenate(path)]


def draw_woman() -> Image.Image:
    """Return a flat drawing of a face from the front."""
    sheet, middle = Sheet("#cfe3ea"), SIZE / 2

    def mirrored(points: Points) -> list[tuple[float, float]]:
        return [(2 * middle - x, y) for x, y in reversed(points)]

    sheet.ellipse(middle, 330, 330, 330, "#dcecf1")
    hair = [(384, 90), (560, 140), (615, 300), (600, 470), (560, 560), (480, 600)]
    sheet.fill(hair + mirrored(hair[1:]), "#5a2d22")
    shirt = [(384, 1200), (728, 1000), (688, 730), (618, 672), (528, 640), (438, 620)]
    sheet.fill(shirt + mirrored(shirt[1:]), "#2f6f73")
    sheet.fill([(322, 520), (446, 520), (452, 640), (384, 690), (316, 640)], "#d99e7d")
    for side in (-1, 1):
        sheet.ellipse(middle + 172 * side, 368, 24, 44, "#e3aa88")
    face = [(384, 165), (490, 190), (548, 290), (546, 390), (518, 480), (452, 560), (384, 582)]
    sheet.fill(face + mirrored(face[1:-1]), "#f0bd9b")
    for side in (-1, 1):
        sheet.blush(middle + 105 * side, 430, 42, "#e0796a")
        _draw_eye(sheet, middle + 74 * side, 342, side)
    sheet.line([(396, 350), (404, 400), (412, 432), (398, 446)], "#c98b6d", 4)
    sheet.line([(356, 440), (366, 450), (384, 454), (402, 450), (412, 440)], "#b87659", 4)
    upper = [(322, 502), (352, 494), (374, 489), (384, 493), (394, 489), (416, 494), (446, 502), (414, 508), (354, 508)]
    sheet.fill(upper, "#b5483f")
    sheet.fill(
        [(322, 502), (354, 506), (384, 509), (414, 506), (446, 502), (420, 526), (384, 534), (348, 526)], "#cf6256"
    )
    sheet.line([(320, 501), (352, 506), (384, 509), (416, 506), (448, 501)], "#6b241f", 3.5)
    sheet.line([(362, 548), (384, 552), (406, 548)], "#d99e7d", 3)
    fringe = [(384, 95), (500, 120), (575, 220), (572, 330), (556, 300), (520, 240), (450, 215), (360, 235), (280, 262)]
    sheet.fill([*fringe, (236, 300), (214, 345), (196, 300), (212, 200), (280, 120)], "#6d3829")
    sheet.line([(440, 120), (380, 170), (300, 225), (240, 285)], "#874935", 5)
    sheet.line([(470, 130), (420, 170), (360, 205)], "#874935", 5)
    sheet.fill([(316, 632), (384, 690), (452, 632), (500, 660), (384, 740), (268, 660)], "#e9efe9")
    return sheet.finished()


def _draw_eye(sheet: Sheet, x: float, y: float, side: int) -> None:
    """Draw an eye, its lids and its brow; `side` is -1 for the left one in the picture."""

    def at(*points: tuple[float, float]) -> Points:
        return [(x + side * across, y + down) for across, down in points]

    white = at((-38, 4), (-20, -14), (6, -20), (30, -8), (40, 6), (22, 16), (-8, 18))
    sheet.fill(white, "#fbf8f2")
    for dx, dy, radius, colour in ((0, -1, 18, "#3f6b57"), (0, -1, 9, "#16110f"), (6.5, -8.5, 3.5, "#ffffff")):
        sheet.ellipse(x + dx, y + dy, radius, radius, colour, within=white)
    sheet.line(at((-40, 5), (-20, -15), (6, -21), (30, -9), (44, 6)), "#3b2420", 5.5)
    sheet.line(at((-30, 13), (-8, 19), (22, 17), (38, 8)), "#9a6450", 2)
    sheet.line(at((-34, -20), (0, -34), (36, -20)), "#c98b6d", 2.5)
    sheet.line(at((-42, -46), (-6, -62), (46, -50)), "#4a251c", 9)


def paint(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a painting of a picture (H, W, 3) uint8, from wide to narrow brush strokes."""
    canvas = np.full_like(picture, (198, 180, 150))
    height, width = picture.shape[:2]
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    for radius in (22, 11, 6, 3, 2):
        model = cv2.GaussianBlur(picture, (0, 0), 0.6 * radius)
        smooth = cv2.GaussianBlur(grey, (0, 0), max(0.8 * radius, 2))
        along = np.stack([-cv2.Sobel(smooth, cv2.CV_32F, 0, 1), cv2.Sobel(smooth, cv2.CV_32F, 1, 0)], -1)
        missing = cv2.GaussianBlur(np.abs(model.astype(np.float32) - canvas).sum(2), (0, 0), radius)
        starts = np.stack(np.mgrid[0:height:radius, 0:width:radius], -1).reshape(-1, 2)
        for y, x in rng.permutation(starts + rng.integers(-radius, radius + 1, starts.shape)):
            x, y = int(np.clip(x, 0, width - 1)), int(np.clip(y, 0, height - 1))
            if radius < 22 and missing[y, x] < 22:
                continue
            colour = np.clip(model[y, x] * rng.uniform(0.95, 1.05) + rng.normal(0, 4, 3), 0, 255)
            path = _stroke(model, along, (x, y), radius)
            cv2.polylines(canvas, [16 * path], False, colour.tolist(), int(1.5 * radius), cv2.LINE_AA, 4)
    lit = cv2.GaussianBlur(cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 0.8)
    relief = (0.25 * cv2.Sobel(lit, cv2.CV_32F, 1, 1)).clip(-8, 8)
    weave = 2 * np.sin(2.1 * np.arange(width))[None] + 2 * np.sin(2.1 * np.arange(height))[:, None]
    return np.clip(canvas + (relief + weave)[..., None], 0, 255).astype(np.uint8)


def _stroke(model: np.ndarray, along: np.ndarray, start: tuple[int, int], radius: int) -> np.ndarray:
    """Return the points (N, 2) int32 of a stroke that follows the edges until the colour changes."""
    bottom, right = np.array(model.shape[:2]) - 1
    position, direction, path = np.array(start, float), np.zeros(2), [start]
    colour = model[start[1], start[0]].astype(float)
    for _ in range(7):
        x, y = int(np.clip(position[0], 0, right)), int(np.clip(position[1], 0, bottom))
        if len(path) > 3 and np.abs(model[y, x] - colour).sum() > 60:
            break
        steep = float(np.hypot(*along[y, x]))
        edge = along[y, x] / steep if steep > 1 else direction if direction.any() else np.array([0.83, 0.56])
        direction = direction + (edge if edge @ direction >= 0 else -edge)
        direction /= max(float(np.hypot(*direction)), 1e-6)
        position += radius * direction
        path.append((int(position[0]), int(position[1])))
    return np.array(path, np.int32)


def main() -> None:
    """Write drawing.png, painting.jpg and clip.mp4."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else FOLDER
    draw_woman().quantize(256, dither=Image.Dither.NONE).save(folder / "drawing.png", optimize=True)
    mirrored = np.asarray(Image.open(PORTRAIT).convert("RGB"))[:, ::-1].copy()
    Image.fromarray(paint(mirrored, np.random.default_rng(3))).save(folder / "painting.jpg", quality=88)
    options = TalkOptions(renderer="embedded", driver="signal", seed=4, max_size=512)
    Talker().save(PORTRAIT, VOICE, folder / "clip.mp4", options, overwrite=True)


if __name__ == "__main__":
    main()
