"""VoxCeleb's text files: who is seen where, frame by frame, at 25 frames a second (specification 13.2 and 13.3)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import MediaError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Boxes = npt.NDArray[np.float64]

Unit = Literal["fractions", "pixels"]

FPS = 25
"""Frames a second in which VoxCeleb counts, whatever the video's own rate."""
PIXEL_HEIGHT = 360
"""Height of the frame in which VoxCeleb1 measures, px."""
_COLUMNS = ["FRAME", "X", "Y", "W", "H"]
_LARGEST_FRACTION = 3.0  # a box may stand a little out of the picture; no face is three pixels of a 360-line frame
_SMALLEST_SIDE = 20  # px: what is cut narrower is no use as a face crop


@dataclass(frozen=True, eq=False)
class Utterance:
    """One text file: a face in a stretch of a video."""

    speaker: str
    video: str
    """The video's id on YouTube."""
    name: str
    """The text file's name without its ending."""
    first: int
    """Number of the first frame in the whole video, counted from 0 at 25 a second."""
    last: int
    """Number of the last frame; it belongs to the utterance."""
    boxes: Boxes
    """(last − first + 1, 4) float64: x, y of the top left corner, width, height, as written in the file."""
    unit: Unit
    """`fractions` of the frame (VoxCeleb2), or `pixels` of a 360-line frame (VoxCeleb1)."""

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return self.last - self.first + 1

    @property
    def start_seconds(self) -> float:
        """When the first frame appears."""
        return self.first / FPS

    @property
    def end_seconds(self) -> float:
        """When the last frame ends; the original stopped where it begins and lost it."""
        return (self.last + 1) / FPS

    def fractions(self, width: int, height: int) -> Boxes:
        """The boxes (n, 4) float64 as fractions of a frame of `width` × `height` px.

        VoxCeleb1 does not say how wide its frames are, so its boxes can be converted only when a frame is known.
        """
        import numpy as np

        if self.unit == "fractions":
            return self.boxes
        scale = height / PIXEL_HEIGHT
        boxes: Boxes = self.boxes * np.array([scale / width, scale / height, scale / width, scale / height])
        return boxes


@dataclass(frozen=True)
class VideoFolder:
    """One folder `<speaker>/<youtube id>` of the metadata."""

    speaker: str
    video: str
    path: Path
    utterances: tuple[str, ...]
    """Names of its text files without their ending, sorted."""

    @property
    def key(self) -> str:
        """`speaker/video`."""
        return f"{self.speaker}/{self.video}"

    def text(self, utterance: str) -> Path:
        """The text file of an utterance."""
        return self.path / f"{utterance}.txt"


