"""Draw demo.jpg and inputs.jpg of docs, from the example media alone.

    python scripts/draw_gallery.py [docs]

demo.jpg shows frames of talking videos. inputs.jpg shows what good and bad pictures become: in each row the picture that
is given, a frame with closed lips and one with the mouth open. The notes that the program prints are printed here as well,
for docs/inputs.md.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from liveportrait_talker import EditOptions, Editor, Talker, TalkOptions
from liveportrait_talker.arrays import Image as Pixels
from liveportrait_talker.examples import DRAWING, PAINTING, PAIR, PORTRAIT, VOICE

TILE = 224  # px
CLOSED_S, OPEN_S = 0.0, 0.5  # in the example voice
FAR = np.s_[340:460, 320:440]  # where the tiny face is
OPTIONS = TalkOptions(renderer="embedded", driver="signal", blink=False, still=True)


def read(path: Path) -> Pixels:
    """Return a picture (H, W, 3) uint8."""
    return np.asarray(Image.open(path).convert("RGB"))


def edit(**sliders: float) -> Pixels:
    """Return the portrait with another expression or pose."""
    return Editor().open(PORTRAIT).draw(EditOptions(**sliders))


def with_microphone(picture: Pixels) -> Pixels:
    """Return the picture with a drawn microphone in front of the mouth."""
    scale, (x, y), radius = 3, (392, 492), 62
    size = (picture.shape[1] * scale, picture.shape[0] * scale)
    microphone, shade = Image.new("RGBA", size), Image.new("RGBA", size)
    for layer, handle, ball, shift in ((shade, "#00000090", "#00000090", 10), (microphone, "#26282c", "#4a4e55", 0)):
        draw = ImageDraw.Draw(layer)
        corners = ((x - 26, y + 40), (x + 34, y + 30), (x + 96, 780), (x + 40, 780))
        draw.polygon([(scale * (across + shift), scale * down) for across, down in corners], fill=handle)
        box = [scale * v for v in (x + shift - radius, y - radius, x + shift + radius, y + radius)]
        draw.ellipse(box, fill=ball)
    draw = ImageDraw.Draw(microphone)
    for across in range(-56, 57, 8):
        for down in range(-56, 57, 8):
            if np.hypot(across, down) < radius - 6:
                at = [scale * v for v in (x + across - 2.5, y + down - 2.5, x + across + 2.5, y + down + 2.5)]
                draw.ellipse(at, fill="#2b2e33")
    draw.line([scale * v for v in (x - 58, y + 24, x + 60, y + 16)], fill="#8b9097", width=7 * scale)
    out = Image.fromarray(picture).resize(size).convert("RGBA")
    out = Image.alpha_composite(out, shade.filter(ImageFilter.GaussianBlur(7 * scale)))
    return np.asarray(Image.alpha_composite(out, microphone).resize(picture.shape[1::-1]).convert("RGB"))


def far_away(picture: Pixels) -> Pixels:
    """Return a picture with the eyes some 28 px apart."""
    small = cv2.resize(picture, (120, 120), interpolation=cv2.INTER_AREA)
    wall = cv2.resize(picture[:40, :40], (768, 768))
    mask = cv2.GaussianBlur(np.pad(np.ones((104, 104, 1), np.float32), ((8, 8), (8, 8), (0, 0))), (0, 0), 3)[..., None]
    wall[FAR] = np.rint(wall[FAR] + mask * (small - wall[FAR].astype(np.float32)))
    return wall


def noisy(picture: Pixels) -> Pixels:
    """Return the picture as a dark room and strong compression leave it."""
    rng = np.random.default_rng(0)
    dark = 0.55 * picture + rng.normal(0, 22, picture.shape)
    encoded = cv2.imencode(".jpg", dark.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 12])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


ROWS: tuple[tuple[str, Callable[[], Pixels]], ...] = (
    ("from the front, lips closed", lambda: edit(eee=-10, aaa=-20)),
    ("a drawing", lambda: read(DRAWING)),
    ("a painting, teeth shown", lambda: read(PAINTING)),
    ("turned by 20 degrees", lambda: edit(rotate_yaw=20)),
    ("mouth wide open", lambda: edit(aaa=110)),
    ("microphone in front of the mouth", lambda: with_microphone(read(PORTRAIT))),
    ("tiny face (enlarged)", lambda: far_away(read(PORTRAIT))),
    ("noise and compression", lambda: noisy(read(PORTRAIT))),
)


def frames_at(
    source: Path, voice: Path | Mapping[int, str], options: TalkOptions, seconds: tuple[float, ...]
) -> Iterator[Pixels]:
    """Yield the frames of a talking video at some times, in order."""
    for k, frame in enumerate(Talker().frames(source, voice, options)):
        if k in [round(25 * at) for at in seconds]:
            yield frame
        if k >= round(25 * max(seconds)):
            return


def draw_demo() -> Pixels:
    """Return frames of four talking videos, with head motion and blinks."""

    def tile(frame: Pixels, box: tuple[int, int, int, int], width: int = 360) -> Pixels:
        return np.asarray(Image.fromarray(frame).crop(box).resize((width, 360), Image.Resampling.LANCZOS))

    options = TalkOptions(renderer="embedded", driver="signal")
    head, drawn = (110, 30, 660, 580), (94, 60, 674, 640)
    photos = [tile(frame, head) for frame in frames_at(PORTRAIT, VOICE, options, (0.0, 0.48, 2.4))]
    paintings = [tile(frame, head) for frame in frames_at(PAINTING, VOICE, options, (0.48,))]
    drawings = [tile(frame, drawn) for frame in frames_at(DRAWING, VOICE, options, (0.48, 1.2))]
    voices = {1: f"{VOICE}", 2: f"{VOICE}@7.5"}
    pairs = [tile(frame, (0, 0, 960, 480), 720) for frame in frames_at(PAIR, voices, options, (0.48,))]
    first, second = [*photos, drawings[0]], [*paintings, drawings[1], *pairs]
    return np.concatenate([np.concatenate(first, axis=1), np.concatenate(second, axis=1)])


def draw_row(label: str, picture: Pixels, folder: Path) -> Pixels:
    """Return the tiles of one picture, beside each other."""
    path = folder / f"{label}.png"
    Image.fromarray(picture).save(path)
    frames = frames_at(path, VOICE, OPTIONS, (CLOSED_S, OPEN_S))
    shown = [each[FAR] if "tiny" in label else each for each in (picture, *frames)]
    tiles = [np.asarray(Image.fromarray(each).resize((TILE, TILE), Image.Resampling.LANCZOS)) for each in shown]
    row = Image.fromarray(np.concatenate(tiles, axis=1))
    draw = ImageDraw.Draw(row)
    draw.rectangle([0, 0, 12 + 7 * len(label), 20], fill="#000000")
    draw.text((6, 4), label, fill="#ffffff")
    return np.asarray(row)


def main() -> None:
    """Write both pictures; of the gallery, two columns of rows."""
    logging.basicConfig(format="%(message)s")
    docs = Path(sys.argv[1] if sys.argv[1:] else "docs")
    Image.fromarray(draw_demo()).save(docs / "demo.jpg", quality=88)
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for label, make in ROWS:
            print(f"{label}:")
            rows.append(draw_row(label, make(), Path(folder)))
    half = len(rows) // 2
    gap = np.full((half * TILE, 12, 3), 255, np.uint8)
    sheet = np.concatenate([np.concatenate(rows[:half]), gap, np.concatenate(rows[half:])], axis=1)
    Image.fromarray(sheet).save(docs / "inputs.jpg", quality=86)


if __name__ == "__main__":
    main()
