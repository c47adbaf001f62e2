"""`Animator`: a portrait (or a video) that follows another face.

source → Footage → TrackedSource → PreparedFace ─┐
driving → DrivingClip → Template (its motion) ───┴→ FaceFrame → composite → VideoWriter, with the driving sound
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..arrays import Floats, Image
from ..driving.retargeting import Rest, retarget_motion
from ..errors import MediaError
from ..face.tracked import TrackedSource
from ..media import Footage
from ..media.output_file import check_output_file
from ..motion.face_measurements import FaceMeasurements
from ..motion.rotation import MAX_TURN_DEG
from ..motion.template import Template
from ..motion.template import save_template as write_template
from ..motion.track import MotionTrack
from ..options.animate import AnimateOptions
from ..progress import OnProgress, ignore_progress, steps_of
from ..render.protocol import DrivenFace, FaceFrame, Renderer
from .driving_clip import DrivingClip, open_driving
from .engines import EngineChoice, Engines, Weights, note_choice
from .labels import Origin
from .run import Output, Report, composed, find_face, given_or_default, open_source, turn_limit

__all__ = ["AnimateOptions", "AnimateReport", "Animator"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnimateReport(Report):
    """What was made, and how."""

    sound: bool
    """Whether it has the driving sound."""
    template: Path | None
    """The motion template that was stored."""
    options: AnimateOptions


@dataclass(frozen=True, eq=False)
class _Reenactment:
    """A source ready to follow a driving clip, and the motion that was read from the clip."""

    source: TrackedSource
    renderer: EngineChoice
    fps: float
    frames: int
    motion: Template
    draw: Callable[[], Iterator[FaceFrame]]

    def images(self) -> Iterator[Image]:
        return composed(self.source, self.draw())


class Animator:
    """A face follows a driving video, image or motion template. Keep one for many: networks stay loaded.

    Args:
        weights: network → checkpoint file, in place of the installed weights.
        renderer: draws the face; by default what `AnimateOptions.renderer` names.
    """

    def __init__(self, weights: Weights | None = None, *, renderer: Renderer | None = None) -> None:
        self._engines = Engines(weights, renderer=renderer)

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
        """Write the source with the motion of the driving face, and with the driving sound.

        Args:
            source: image or video with a face.
            driving: video or image with a face; a motion template (.npz), or one of LivePortrait's (.pkl).
            out: the MP4 to write, transparent a .webm, .mov or frames_%05d.png; where an image follows an image, a
                .png, .jpg or .webp.
            options: see AnimateOptions.
            overwrite: replace `out` and the template if they exist.
            save_template: store the driving motion in this .npz, for both renderers where the neural one draws.
            on_progress: called as the work goes on.

        Raises:
            TalkerError: anything the user can fix, in one sentence.
        """
        options, source, driving = given_or_default(options, AnimateOptions), Path(source), Path(driving)
        on_progress = on_progress or ignore_progress
        template = None if save_template is None else Path(save_template)
        started = time.monotonic()
        output = Output(Path(out), overwrite, options)
        output.check((source, driving), also=template)
        _check_template(template, overwrite)
        with ExitStack() as opened:
            clip, footage = _open(opened, source, driving, options)
            if output.is_image != (footage.is_still and len(clip) == 1):
                raise MediaError(
                    f"{output.path.name} cannot be made: a picture that follows a picture is written as a .png, .jpg "
                    "or .webp, everything else as an .mp4; rename the output"
                )
            reenactment, sound = self._prepare(footage, clip, options, on_progress), clip.sound
            size = output.write(
                reenactment.images(),
                size=reenactment.source.footage.size,
                fps=reenactment.fps,
                frames=reenactment.frames,
                title="AI-generated portrait animation",
                comment="the motion of this face is that of another.",
                renderer=reenactment.renderer.name,
                origin=Origin(source, footage.is_still, {"driving": driving}),
                sound=sound,
                pixel_aspect=footage.pixel_aspect,
                on_progress=on_progress,
            )
            if template is not None:  # last: an interrupted run leaves none behind
                write_template(reenactment.motion, template)
        return AnimateReport(
            path=output.path,
            renderer=reenactment.renderer.name,
            renderer_reason=reenactment.renderer.reason,
            frames=reenactment.frames,
            fps=reenactment.fps,
            size=size,
            elapsed_seconds=time.monotonic() - started,
            sound=sound is not None,
            template=template,
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
        """Yield the same as (H, W, 3) uint8 RGB images, transparent (H, W, 4). Raises TalkerError as `save` does."""
        options = given_or_default(options, AnimateOptions)
        with ExitStack() as opened:
            clip, footage = _open(opened, Path(source), Path(driving), options)
            yield from self._prepare(footage, clip, options, on_progress or ignore_progress).images()

    def _prepare(
        self, footage: Footage, clip: DrivingClip, options: AnimateOptions, on_progress: OnProgress
    ) -> _Reenactment:
        chosen = self._choose(clip, options)
        note_choice(options, chosen)
        fps, frames = _clock(footage, clip, options)
        if footage.fps is not None and frames / fps > len(footage) / footage.fps + 1 / fps:
            log.info("%s is shorter than what drives it and is played forth and back.", footage.name)
        # Networks are loaded before any long work.
        settings = {"batch_size": options.batch_size}
        renderer = self._engines.renderer(chosen, options, settings, on_progress=on_progress)
        source = find_face(footage, options, duration=(frames, fps), on_progress=on_progress)
        motion = clip.read_motion(renderer, crop=options.crop_driving, on_progress=on_progress)
        face = renderer.prepare(source)
        if isinstance(face, DrivenFace):
            assert motion.networks is not None  # `_choose` and `read_motion` check it
            on_step = steps_of("reading the source's motion", on_progress)
            draw = face.reenact(motion.networks, options, frames=frames, fps=fps, on_step=on_step)
            return _Reenactment(source, chosen, fps, frames, motion, draw)
        assert motion.landmarks is not None
        track = retarget_to(motion.landmarks, source, fps, frames, options, max_turn_deg=turn_limit(face))
        return _Reenactment(source, chosen, fps, frames, motion, lambda: face.frames(track))

    def _choose(self, clip: DrivingClip, options: AnimateOptions) -> EngineChoice:
        """Return the renderer. Raises TalkerError where it cannot run here, or cannot follow the template."""
        chosen = self._engines.choose_renderer(options)
        if clip.suits(by_networks=self._engines.reads_driving(chosen)):
            return chosen
        is_free = options.renderer == "auto" and not self._engines.is_renderer_given
        if is_free and chosen.name == "neural" and clip.suits(by_networks=False):
            return EngineChoice("embedded", "the template is for it")
        refusal = clip.refuse(chosen.name)
        raise MediaError(f"{refusal} ({chosen.reason})") if options.renderer == "auto" else refusal


def _open(opened: ExitStack, source: Path, driving: Path, options: AnimateOptions) -> tuple[DrivingClip, Footage]:
    clip = open_driving(driving, max_pixels=options.max_pixels, max_seconds=options.max_seconds)
    opened.enter_context(clip)
    return clip, opened.enter_context(open_source(source, options, options.max_seconds))


def _clock(source: Footage, clip: DrivingClip, options: AnimateOptions) -> tuple[float, int]:
    """Return frame rate and number of frames: those of the driving video, or of the source where an image drives it.

    A source video that is shorter plays forth and back, as in `generate`. (LivePortrait's own tool ends with the
    shorter of the two.)
    """
    fps = options.fps or source.fps or clip.fps
    if len(clip) > 1:
        return fps, max(1, round(len(clip) * fps / clip.fps))
    return fps, 1 if source.fps is None else max(1, round(len(source) * fps / source.fps))


def retarget_to(
    measured: FaceMeasurements,
    source: TrackedSource,
    fps: float,
    frames: int,
    options: AnimateOptions,
    *,
    max_turn_deg: Floats = MAX_TURN_DEG,
) -> MotionTrack:
    """Return `frames` frames of motion at `fps` by which the source follows what was measured on a driving face."""
    rest = Rest.of_clip(measured)  # before resampling: an image held for many frames would be its own rest
    if len(measured) > 1 or frames > 1:
        measured = measured.resample(fps, frames)
    return retarget_motion(
        measured,
        source,
        rest=rest,
        region=options.animation_region,
        relative=options.relative_motion,
        multiplier=options.driving_multiplier,
        normalize_lip=options.normalize_lip,
        eye_retargeting=options.eye_retargeting,
        lip_retargeting=options.lip_retargeting,
        max_turn_deg=max_turn_deg,
    )


def _check_template(path: Path | None, overwrite: bool) -> None:
    if path is not None:
        kind = ".npz to be a motion template"
        check_output_file(path, suffixes=(".npz",), kind=kind, example="motion.npz", overwrite=overwrite)