def read_utterance(path: Path) -> Utterance:
    """The text file `<speaker>/<youtube id>/<utterance>.txt`, whose folders name the speaker and the video.

    Raises:
        MediaError: it cannot be read, has no rows, or a line is wrong; the text names the file and the line.
    """
    import numpy as np

    place = "/".join(path.parts[-3:])
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise MediaError(f"{place} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError:
        raise MediaError(f"{place} is not a text file.") from None
    header = next((number for number, line in enumerate(lines) if line.split() == _COLUMNS), None)
    if header is None:
        raise MediaError(f"{place} has no line `{' '.join(_COLUMNS)}`: it is not a text file of VoxCeleb.")
    frames: list[int] = []
    rows: list[list[float]] = []
    for number, line in enumerate(lines[header + 1 :], header + 2):
        if not line.strip():
            continue
        frame, box = _row(line, f"{place}, line {number}")
        if frames and frame != frames[-1] + 1:
            raise MediaError(f"{place}, line {number}: frame {frame} follows frame {frames[-1]}.")
        frames.append(frame)
        rows.append(box)
    if not rows:
        raise MediaError(f"{place} has no rows under its header.")
    boxes = np.array(rows, np.float64)
    return Utterance(
        speaker=path.parts[-3] if len(path.parts) > 2 else "",
        video=path.parts[-2] if len(path.parts) > 1 else "",
        name=path.stem,
        first=frames[0],
        last=frames[-1],
        boxes=boxes,
        unit=_unit(boxes, place),
    )


def _row(line: str, place: str) -> tuple[int, list[float]]:
    fields = line.split()
    if len(fields) != len(_COLUMNS):
        raise MediaError(f"{place}: {len(fields)} numbers where {len(_COLUMNS)} belong ({' '.join(_COLUMNS)}).")
    try:
        frame, box = int(fields[0]), [float(field) for field in fields[1:]]
    except ValueError:
        raise MediaError(f"{place}: `{line.strip()[:60]}` is not five numbers.") from None
    if frame < 0 or not all(map(math.isfinite, box)):
        raise MediaError(f"{place}: `{line.strip()[:60]}` is no frame number and box.")
    if box[2] < 0 or box[3] < 0:
        raise MediaError(f"{place}: a box cannot be {box[2]:g} wide and {box[3]:g} high.")
    return frame, box


def _unit(boxes: Boxes, place: str) -> Unit:
    """By the sizes: a face is never wider than three pictures, nor as narrow as three pixels."""
    largest = boxes[:, 2:].max(axis=1)
    if (largest <= _LARGEST_FRACTION).all():
        return "fractions"
    if (largest > _LARGEST_FRACTION).all():
        return "pixels"
    raise MediaError(f"{place} mixes boxes in fractions of the frame with boxes in pixels.")


def walk(root: Path, note: list[str] | None = None) -> Iterator[VideoFolder]:
    """The videos of `<root>/<speaker>/<youtube id>/<utterance>.txt`, sorted; the text files are not opened.

    What does not belong there is passed over, and a sentence about it added to `note`.

    Raises:
        MediaError: `root` is not a folder that can be read.
    """
    notes = [] if note is None else note
    if not root.is_dir():
        raise MediaError(f"{root} is not a folder: give the one whose folders are speakers (unpack vox2_dev_txt.zip).")
    for speaker in _folders(root, notes):
        for video in _folders(speaker, notes):
            names = []
            for path in _sorted(video, notes):
                if path.suffix == ".txt" and not path.name.startswith(".") and path.is_file():
                    names.append(path.stem)
                else:
                    notes.append(f"{path} is passed over: a folder of a video holds .txt files only.")
            if names:
                yield VideoFolder(speaker.name, video.name, video, tuple(names))
            else:
                notes.append(f"{video} is passed over: it has no .txt file.")


def _folders(parent: Path, notes: list[str]) -> Iterator[Path]:
    for path in _sorted(parent, notes):
        if path.is_dir() and not path.name.startswith("."):
            yield path
        else:
            notes.append(f"{path} is passed over: a folder belongs there.")


def _sorted(folder: Path, notes: list[str]) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        notes.append(f"{folder} is passed over: it cannot be read ({error.strerror}).")
        return []


def interpolated(boxes: Boxes, frames: int) -> Boxes:
    """Boxes (n, 4) laid evenly over a duration → (frames, 4) float64 evenly over the same (specification 13.2)."""
    import numpy as np

    if frames < 1 or not len(boxes):
        raise ValueError(f"boxes and frames must be one at least, got {len(boxes)} and {frames}")
    places = np.linspace(0, len(boxes) - 1, frames)
    return np.stack([np.interp(places, np.arange(len(boxes)), column) for column in boxes.T], axis=1)


def crop_rectangle(box: Boxes, width: int, height: int) -> tuple[int, int, int, int]:
    """The region around a face (specification 13.3): x1, y1, x2, y2 in px of a frame of `width` × `height`.

    `box` (4,) holds x, y, width, height as fractions of the frame. The region is twice the box, moved in at the left
    and at the top, cut off at the right and at the bottom. Where a side of it is 20 px or less it is the whole frame,
    corner included (the original took the whole frame's picture with the tiny region's corner).
    """
    x1, y1 = int(box[0] * width), int(box[1] * height)
    x2, y2 = int(box[2] * width) + x1, int(box[3] * height) + y1
    centre_x, centre_y = int(x1 + (x2 - x1) / 2), int(y1 + (y2 - y1) / 2)
    size_x, size_y = int(2 * (x2 - x1)), int(2 * (y2 - y1))
    left, top = max(centre_x - int(size_x / 2), 0), max(centre_y - int(size_y / 2), 0)
    right, bottom = min(left + size_x, width), min(top + size_y, height)
    if right - left <= _SMALLEST_SIDE or bottom - top <= _SMALLEST_SIDE:
        return 0, 0, width, height
    return left, top, right, bottom


def split_of(speaker: str, seed: int, val_share: float) -> Literal["train", "val"]:
    """The side that a speaker is on, with about `val_share` (0…1) of all speakers in `val`.

    Made from the seed and the name alone: the same on every machine, whoever else is in the data set, and no speaker is
    on both sides.
    """
    digest = hashlib.sha256(f"{seed}\0{speaker}".encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") < val_share * 2.0**64 else "train"
