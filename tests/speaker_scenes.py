"""Pictures and videos with two to four faces, made of the shared media, whose faces' places are known in every frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from liveportrait_talker.face.finder import FaceFinder
from liveportrait_talker.face.tracked import TrackedFace
from liveportrait_talker.media import VideoWriter, open_footage
from liveportrait_talker.media.image_output import write_image
from liveportrait_talker.render.embedded.layers import separate
from shared import DATA

FPS = 25.0  # of videos
SHOT = 22  # frames
PORTRAITS = (
    "frontal_photo.png",
    "bright_skin.jpg",
    "dark_skin.jpg",
    "beard.png",
    "small_face.png",
    "tall_painting.jpg",
)
CLIPS = (
    "talking/aoc.mp4",
    "talking2/ru_woman.mp4",
    "talking2/weakness_man.mp4",
    "talking/glasses_woman.mp4",
    "talking2/zh_man.mp4",
    "talking2/travel_man.mp4",
)
SIZE = (720, 404)


@dataclass
class Scene:
    """A source, and where each person's face is."""

    frames: list[Any]
    places: list[list[tuple[float, float] | None]] = field(default_factory=list)
    """Person, in order of their numbers → the centre of the face in each frame, None where it is not there."""
    is_still: bool = True

    @property
    def fps(self) -> float:
        """Frames a second to be drawn."""
        return FPS / 2 if self.is_still else FPS

    def write(self, folder: Path, name: str) -> Path:
        """Write the source."""
        if self.is_still:
            path = folder / f"{name}.png"
            write_image(path, self.frames[0], overwrite=True, title="", comment="")
            return path
        path = folder / f"{name}.mp4"
        height, width, _ = self.frames[0].shape
        size, count = (width, height), len(self.frames)
        with VideoWriter(
            path, size=size, fps=FPS, voice=None, frame_count=count, crf=12, title="", comment="", overwrite=True
        ) as writer:
            for frame in self.frames:
                writer.write(frame)
        return path


def _face(image: Any) -> TrackedFace:
    return TrackedFace(FaceFinder().find(image)[0])


def _scaled(image: Any, face: TrackedFace, iod: float) -> tuple[Any, tuple[float, float]]:
    """Return the image scaled so that the eyes are `iod` px apart, and the centre of the face in it."""
    scale = iod / face.pose.iod
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    x, y = face.landmarks[:, :2].mean(axis=0) * scale
    return small, (float(x), float(y))


