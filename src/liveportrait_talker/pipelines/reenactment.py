"""A source and the motion that it follows, on one clock, made ready to be drawn by either renderer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..arrays import Image
from ..driving.retargeting import Rest, retarget_motion
from ..face.tracked import TrackedSource
from ..media import Footage
from ..motion.template import Template
from ..options.animate import AnimateOptions
from ..progress import OnProgress
from ..render.composite import paste
from ..render.protocol import FaceFrame, Renderer
from .driving_clip import DrivingClip
from .engines import Choice

Draw = Callable[[], Iterator[FaceFrame]]


@dataclass(frozen=True, eq=False)
class Performance:
    """A source ready to follow: all that is left is to draw it."""

    source: TrackedSource
    drawing: Choice
    fps: float
    frames: int
    motion: Template
    draw: Draw

    def pictures(self) -> Iterator[Image]:
        """Full pictures (H, W, 3), one a frame, drawn as they are asked for."""
        for drawn in self.draw():
            picture = self.source.footage[drawn.source_index] if drawn.picture is None else drawn.picture
            yield paste(picture, drawn)


def clock(source: Footage, clip: DrivingClip, options: AnimateOptions) -> tuple[float, int]:
    """Frame rate and number of frames: those of the driving video, or of the source where a picture drives it.

    A source video that is shorter plays forth and back, as `generate` has it. (LivePortrait's own tool ends with the
    shorter of the two.)
    """
    fps = options.fps or source.fps or clip.fps
    if len(clip) > 1:
        return fps, max(1, round(len(clip) * fps / clip.fps))
    return fps, 1 if source.fps is None else max(1, round(len(source) * fps / source.fps))


def by_mesh(
    renderer: Renderer, source: TrackedSource, motion: Template, fps: float, frames: int, options: AnimateOptions
) -> Draw:
    """The embedded renderer's drawing of `frames` frames at `fps`. `motion` has its part of a template."""
    assert motion.landmarks is not None  # DrivingClip.suits saw to it
    readings = motion.landmarks
    rest = Rest.of_clip(readings)  # told before the clock: a picture held for a while would be its own rest
    if len(readings) > 1 or frames > 1:
        readings = readings.resample(fps, frames)
    track = retarget_motion(
        readings,
        source,
        rest=rest,
        region=options.animation_region,
        relative=options.relative_motion,
        multiplier=options.driving_multiplier,
        normalize_lip=options.normalize_lip,
        eye_retargeting=options.eye_retargeting,
        lip_retargeting=options.lip_retargeting,
    )
    face = renderer.prepare(source)
    return lambda: face.frames(track)


def by_networks(
    renderer: Renderer,
    source: TrackedSource,
    clip: DrivingClip,
    fps: float,
    frames: int,
    options: AnimateOptions,
    tell: OnProgress,
) -> tuple[Draw, Template]:
    """The neural renderer's drawing of `frames` frames at `fps`, and the motion that it read.

    Raises:
        NoFaceError: nobody is seen in the driving clip.
    """
    from ..render.neural.animated import AnimatedFace, point_networks  # brings torch
    from ..render.neural.animation_inputs import AnimationSettings, DrivingMotion
    from ..render.neural.renderer import NeuralRenderer

    assert isinstance(renderer, NeuralRenderer)
    motion = clip.looked_at(renderer.networks, crop=options.crop_driving, tell=tell)
    assert motion.networks is not None
    driving = DrivingMotion.from_template(motion.networks)
    if len(driving) > 1:
        at = np.minimum(np.floor(np.arange(frames) * (driving.fps / fps) + 1e-6).astype(np.intp), len(driving) - 1)
        driving = driving.take(at, fps)
    settings = AnimationSettings(
        relative_motion=options.relative_motion,
        animation_region=options.animation_region,
        driving_option=options.driving_option,
        driving_multiplier=options.driving_multiplier,
        stitching=options.stitching,
        normalize_lip=options.normalize_lip,
        eye_retargeting=options.eye_retargeting,
        lip_retargeting=options.lip_retargeting,
        source_video_eye_retargeting=options.source_video_eye_retargeting,
        smooth_observation_variance=options.driving_smooth_observation_variance,
    )
    animated = AnimatedFace(
        renderer.prepare(source),
        source,
        driving,
        settings,
        point_networks(renderer.networks),
        frames=frames,
        fps=fps,
        on_frame=lambda done, total: tell("reading the source's motion", done, total),
    )
    return animated.frames, motion
