"""`Animator`: a portrait (or a video) that follows another face.

source → Footage → TrackedSource → PreparedFace ─┐
driving → DrivingClip → Template (its motion) ───┴→ FaceFrame → composite → VideoWriter, with the driving sound
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..arrays import Image
from ..errors import MediaError
from ..face.source_crop import crop_source
from ..face.tracker import track
from ..media import Footage, VideoWriter, check_encoder, check_output, open_footage
from ..media.image_output import check_image_output, is_image_name, write_image
from ..motion.template import save_template as write_template
from ..options.animate import NEURAL_ONLY, AnimateOptions
from ..options.fields import given
from ..options.talk import TalkOptions
from ..progress import OnProgress
from ..render.protocol import Renderer
from .driving_clip import DrivingClip, open_driving
from .engines import Choice, Equipment, Weights, choose_renderer
from .reenactment import Performance, by_mesh, by_networks, clock

__all__ = ["AnimateOptions", "AnimateReport", "Animator"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnimateReport:
    """What was made, and how."""

    path: Path
    renderer: str
    renderer_reason: str
    """Why this one drew."""
    frames: int
    fps: float
    size: tuple[int, int]
    """Width and height, px."""
    sound: bool
    """Whether the driving sound is in it."""
    template: Path | None
    """The motion template that was stored."""
    elapsed_seconds: float
    options: AnimateOptions

    @property
    def video_seconds(self) -> float:
        """Length of the video."""
        return self.frames / self.fps

    @property
    def speed(self) -> float:
        """Frames a second of the whole run."""
        return self.frames / max(self.elapsed_seconds, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        more = {"video_seconds": self.video_seconds, "speed_fps": round(self.speed, 2), "version": __version__}
        template = None if self.template is None else str(self.template)
        return dataclasses.asdict(self) | more | {"path": str(self.path), "template": template}


class Animator:
    """A face follows a driving video, picture or motion template. Keep one for many: networks stay loaded.

    Args:
        weights: network → checkpoint file, in place of the installed weights.
    """

    def __init__(self, weights: Weights | None = None) -> None:
        self._equipment = Equipment(weights)

    def save(
        self,
        source: Path | str,
        driving: Path | str,
        out: Path | str,
        options: AnimateOptions | None = None,
        *,
        overwrite: bool = False,
        save_template: Path | str | None = None,
        on_progress: OnProgress | None = None,
    ) -> AnimateReport:
        """Write the source doing what the driving face does, with the driving sound.

        Args:
            source: picture or video with a face.
            driving: video or picture with a face; a motion template (.npz), or one of LivePortrait's (.pkl).
            out: the MP4 to write; where a picture follows a picture, a .png, .jpg or .webp.
            options: see AnimateOptions.
            overwrite: replace `out` and the template if they exist.
            save_template: store the driving motion in this .npz, for both renderers where the neural one draws.
            on_progress: called as the work goes on.

        Raises:
            TalkerError: anything the user can mend, told in one sentence.
        """
        options, out, source, driving = options or AnimateOptions(), Path(out), Path(source), Path(driving)
        template = None if save_template is None else Path(save_template)
        started = time.monotonic()
        as_picture = is_image_name(out)
        (check_image_output if as_picture else check_output)(out, overwrite)
        check_encoder(options.encoder)
        _check_template(template, overwrite)
        _keep_apart([path for path in (out, template) if path is not None], (source, driving))
        with ExitStack() as opened:
            clip = opened.enter_context(_driving(driving, options))
            footage = opened.enter_context(_footage(source, options))
            _, frames = clock(footage, clip, options)
            if as_picture != (footage.is_still and len(clip) == 1):
                raise MediaError(
                    f"{out.name} cannot be made: a picture that follows a picture is written as a .png, .jpg or .webp, "
                    "everything else as an .mp4; rename the output"
                )
            performance = self._performance(footage, clip, options, on_progress or _silent)
            sound = clip.sound
            size = performance.source.footage.size
            note = {
                "title": "AI-generated portrait animation",
                "comment": "AI-generated: the motion of this face is that of another. "
                f"Made with LivePortraitTalker {__version__} ({performance.drawing.name} renderer).",
            }
            if as_picture:
                write_image(out, next(performance.pictures()), overwrite=overwrite, **note)
            else:
                with VideoWriter(
                    out,
                    size=size,
                    fps=performance.fps,
                    voice=sound,
                    frame_count=frames,
                    crf=options.quality,
                    encoder=options.encoder,
                    pixel_aspect=footage.pixel_aspect,
                    overwrite=overwrite,
                    **note,
                ) as writer:
                    _write(writer, performance, on_progress or _silent)
                size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
            if template is not None:  # last: whoever stops the work finds nothing of it
                write_template(performance.motion, template)
        return AnimateReport(
            path=out,
            renderer=performance.drawing.name,
            renderer_reason=performance.drawing.reason,
            frames=frames,
            fps=performance.fps,
            size=size,
            sound=sound is not None,
            template=template,
            elapsed_seconds=time.monotonic() - started,
            options=options,
        )

    def frames(
        self,
        source: Path | str,
        driving: Path | str,
        options: AnimateOptions | None = None,
        *,
        on_progress: OnProgress | None = None,
    ) -> Iterator[Image]:
        """The same as a stream of (H, W, 3) uint8 RGB pictures. Raises TalkerError as `save` does."""
        options = options or AnimateOptions()
        with ExitStack() as opened:
            clip = opened.enter_context(_driving(Path(driving), options))
            footage = opened.enter_context(_footage(Path(source), options))
            yield from self._performance(footage, clip, options, on_progress or _silent).pictures()

    def _performance(
        self, footage: Footage, clip: DrivingClip, options: AnimateOptions, tell: OnProgress
    ) -> Performance:
        drawing = self._choice(clip, options)
        fps, frames = clock(footage, clip, options)
        if footage.fps is not None and frames / fps > len(footage) / footage.fps + 1 / fps:
            log.info("%s is shorter than what drives it and is played forth and back.", footage.name)
        renderer = self._renderer(drawing, options)  # loads networks: before any long work
        needed = int(np.ceil(frames * (footage.fps or fps) / fps))
        source = track(
            footage.first(needed),
            face=options.face,
            on_frame=lambda done, total: tell("finding the face", done, total),
        )
        if options.crop:
            source = crop_source(source)
        if drawing.name == "embedded":
            motion = clip.looked_at(None, crop=options.crop_driving, tell=tell)
            draw = by_mesh(renderer, source, motion, fps, frames, options)
        else:
            draw, motion = by_networks(renderer, source, clip, fps, frames, options, tell)
        return Performance(source, drawing, fps, frames, motion, draw)

    def _choice(self, clip: DrivingClip, options: AnimateOptions) -> Choice:
        """Raises TalkerError where what was asked for cannot run here, or cannot follow this template."""
        drawing = choose_renderer(TalkOptions(renderer=options.renderer), self._equipment.weights)
        if not clip.suits(drawing.name) and options.renderer == "auto" and drawing.name == "neural":
            drawing = Choice("embedded", "the template is for it")
        if not clip.suits(drawing.name):
            refusal = clip.refuse(drawing.name)
            raise MediaError(f"{refusal} ({drawing.reason})") if options.renderer == "auto" else refusal
        if drawing.name == "embedded" and (idle := given(options, (*NEURAL_ONLY, "device"))):
            log.warning("%s: no effect with the embedded renderer.", ", ".join(idle))
        log.info("drawn by the %s renderer: %s.", drawing.name, drawing.reason)
        return drawing

    def _renderer(self, drawing: Choice, options: AnimateOptions) -> Renderer:
        if drawing.name == "embedded":
            return self._equipment.renderer(drawing, TalkOptions())
        asked = TalkOptions(
            device=options.device,
            precision=options.precision,
            compile=options.compile,
            batch_size=options.batch_size,
            no_stitching=not options.stitching,
        )
        return self._equipment.renderer(drawing, asked)


def _write(writer: VideoWriter, performance: Performance, tell: OnProgress) -> None:
    tell("drawing", 0, performance.frames)
    for k, picture in enumerate(performance.pictures()):
        writer.write(picture)
        tell("drawing", k + 1, performance.frames)


def _driving(path: Path, options: AnimateOptions) -> DrivingClip:
    return open_driving(path, max_pixels=int(options.max_megapixels * 1e6), max_seconds=options.max_seconds)


def _footage(path: Path, options: AnimateOptions) -> Footage:
    return open_footage(
        path,
        max_side=options.max_size,
        max_pixels=int(options.max_megapixels * 1e6),
        max_seconds=options.max_seconds,
    )


def _check_template(path: Path | None, overwrite: bool) -> None:
    if path is None:
        return
    if path.suffix.lower() != ".npz":
        raise MediaError(f"{path.name} must end in .npz to be a motion template; rename it")
    if not path.parent.is_dir():
        raise MediaError(f"the folder {path.parent} for {path.name} does not exist; create it first")
    if path.exists() and (path.is_dir() or not overwrite):
        raise MediaError(f"{path} exists already; use --overwrite to replace it, or name another template")


def _keep_apart(outputs: list[Path], inputs: tuple[Path, ...]) -> None:
    """Raise MediaError where an output is one of the inputs, which would be lost, or another output."""
    for out in outputs:
        for path in inputs:
            if out.exists() and path.exists() and out.samefile(path):
                raise MediaError(f"{out} is one of the inputs and would be lost; name another output")


def _silent(stage: str, done: int, total: int) -> None:
    """No progress wanted."""