def still(names: tuple[str, ...], iods: tuple[float, ...], apart: float, *, cut_out: bool = False) -> Scene:
    """Return a picture with portraits side by side, the middles of neighbours `apart` times their eye distances apart.

    With `cut_out` only the person of each portrait is pasted, larger ones over smaller ones.
    """
    parts = []
    for name, iod in zip(names, iods, strict=True):
        with open_footage(DATA / "portraits" / name, max_side=900) as footage:
            image = footage[0]
        face = _face(image)
        opacity = np.ones(image.shape[:2], np.float32)
        if cut_out:
            layers = separate(image, face)
            assert not isinstance(layers, str)
            opacity = layers.person[..., 3] / np.float32(255)
        small, centre = _scaled(image, face, iod)
        mask = cv2.resize(opacity, (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA)
        parts.append((small, mask, centre))
    at = [2.2 * iods[0]]
    for one, other in zip(iods, iods[1:], strict=False):
        at.append(at[-1] + apart * (one + other) / 2)
    width, height = round(at[-1] + 2.2 * iods[-1]), round(5.2 * max(iods))
    canvas = np.full((height, width, 3), (92, 100, 110), np.uint8)
    edges = [0.0, *((a + b) / 2 for a, b in zip(at, at[1:], strict=False)), float(width)]
    for k in sorted(range(len(parts)), key=lambda k: iods[k]):
        small, mask, (x, y) = parts[k]
        matrix = np.array([[1, 0, at[k] - x], [0, 1, 2.4 * max(iods) - y]])
        drawn = cv2.warpAffine(small, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        weight = cv2.warpAffine(mask, matrix, (width, height))[..., None]
        if not cut_out:
            weight = np.zeros((height, width, 1), np.float32)
            weight[:, round(edges[k]) : round(edges[k + 1])] = 1
        canvas = np.rint(canvas + weight * (drawn.astype(np.float32) - canvas)).astype(np.uint8)
    order = sorted(range(len(parts)), key=lambda k: -iods[k])
    return Scene([canvas], [[(at[k], 2.4 * max(iods))] for k in order])


def _clip(name: str, frames: int) -> tuple[list[Any], TrackedFace]:
    with open_footage(DATA / name) as footage:
        step = (footage.fps or FPS) / FPS
        last = len(footage) - 1
        images = [footage[last - abs(int(k * step) % (2 * last) - last)] for k in range(frames)]
    return images, _face(images[0])


def _tile(image: Any, face: TrackedFace, iod: float, size: tuple[int, int]) -> Any:
    """Return the part of `size` (width, height) px with the face in its middle, the eyes `iod` px apart."""
    small, (x, y) = _scaled(image, face, iod)
    matrix = np.array([[1.0, 0, size[0] / 2 - x], [0, 1, 0.48 * size[1] - y]])
    return cv2.warpAffine(small, matrix, size, borderMode=cv2.BORDER_REPLICATE)


def video(
    names: tuple[str, ...], shots: tuple[tuple[int, ...], ...], iods: tuple[float, ...] = (), *, length: int = SHOT
) -> Scene:
    """Return a video of shots of `length` frames; each shows the people whose indices it lists, from left to right."""
    size = SIZE
    clips = [_clip(name, length * len(shots)) for name in names]
    seen: list[int] = []
    scene = Scene([], [], is_still=False)
    places: dict[int, list[tuple[float, float] | None]] = {k: [] for k in range(len(names))}
    for n, shot in enumerate(shots):
        width = size[0] // len(shot)
        for frame in range(n * length, (n + 1) * length):
            out = np.zeros((size[1], size[0], 3), np.uint8)
            for place, k in enumerate(shot):
                images, face = clips[k]
                iod = iods[k] if iods else (104.0 if len(shot) == 1 else 84.0 - 6 * k)
                tile = _tile(images[frame], face, iod, (width, size[1]))
                out[:, place * width : (place + 1) * width] = tile
            scene.frames.append(out)
            for k, where in places.items():
                where.append(((shot.index(k) + 0.5) * width, 0.48 * size[1]) if k in shot else None)
        new = [k for k in shot if k not in seen]
        seen += sorted(new, key=lambda k: -(iods[k] if iods else -k))
    scene.places = [places[k] for k in seen]
    return scene


def crossing(names: tuple[str, str]) -> Scene:
    """Return a video in which a larger head passes before another one."""
    (width, height), frames, part = SIZE, 3 * SHOT, 320
    back, front = (_clip(name, frames) for name in names)
    scene = Scene([], [[], []], is_still=False)
    mask = np.zeros((height, part), np.float32)
    cv2.ellipse(mask, (part // 2, round(0.46 * height)), (118, 168), 0, 0, 360, 1, -1)
    cv2.rectangle(mask, (60, round(0.75 * height)), (part - 60, height), 1, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 2)
    for k in range(frames):
        out = np.full((height, width, 3), (80, 84, 90), np.uint8)
        out[:, 200 : 200 + part] = _tile(back[0][k], back[1], 78.0, (part, height))
        tile = _tile(front[0][k], front[1], 92.0, (part, height))
        left = round(-part + (width + part) * k / frames)
        x0, x1 = max(left, 0), min(left + part, width)
        if x0 < x1:
            share = mask[:, x0 - left : x1 - left, None]
            drawn = tile[:, x0 - left : x1 - left].astype(np.float32)
            out[:, x0:x1] = np.rint(out[:, x0:x1] + share * (drawn - out[:, x0:x1]))
        scene.frames.append(out)
        middle = left + part / 2
        scene.places[0].append(None if abs(middle - 360) < 170 else (360.0, 0.48 * height))
        scene.places[1].append((middle, 0.48 * height) if 90 < middle < width - 90 else None)
    return scene


P, C = PORTRAITS, CLIPS
SCENES = {
    "two photos": lambda: still((P[0], P[1]), (64, 56), 3.0),
    "two of different size": lambda: still((P[2], P[3]), (80, 48), 3.0),
    "three portraits": lambda: still((P[1], P[4], P[0]), (64, 56, 60), 2.8),
    "four portraits": lambda: still((P[0], P[1], P[2], P[3]), (64, 60, 56, 52), 2.8),
    "painting and photo": lambda: still((P[5], P[0]), (60, 64), 2.8),
    "two close": lambda: still((P[0], P[1]), (64, 60), 2.1, cut_out=True),
    "two overlapping": lambda: still((P[0], P[2]), (72, 52), 1.7, cut_out=True),
    "three overlapping": lambda: still((P[0], P[1], P[2]), (56, 72, 56), 1.8, cut_out=True),
    "four overlapping": lambda: still((P[3], P[0], P[1], P[2]), (56, 70, 52, 66), 2.2, cut_out=True),
    "far behind": lambda: still((P[1], P[0]), (84, 44), 1.7, cut_out=True),
    "wide shot": lambda: video((C[0], C[1]), ((0, 1), (0, 1))),
    "wide, close, close": lambda: video((C[0], C[2]), ((0, 1), (0,), (1,))),
    "shot, reverse shot": lambda: video((C[2], C[1]), ((0,), (1,), (0,), (1,))),
    "sides change": lambda: video((C[3], C[4]), ((0, 1), (1, 0), (0, 1))),
    "three with cuts": lambda: video((C[0], C[4], C[1]), ((0, 1, 2), (2, 0), (1,)), (80, 76, 72)),
    "one comes later": lambda: video((C[5], C[1]), ((0,), (0, 1), (1,))),
    "two women": lambda: video((C[0], C[3]), ((0, 1), (1,), (0,), (1, 0))),
    "two men": lambda: video((C[2], C[4]), ((0, 1), (1,), (0,), (1, 0))),
    "four in a row": lambda: video(
        (C[0], C[1], C[2], C[4]), ((0, 1, 2, 3), (3, 2), (3, 2, 1, 0)), (72, 70, 68, 66), length=40
    ),
    "one passes another": lambda: crossing((C[1], C[2])),
}
