"""Draw a sheet of each picture: the head in nine poses, the mouth at five openings, the lids at four.

    python scripts/draw_contact_sheets.py PICTURE... -o sheet.jpg [--background '#00ff00']

The embedded renderer draws them as `edit` would, from the picture alone. What to look for: holes, folds and double
contours at the rim of the face, torn hair, a background that moves.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from liveportrait_talker.face.tracked import TrackedFace
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import open_footage
from liveportrait_talker.motion import HeadTrack, MotionTrack, MouthControls
from liveportrait_talker.options.background import parse_background
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer
from liveportrait_talker.render.paste import paste

POSES_DEG = [
    (0, 0, 0),
    (0, 20, 0),
    (0, -20, 0),
    (12, 0, 0),
    (-12, 0, 0),
    (0, 0, 15),
    (0, 0, -15),
    (8, 14, 6),
    (-8, -14, -6),
]
APERTURES_IOD = [0, 0.06, 0.11, 0.16, 0.22]
LIDS = [0, 0.35, 0.7, 1]  # 1 = shut
HEAD, MOUTH, EYES = (2.9, 3.4, 0.25), (1.0, 0.7, 0.75), (1.6, 0.8, 0)  # IOD: width, height; centre below the eyes


def draw(picture: Path, background: str) -> Iterator[tuple[str, np.ndarray, TrackedFace, tuple[float, float, float]]]:
    """Yield, for each tile of a picture, its label, the whole drawn image, the face and the part to show."""
    source = track(open_footage(picture, max_side=2560))
    behind = parse_background(background)
    colour = None if behind is None or behind.colour is None else np.array([[behind.colour]], np.uint8)
    face, image = source.faces[0], source.footage[0]
    heads, mouths, lids = len(POSES_DEG), len(APERTURES_IOD), len(LIDS)
    frames = heads + mouths + lids
    turn, controls, blink = np.zeros((frames, 3)), np.zeros((frames, 5)), np.zeros((frames, 2))
    turn[:heads] = POSES_DEG
    controls[heads : heads + mouths, 0] = np.array(APERTURES_IOD) - max(face.aperture, 0)
    blink[heads + mouths :] = np.array(LIDS)[:, None]
    motion = MotionTrack(25, HeadTrack.turning(turn), blink, np.zeros((frames, 2)), MouthControls(controls))
    labels = ["pitch {} yaw {} roll {}".format(*pose) for pose in POSES_DEG]
    labels += [f"aperture {value}" for value in APERTURES_IOD] + [f"lids {value}" for value in LIDS]
    parts = [HEAD] * heads + [MOUTH] * mouths + [EYES] * lids
    for drawn, label, part in zip(
        EmbeddedRenderer(background=colour).prepare(source).frames(motion), labels, parts, strict=True
    ):
        whole = paste(image if drawn.picture is None else drawn.picture, drawn)
        yield label, whole, face, part


def cut(image: np.ndarray, face: TrackedFace, part: tuple[float, float, float], width: int) -> np.ndarray:
    """Return a part of the image, scaled to this width in px."""
    across, down, below = np.array(part) * face.pose.iod
    x, y = face.landmarks[[33, 263], :2].mean(axis=0) + np.array([0, below])
    scale = width / across
    move = np.array([[scale, 0, width / 2 - scale * x], [0, scale, scale * (down / 2 - y)]])
    return cv2.warpAffine(
        image, move, (width, round(scale * down)), flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )


def main() -> None:
    """Draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the sheet, such as sheet.jpg")
    parser.add_argument("--width", type=int, default=1800, help="of the sheet, px (default: 1800)")
    parser.add_argument("--background", default="keep", metavar="keep|COLOR", help="behind the person (default: keep)")
    arguments = parser.parse_args()
    strips = []
    for picture in arguments.pictures:
        row: dict[tuple[float, float, float], list[np.ndarray]] = {}
        for label, image, face, part in draw(picture, arguments.background):
            columns = {HEAD: len(POSES_DEG), MOUTH: len(APERTURES_IOD), EYES: len(LIDS)}[part]
            tile = cut(image, face, part, arguments.width // columns)
            cv2.putText(
                tile, label, (4, tile.shape[0] - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 2, cv2.LINE_AA
            )
            cv2.putText(tile, label, (4, tile.shape[0] - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
            row.setdefault(part, []).append(tile)
        strips += [
            np.pad(strip := np.hstack(tiles), ((0, 4), (0, arguments.width - strip.shape[1]), (0, 0)))
            for tiles in row.values()
        ]
    if not cv2.imwrite(str(arguments.output), np.vstack(strips)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85]):
        raise SystemExit(f"cannot write {arguments.output}")


if __name__ == "__main__":
    main()
