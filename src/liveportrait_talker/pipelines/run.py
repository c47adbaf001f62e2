"""Steps that all pipelines share: check the output, open the source, find its face, draw, write, report."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from .. import __version__
from ..arrays import Floats, Image
from ..errors import MediaError
from ..face.source_crop import crop_source
from ..face.tracked import TrackedSource
from ..face.tracker import track
from ..label.certificates import Certificate
from ..media import Footage, Mix, VideoWriter, check_encoder, check_output, open_footage
from ..media.image_output import check_image_output, is_image_name, write_image
from ..media.image_sequence import SequenceWriter, check_sequence_output, is_sequence_name
from ..media.output_file import Label
from ..motion.rotation import MAX_TURN_DEG
from ..options.animate import AnimateOptions
from ..options.background import refuse_background
from ..options.commands import DrawingOptions
from ..options.edit import EditSetup
from ..options.shared import ImageOptions
from ..options.talk import TalkOptions
from ..progress import OnProgress, ignore_progress, steps_of
from ..render.paste import composite
from ..render.protocol import FaceFrame, PreparedFace, TurningFace
from .labels import Origin, find_signer, prepare_label

log = logging.getLogger(__name__)

Options = TypeVar("Options")


@dataclass(frozen=True)
class Report:
    """What was made, and how."""

    path: Path
    renderer: str
    renderer_reason: str
    """Why this renderer was chosen."""
    frames: int
    """1 for an image."""
    fps: float
    size: tuple[int, int]
    """Width and height, px."""
    elapsed_seconds: float

    @property
    def video_seconds(self) -> float:
        """Length of the video."""
        return self.frames / self.fps

    @property
    def speed(self) -> float:
        """Frames a second of the whole run."""
        return self.frames / max(self.elapsed_seconds, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, for `--json`."""
        more = {"video_seconds": self.video_seconds, "speed_fps": round(self.speed, 2), "version": __version__}
        values = dataclasses.asdict(self) | more
        if is_image_name(self.path):
            values = {key: value for key, value in values.items() if key not in ("fps", "video_seconds")}
        plain: dict[str, Any] = _plain(values)
        return plain


@dataclass(frozen=True)
class Output:
    """A file to be written."""

    path: Path
    overwrite: bool
    options: TalkOptions | AnimateOptions | EditSetup
    kind: Literal["image", "video"] | None = None
    """None: an image where the name has an image's suffix, else a video."""

    def check(self, inputs: Iterable[Path | None], also: Path | None = None) -> None:
        """Raise MediaError where the file can't be written, or if it, or `also`, is one of the inputs."""
        if self.is_image:
            check_image_output(self.path, self.overwrite)
            if self.transparent and self.path.suffix.lower() not in (".png", ".webp"):
                raise MediaError(f"{self.path.name} cannot be transparent: name a .png or .webp")
        elif self.is_sequence:
            check_sequence_output(self.path, self.overwrite)
        else:
            check_output(self.path, self.overwrite, transparent=self.transparent)
            check_encoder(self.options.encoder)
        for out in (self.path, also):
            for path in (*inputs, *self.options.renderer_files):
                if out is not None and path is not None and is_same_file(out, path):
                    raise MediaError(f"{out} is one of the inputs and would be lost; name another output")
        self._signer  # noqa: B018 (a certificate that cannot sign is found before any work)

    @property
    def transparent(self) -> bool:
        """Whether the images have an opacity, (H, W, 4)."""
        return self.options.is_transparent

    @property
    def is_image(self) -> bool:
        """Whether the file is an image."""
        return not self.is_sequence and (self.kind == "image" if self.kind else is_image_name(self.path))

    @property
    def is_sequence(self) -> bool:
        """Whether numbered pictures are written, which only a transparent video is."""
        return self.transparent and self.kind != "image" and is_sequence_name(self.path)

    @cached_property
    def _signer(self) -> Certificate | None:
        """The certificate that signs the file's content credentials, if it gets some."""
        return find_signer(self.path, self.options, is_sequence=self.is_sequence)

    def write(
        self,
        images: Iterator[Image],
        *,
        size: tuple[int, int],
        fps: float,
        frames: int,
        title: str,
        comment: str,
        renderer: str,
        origin: Origin,
        sound: Path | Mix | None = None,
        pixel_aspect: Fraction = Fraction(1),
        on_progress: OnProgress = ignore_progress,
    ) -> tuple[int, int]:
        """Write the images and return the (width, height) of the file; it appears when it is complete, or not at all.

        Args:
            images: (H, W, 3) uint8 RGB, `frames` of them; RGBA if transparent.
            size: their width and height.
            fps: frames a second.
            frames: number of images.
            title: of the file.
            comment: of the file, a sentence; the statement that it is AI-generated, and the package, are added.
            renderer: name of the renderer, for the comment.
            origin: for the content credentials.
            sound: file whose sound is added, or several at once.
            pixel_aspect: width of a pixel / its height.
            on_progress: called after each image.
        """
        comment = f"AI-generated: {comment} Made with LivePortraitTalker {__version__} ({renderer} renderer)."
        label: Label | None = None
        if self._signer is not None:
            label = prepare_label(
                self._signer,
                self.options,
                origin,
                title=title,
                description=comment,
                renderer=renderer,
                is_image=self.is_image,
            )
        if self.is_image:
            write_image(self.path, next(images), overwrite=self.overwrite, title=title, comment=comment, label=label)
            return size
        if self.is_sequence:
            if sound is not None:
                log.warning("%s: numbered pictures have no sound.", self.path.name)
            with SequenceWriter(self.path, title=title, comment=comment, overwrite=self.overwrite) as sequence:
                for k, image in enumerate(images):
                    sequence.write(image)
                    on_progress("drawing", k + 1, frames)
            return size
        with VideoWriter(
            self.path,
            size=size,
            fps=fps,
            voice=sound,
            frame_count=frames,
            crf=self.options.quality,
            encoder=self.options.encoder,
            pixel_aspect=pixel_aspect,
            overwrite=self.overwrite,
            title=title,
            comment=comment,
            transparent=self.transparent,
            label=label,
        ) as writer:
            on_progress("drawing", 0, frames)
            for k, image in enumerate(images):
                writer.write(image)
                on_progress("drawing", k + 1, frames)
        return size[0] + size[0] % 2, size[1] + size[1] % 2


