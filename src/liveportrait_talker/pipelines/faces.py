"""`find_faces`: the faces of a picture or a video, numbered as `--face` and `--speaker` count them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..arrays import Image
from ..errors import MediaError
from ..face.people import track_people
from ..face.tracked import TrackedSource
from ..media import open_footage
from ..media.image_output import check_image_output, write_image
from ..options.shared import ImageOptions
from ..progress import OnProgress, ignore_progress, steps_of
from .run import is_same_file
from .speakers import name_places

_COLOURS = ((255, 196, 0), (0, 200, 255), (255, 90, 150), (120, 230, 80))


@dataclass(frozen=True)
class FoundFace:
    """A face of a picture, or a person of a video."""

    number: int
    """From 1: the faces of the first frame with a face, largest first, then those who appear later."""
    place: str | None
    """left, middle, right, or None between them."""
    box: tuple[int, int, int, int]
    """left, top, right, bottom in px, where it is first seen."""
    eye_distance: float
    """Between the outer corners of the eyes, px."""
    first_seconds: float
    """When it is first seen; 0 in a picture."""
    seen: float
    """Share of the time in which it is seen; 1 in a picture."""


def find_faces(
    source: Path | str,
    picture: Path | str | None = None,
    options: ImageOptions | None = None,
    *,
    max_seconds: float = 3600.0,
    first_seconds: float | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> list[FoundFace]:
    """Return the faces of a picture, or everybody in a video, in order of their numbers.

    Args:
        source: the picture or video.
        picture: where to write it with the numbers drawn in, .png, .jpg or .webp: a video's frame with the most faces.
        options: limits of the size; the others are not used.
        max_seconds: longest video that is accepted.
        first_seconds: only this much of a video is searched; None: all.
        overwrite: replace `picture` if it exists.
        on_progress: called as the work goes on.

    Raises:
        TalkerError: anything the user can fix, in one sentence.
    """
    options = options or ImageOptions()
    if picture is not None:
        check_image_output(Path(picture), overwrite)
        if is_same_file(Path(picture), Path(source)):
            raise MediaError(f"{picture} is the source and would be lost; name another output")
    with open_footage(
        Path(source), max_side=options.max_size, max_pixels=options.max_pixels, max_seconds=max_seconds
    ) as whole:
        footage = whole
        if first_seconds is not None and whole.fps:
            footage = whole.first(max(1, round(first_seconds * whole.fps)))
        people = track_people(footage, on_frame=steps_of("finding the faces", on_progress or ignore_progress))
        places = name_places(people)
        found = [_describe(k, person, places[k]) for k, person in enumerate(people)]
        if picture is not None:
            shown = [sum(person.shows_face(k) for person in people) for k in range(len(footage))]
            image = _draw_numbers(footage[int(np.argmax(shown))], people, int(np.argmax(shown)))
            write_image(Path(picture), image, overwrite=overwrite, title="Faces", comment="The faces, numbered.")
    return found


def number_faces(
    path: str, max_megapixels: float, max_seconds: float, first_seconds: float, picture: str
) -> list[dict[str, Any]]:
    """Return the faces as `find_faces` does, and write the picture; called in a child process for uploads."""
    limits = ImageOptions(max_megapixels=max_megapixels)
    found = find_faces(path, picture, limits, max_seconds=max_seconds, first_seconds=first_seconds, overwrite=True)
    return [asdict(face) for face in found]


def _describe(k: int, person: TrackedSource, place: str | None) -> FoundFace:
    frames = [n for n in range(len(person.faces)) if person.shows_face(n)]
    first = frames[0] if frames else 0
    face = person.faces[first]
    (left, top), (right, bottom) = face.landmarks[:, :2].min(axis=0), face.landmarks[:, :2].max(axis=0)
    return FoundFace(
        number=k + 1,
        place=place,
        box=(int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))),
        eye_distance=round(float(face.pose.iod), 1),
        first_seconds=round(first / person.footage.fps, 2) if person.footage.fps else 0.0,
        seen=round(len(frames) / len(person.faces), 3),
    )


def _draw_numbers(image: Image, people: list[TrackedSource], index: int) -> Image:
    """Return a copy of a frame with a box and a number for each face in it."""
    out = image.copy()
    for k, person in enumerate(people):
        if person.shows_face(index):
            xy = person.faces[index].landmarks[:, :2]
            left, top = (int(v) for v in np.maximum(xy.min(axis=0), 0))
            right, bottom = (int(v) for v in xy.max(axis=0))
            line = max(2, round(0.012 * max(image.shape[:2]) / 3))
            colour = _COLOURS[k % len(_COLOURS)]
            cv2.rectangle(out, (left, top), (right, bottom), colour, line)
            scale, text = max(0.6, (right - left) / 110), str(k + 1)
            (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2 * line)
            cv2.rectangle(out, (left, top), (left + width + 3 * line, top + height + 3 * line), colour, -1)
            place = (left + line, top + height + line)
            cv2.putText(out, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 2 * line, cv2.LINE_AA)
    return out
