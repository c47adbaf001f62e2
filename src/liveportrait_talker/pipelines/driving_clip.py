"""What is followed: a video, a picture or a template, opened and read for the renderer that will follow it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MediaError
from ..face.measurements import measure_faces
from ..face.tracker import track
from ..media import Footage, open_footage
from ..media.audio_file import has_audio
from ..motion.released_template import read_released_template
from ..motion.template import Template, load_template

if TYPE_CHECKING:
    from ..render.neural.liveportrait import LivePortrait

log = logging.getLogger(__name__)
OnFrame = Callable[[str, int, int], None]

STILL_FPS = 25.0
_TEMPLATES = (".npz", ".pkl", ".pickle")
_WHOSE = {"neural": "the networks saw", "embedded": "FaceMesh saw"}


@dataclass(frozen=True, eq=False)
class DrivingClip:
    """A driving video, picture or template. A context manager: it closes the file."""

    path: Path
    footage: Footage | None
    """None for a template."""
    template: Template | None
    """What was stored; None for footage, which is looked at when asked."""

    def __enter__(self) -> DrivingClip:
        return self

    def __exit__(self, *_: object) -> None:
        if self.footage is not None:
            self.footage.close()

    @property
    def fps(self) -> float:
        """Frames a second; of a picture, what a video of it would have."""
        if self.template is not None:
            return self.template.fps
        assert self.footage is not None
        return self.footage.fps or STILL_FPS

    def __len__(self) -> int:
        if self.template is not None:
            return len(self.template)
        assert self.footage is not None
        return len(self.footage)

    @property
    def sound(self) -> Path | None:
        """The file whose sound goes with the motion, if it has any."""
        return self.path if self.footage is not None and not self.footage.is_still and has_audio(self.path) else None

    def suits(self, renderer: str) -> bool:
        """Whether `renderer` (neural, embedded) could follow it."""
        if self.template is None:
            return True
        return (self.template.networks if renderer == "neural" else self.template.landmarks) is not None

    def refuse(self, renderer: str) -> MediaError:
        """What to say where it does not suit."""
        other = "embedded" if renderer == "neural" else "neural"
        return MediaError(
            f"the motion template {self.path} has only what {_WHOSE[other]}, which the {renderer} renderer cannot "
            f"follow: draw with --renderer {other}, or make one for it with liveportrait-talker animate PORTRAIT "
            f"DRIVING.mp4 -o out.mp4 --renderer {renderer} --save-template FILE.npz."
        )

    def looked_at(self, networks: LivePortrait | None, *, crop: bool, tell: OnFrame) -> Template:
        """Its motion for the embedded renderer and, where `networks` are given, for the neural one.

        Raises:
            NoFaceError: nobody is seen in it.
        """
        if self.template is not None:
            return self.template
        assert self.footage is not None
        seen = track(
            self.footage,
            warn_covered_mouth=False,
            on_frame=lambda done, total: tell("following the driving face", done, total),
        )
        landmarks = measure_faces(seen)
        if networks is None:
            return Template(networks=None, landmarks=landmarks)
        from ..render.neural.driving import driving_template  # brings torch

        return Template(
            networks=driving_template(
                networks,
                seen,
                fps=landmarks.fps,
                crop=crop,
                on_frame=lambda done, total: tell("reading its motion", done, total),
            ),
            landmarks=landmarks,
        )


def open_driving(path: Path, *, max_pixels: int, max_seconds: float) -> DrivingClip:
    """The video, picture or template (.npz; LivePortrait's released .pkl) in `path`.

    Raises:
        MediaError: it cannot be read, or is too long.
    """
    if path.suffix.lower() not in _TEMPLATES:
        footage = open_footage(path, max_pixels=max_pixels, max_seconds=max_seconds)
        return DrivingClip(path, footage, None)
    if path.suffix.lower() == ".npz":
        template = load_template(path)
    else:
        template = Template(networks=read_released_template(path), landmarks=None)
    seconds = len(template) / template.fps
    if seconds > max_seconds:
        raise MediaError(
            f"{path.name} is {seconds:.0f} seconds long, the limit is {max_seconds:g}; raise it with --max-seconds"
        )
    return DrivingClip(path, None, template)
