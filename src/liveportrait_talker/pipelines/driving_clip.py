"""Driving clips: a video, an image or a motion template, opened and read for the renderer that follows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import MediaError
from ..face.measurements import measure_faces
from ..face.tracker import track
from ..media import Footage, open_footage
from ..media.audio_file import has_audio
from ..motion.released_template import read_released_template
from ..motion.template import Template, load_template
from ..options.animate import is_template_name
from ..progress import OnProgress, steps_of
from ..render.protocol import DrivenRenderer, Renderer

STILL_FPS = 25.0


@dataclass(frozen=True, eq=False)
class DrivingClip:
    """A driving video, image or template. A context manager that closes the file."""

    path: Path
    footage: Footage | None
    """None for a template."""
    template: Template | None
    """None for footage, which is read on demand."""

    def __enter__(self) -> DrivingClip:
        return self

    def __exit__(self, *_: object) -> None:
        if self.footage is not None:
            self.footage.close()

    @property
    def fps(self) -> float:
        """Frames a second; for an image, the rate of a video of it."""
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
        """The file whose sound belongs to the motion, if it has any."""
        return self.path if self.footage is not None and not self.footage.is_still and has_audio(self.path) else None

    def suits(self, *, by_networks: bool) -> bool:
        """Return whether a renderer could follow it that reads driving clips by its networks, or by landmarks."""
        if self.template is None:
            return True
        return (self.template.networks if by_networks else self.template.landmarks) is not None

    def refuse(self, renderer: str) -> MediaError:
        """Return the error for a template that the renderer of this name cannot follow."""
        assert self.template is not None
        other, stored = ("neural", "networks'") if self.template.landmarks is None else ("embedded", "landmarks'")
        return MediaError(
            f"the motion template {self.path} has only the {stored} motion, which the {renderer} renderer cannot "
            f"follow: draw with --renderer {other}, or make one for it with liveportrait-talker animate PORTRAIT "
            f"DRIVING.mp4 -o out.mp4 --renderer {renderer} --save-template FILE.npz."
        )

    def read_motion(self, renderer: Renderer, *, crop: bool, on_progress: OnProgress) -> Template:
        """Return its motion by landmarks and, for a renderer that reads driving clips by itself, also by its networks.

        Raises:
            NoFaceError: there is no face in it.
        """
        if self.template is not None:
            return self.template
        assert self.footage is not None
        on_frame = steps_of("following the driving face", on_progress)
        driving = track(self.footage, warn_covered_mouth=False, on_frame=on_frame)
        landmarks = measure_faces(driving)
        if not isinstance(renderer, DrivenRenderer):
            return Template(networks=None, landmarks=landmarks)
        on_step = steps_of("reading its motion", on_progress)
        return Template(
            networks=renderer.read_driving(driving, fps=landmarks.fps, crop=crop, on_step=on_step), landmarks=landmarks
        )


def open_driving(path: Path, *, max_pixels: int, max_seconds: float) -> DrivingClip:
    """Open the video, image or template (.npz; LivePortrait's released .pkl) in `path`.

    Raises:
        MediaError: it cannot be read, or is too long.
    """
    if not is_template_name(path):
        footage = open_footage(path, max_pixels=max_pixels, max_seconds=max_seconds)
        return DrivingClip(path, footage, None)
    if path.suffix.lower() == ".npz":
        template = load_template(path)
    else:
        template = Template(networks=read_released_template(path), landmarks=None)
    try:
        template.check_values()
    except ValueError as error:
        raise MediaError(f"the motion template {path} holds no motion of a face: {error}") from error
    seconds = len(template) / template.fps
    if seconds > max_seconds:
        raise MediaError(
            f"{path.name} is {seconds:.0f} seconds long, the limit is {max_seconds:g}; raise it with --max-seconds"
        )
    return DrivingClip(path, None, template)


def describe_template(path: str, max_seconds: float) -> str:
    """Return a description of a motion template. Raises MediaError for one that cannot be read, or is too long."""
    with open_driving(Path(path), max_pixels=1, max_seconds=max_seconds) as clip:
        length = "1 frame" if len(clip) == 1 else f"{len(clip)} frames, {len(clip) / clip.fps:.1f} s"
        return f"motion template, {length}"
