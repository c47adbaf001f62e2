"""VoxCeleb's text files: the face boxes of an utterance at 25 frames/s.

Source: docs/method/training.md, Text files and Face box.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import MediaError
from ..system.links import leads_out

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Boxes = npt.NDArray[np.float64]

Unit = Literal["fractions", "pixels"]

FPS = 25
"""Frame rate of VoxCeleb's frame numbers, at any video's own rate."""
PIXEL_HEIGHT = 360
"""Height in px of the frame that VoxCeleb1's boxes refer to."""
_COLUMNS = ["FRAME", "X", "Y", "W", "H"]
_MAX_FRAME = 10**9
_MAX_FRACTION = 3.0  # boxes in fractions may exceed the frame; no box in pixels is this small
_MIN_SIDE = 20  # px of a face crop


@dataclass(frozen=True, eq=False)
class Utterance:
    """The content of a text file: one face in consecutive frames of a video."""

    speaker: str
    video: str
    """YouTube's id of the video."""
    name: str
    """Name of the text file without suffix."""
    first: int
    """First frame in the whole video, counted from 0 at 25 frames/s."""
    last: int
    """Last frame, inclusive."""
    boxes: Boxes
    """(last − first + 1, 4) float64: x, y of the top left corner, width, height, as in the file."""
    unit: Unit
    """`fractions` of the frame (VoxCeleb2), or `pixels` of a 360-line frame (VoxCeleb1)."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.last - self.first + 1

    @property
    def start_seconds(self) -> float:
        """Time of the first frame."""
        return self.first / FPS

    @property
    def end_seconds(self) -> float:
        """End of the last frame."""
        return (self.last + 1) / FPS

    def fractions(self, width: int, height: int) -> Boxes:
        """Return the boxes (n, 4) float64 as fractions of a frame of `width` × `height` px."""
        import numpy as np

        if self.unit == "fractions":
            return self.boxes
        scale = height / PIXEL_HEIGHT
        boxes: Boxes = self.boxes * np.array([scale / width, scale / height, scale / width, scale / height])
        return boxes


@dataclass(frozen=True)
class VideoFolder:
    """A folder `<speaker>/<youtube id>` of the metadata."""

    speaker: str
    video: str
    path: Path
    utterances: tuple[str, ...]
    """Names of its text files without suffix, sorted."""

    @property
    def key(self) -> str:
        """`speaker/video`."""
        return f"{self.speaker}/{self.video}"

    def text(self, utterance: str) -> Path:
        """Return the path of an utterance's text file."""
        return self.path / f"{utterance}.txt"


def read_utterance(path: Path) -> Utterance:
    """Read a text file `<speaker>/<youtube id>/<utterance>.txt`.

    Raises:
        MediaError: it cannot be read, has no rows, or a line is invalid; the message names the file and the line.
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
        raise MediaError(f"{place} has no line `{' '.join(_COLUMNS)}`: it is not a VoxCeleb text file.")
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
        raise MediaError(f"{place}: {len(fields)} numbers instead of {len(_COLUMNS)} ({' '.join(_COLUMNS)}).")
    try:
        frame, box = int(fields[0]), [float(field) for field in fields[1:]]
    except ValueError:
        raise MediaError(f"{place}: `{line.strip()[:60]}` is not five numbers.") from None
    if not 0 <= frame < _MAX_FRAME or not all(map(math.isfinite, box)):
        raise MediaError(f"{place}: `{line.strip()[:60]}` is not a frame number and a box.")
    if box[2] < 0 or box[3] < 0:
        raise MediaError(f"{place}: a box cannot be {box[2]:g} wide and {box[3]:g} high.")
    return frame, box


def _unit(boxes: Boxes, place: str) -> Unit:
    """Infer the unit from the boxes' sizes."""
    sizes = boxes[:, 2:].max(axis=1)
    if (sizes <= _MAX_FRACTION).all():
        return "fractions"
    if (sizes > _MAX_FRACTION).all():
        return "pixels"
    raise MediaError(f"{place} mixes boxes in fractions of the frame with boxes in pixels.")