def given_or_default(options: Options | None, kind: type[Options]) -> Options:
    """Return the options that were given, by default those of `kind`. Raises TypeError for other objects."""
    if options is not None and not isinstance(options, kind):
        raise TypeError(f"the options must be {kind.__name__}, not {type(options).__name__}")
    return kind() if options is None else options


def open_source(path: Path, options: DrawingOptions, max_seconds: float = 3600.0) -> Footage:
    """Open the source within the limits of its options. Raises MediaError; OptionError for a video's background."""
    footage = open_footage(
        path,
        max_side=options.max_size,
        max_pixels=options.max_pixels,
        max_seconds=max_seconds,
    )
    if options.behind is not None and not footage.is_still:
        footage.close()
        raise refuse_background(footage.name)
    return footage


def shorten(footage: Footage, frames: int, fps: float) -> Footage:
    """Return what is needed of a source for `frames` frames at `fps`."""
    return footage.first(int(np.ceil(frames * (footage.fps or fps) / fps)))


def find_face(
    footage: Footage,
    options: ImageOptions,
    *,
    duration: tuple[int, float] | None = None,
    search_small_faces: bool = True,
    on_progress: OnProgress = ignore_progress,
    **window: float,
) -> TrackedSource:
    """Find the face in the source, cropped to head and shoulders if `options.crop` is set.

    Args:
        footage: the source.
        options: which face, and whether to crop.
        duration: (frames, frames a second) of the output, of a video no more is read; None: all of it.
        search_small_faces: search an image once more for small faces where the first search finds none.
        on_progress: called after each frame.
        window: of the crop: `scale`, `shift_x`, `shift_y`.

    Raises:
        NoFaceError: there is none, or not the one asked for.
    """
    if duration is not None:
        footage = shorten(footage, *duration)
    on_frame = steps_of("finding the face", on_progress)
    source = track(footage, face=options.face, search_small_faces=search_small_faces, on_frame=on_frame)
    return crop_source(source, **window) if options.crop else source


def turn_limit(face: PreparedFace) -> Floats:
    """Return the pitch, yaw, roll (3,) in degrees up to which a face may follow another one."""
    return face.max_turn_deg if isinstance(face, TurningFace) else MAX_TURN_DEG


def composed(source: TrackedSource, faces: Iterable[FaceFrame]) -> Iterator[Image]:
    """Yield the source frames with the drawn faces pasted in, on demand. See `composite`."""
    for face in faces:
        yield composite(source, face)


def is_same_file(one: Path, other: Path) -> bool:
    """Return whether two paths are of one file that is there."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one is missing, or has an impossible name, which is reported when it is opened
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