def find_videos(root: Path, notes: list[str]) -> Iterator[VideoFolder]:
    """Yield the videos of `<root>/<speaker>/<youtube id>/<utterance>.txt`, sorted, without opening the text files.

    Other files are skipped, each with a message in `notes`.

    Raises:
        MediaError: `root` is not a readable folder.
    """
    if not root.is_dir():
        raise MediaError(f"{root} is not a folder: give the one whose folders are speakers (unpack vox2_dev_txt.zip).")
    for speaker in _folders(root, root, notes):
        for video in _folders(speaker, root, notes):
            names = []
            for path in _sorted(video, root, notes):
                if path.suffix == ".txt" and not path.name.startswith(".") and path.is_file():
                    names.append(path.stem)
                else:
                    notes.append(f"{path} is skipped: a video's folder holds .txt files only.")
            if names:
                yield VideoFolder(speaker.name, video.name, video, tuple(names))
            else:
                notes.append(f"{video} is skipped: it has no .txt file.")


def _folders(parent: Path, root: Path, notes: list[str]) -> Iterator[Path]:
    for path in _sorted(parent, root, notes):
        if path.is_dir() and not path.name.startswith("."):
            yield path
        else:
            notes.append(f"{path} is skipped: a folder is expected.")


def _sorted(folder: Path, root: Path, notes: list[str]) -> list[Path]:
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        notes.append(f"{folder} is skipped: it cannot be read ({error.strerror}).")
        return []
    outside = [path for path in entries if path.is_symlink() and leads_out(path, root)]
    notes += [f"{path} is skipped: it is a link that leaves {root}." for path in outside]
    return [path for path in entries if path not in outside]


def interpolate_boxes(boxes: Boxes, frames: int) -> Boxes:
    """Resample boxes (n, 4) linearly to (frames, 4) float64 over the same duration."""
    import numpy as np

    if frames < 1 or not len(boxes):
        raise ValueError(f"at least one box and one frame are needed, got {len(boxes)} and {frames}")
    places = np.linspace(0, len(boxes) - 1, frames)
    return np.stack([np.interp(places, np.arange(len(boxes)), column) for column in boxes.T], axis=1)


def crop_rectangle(box: Boxes, width: int, height: int) -> tuple[int, int, int, int]:
    """Return the region around a face: x1, y1, x2, y2 in px of a frame of `width` × `height`.

    `box` (4,) holds x, y, width, height as fractions of the frame. The region has twice the size of the box; it is
    shifted into the frame at the left and top and truncated at the right and bottom. If a side is 20 px or less, the
    whole frame is returned. Source: docs/method/training.md, Face box.
    """
    x1, y1 = int(box[0] * width), int(box[1] * height)
    x2, y2 = int(box[2] * width) + x1, int(box[3] * height) + y1
    centre_x, centre_y = int(x1 + (x2 - x1) / 2), int(y1 + (y2 - y1) / 2)
    size_x, size_y = int(2 * (x2 - x1)), int(2 * (y2 - y1))
    left, top = max(centre_x - int(size_x / 2), 0), max(centre_y - int(size_y / 2), 0)
    right, bottom = min(left + size_x, width), min(top + size_y, height)
    if right - left <= _MIN_SIDE or bottom - top <= _MIN_SIDE:
        return 0, 0, width, height
    return left, top, right, bottom


def split_of(speaker: str, seed: int, val_share: float) -> Literal["train", "val"]:
    """Return a speaker's split, with about `val_share` (0…1) of all speakers in `val`.

    Depends on the seed and the name alone: the same on every machine and for every selection of speakers.
    """
    digest = hashlib.sha256(f"{seed}\0{speaker}".encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") < val_share * 2.0**64 else "train"
