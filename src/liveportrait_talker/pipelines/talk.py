"""`Talker`: joins the steps, nothing else.

portrait → Footage → TrackedSource → PreparedFace ┐
voice → Waveform → MouthDriver → mouth ───────────┤ MotionTrack → FaceFrame → composite → VideoWriter
head (synthetic, reference, audio, source, still), blink, gaze ┘
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..arrays import Image
from ..driving.protocol import MouthDriver
from ..errors import MediaError, OptionError, WeightsError
from ..face.source_crop import crop_source
from ..face.tracked import TrackedSource
from ..face.tracker import track
from ..media import Footage, VideoWriter, Waveform, check_encoder, check_output, open_footage, read_waveform
from ..motion import MotionTrack
from ..options.talk import TalkOptions
from ..progress import OnProgress
from ..render.composite import paste
from ..render.protocol import PreparedFace, Renderer
from .engines import NODDING, Choice, Equipment, Weights, choose_driver, choose_renderer, lacking, without_effect
from .motion import planned_motion

log = logging.getLogger(__name__)

DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class TalkReport:
    """What was made, and how."""

    path: Path
    renderer: str
    renderer_reason: str
    """Why this one drew."""
    driver: str
    driver_reason: str
    """Why this one moved the mouth."""
    frames: int
    fps: float
    size: tuple[int, int]
    """Width and height of the video, px."""
    video_seconds: float
    elapsed_seconds: float
    seed: int
    options: TalkOptions

    @property
    def speed(self) -> float:
        """Frames a second of the whole run."""
        return self.frames / max(self.elapsed_seconds, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        plain = dataclasses.asdict(self) | {"speed_fps": round(self.speed, 2), "version": __version__}
        plain["options"] = {k: str(v) if isinstance(v, Path) else v for k, v in plain["options"].items()}
        return plain | {"path": str(self.path)}


@dataclass(frozen=True, eq=False)
class Scene:
    """A prepared source and the motion it will make: all that is left is to draw it."""

    source: TrackedSource
    face: PreparedFace
    track: MotionTrack

    def __len__(self) -> int:
        return len(self.track)

    def frames(self) -> Iterator[Image]:
        """Full pictures (H, W, 3) uint8 RGB, one a frame, drawn as they are asked for."""
        for drawn in self.face.frames(self.track):
            picture = self.source.footage[drawn.source_index] if drawn.picture is None else drawn.picture
            yield paste(picture, drawn)


@dataclass(frozen=True, eq=False)
class _Crew:
    """Who draws and who moves the mouth, and why."""

    renderer: Renderer
    drawing: Choice
    driver: MouthDriver
    speaking: Choice


class Talker:
    """A portrait (or a video) and a voice go in, a talking video comes out.

    Keep one for many videos: networks stay loaded.

    Args:
        renderer: what draws the face; by default what `TalkOptions.renderer` says.
        driver: what moves the mouth; by default what `TalkOptions.driver` says.
        weights: network → checkpoint file, in place of the installed weights.
    """

    def __init__(
        self,
        renderer: Renderer | None = None,
        driver: MouthDriver | None = None,
        *,
        weights: Weights | None = None,
    ) -> None:
        self._renderer, self._driver = renderer, driver
        self._equipment = Equipment(weights)

    def save(
        self,
        source: Path | str,
        voice: Path | str,
        out: Path | str,
        options: TalkOptions | None = None,
        *,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
    ) -> TalkReport:
        """Write a talking video.

        Args:
            source: picture or video with a face.
            voice: sound file, or a video whose sound is used.
            out: the MP4 to write; it appears when it is complete, or not at all.
            options: see TalkOptions.
            overwrite: replace `out` if it exists.
            on_progress: called as the work goes on.

        Raises:
            TalkerError: anything the user can mend, told in one sentence.
        """
        options, out = options or TalkOptions(), Path(out)
        started = time.monotonic()
        check_output(out, overwrite)
        check_encoder(options.encoder)
        _protect_inputs(out, (Path(source), Path(voice), options.ref_head_pose, options.ref_blink))
        tell = on_progress or _silent
        with self._open(Path(source), options) as footage:
            waveform = read_waveform(Path(voice), max_seconds=options.max_seconds)
            crew = self._crew(options)  # loads networks: after the inputs were seen to be good, before any long work
            scene = self._scene(crew, footage, waveform, options, tell)
            del waveform  # heard: an hour of it is 230 MB
            frames = len(scene)
            size = scene.source.footage.size
            with VideoWriter(
                out,
                size=size,
                fps=scene.track.fps,
                voice=Path(voice),
                frame_count=frames,
                crf=options.quality,
                encoder=options.encoder,
                pixel_aspect=footage.pixel_aspect,
                overwrite=overwrite,
                title="AI-generated talking portrait",
                comment=(
                    "AI-generated: the motion of this face is synthetic. "
                    f"Made with LivePortraitTalker {__version__} ({crew.renderer.name} renderer)."
                ),
            ) as writer:
                tell("drawing", 0, frames)
                for k, frame in enumerate(scene.frames()):
                    writer.write(frame)
                    tell("drawing", k + 1, frames)
        return TalkReport(
            path=out,
            renderer=crew.drawing.name,
            renderer_reason=crew.drawing.reason,
            driver=crew.speaking.name,
            driver_reason=crew.speaking.reason,
            frames=frames,
            fps=scene.track.fps,
            size=(size[0] + size[0] % 2, size[1] + size[1] % 2),
            video_seconds=frames / scene.track.fps,
            elapsed_seconds=time.monotonic() - started,
            seed=options.seed,
            options=options,
        )

    def frames(
        self,
        source: Path | str,
        voice: Path | str,
        options: TalkOptions | None = None,
        *,
        on_progress: OnProgress | None = None,
    ) -> Iterator[Image]:
        """The same video as a stream of (H, W, 3) uint8 RGB pictures at the options' frame rate.

        Nothing is held: memory does not grow with the voice. Raises TalkerError as `save` does.
        """
        options = options or TalkOptions()
        with self._open(Path(source), options) as footage:
            waveform = read_waveform(Path(voice), max_seconds=options.max_seconds)
            crew = self._crew(options)
            scene = self._scene(crew, footage, waveform, options, on_progress or _silent)
            del waveform
            yield from scene.frames()

    def _crew(self, options: TalkOptions) -> _Crew:
        """Raises TalkerError where what was asked for cannot run here."""
        weights = self._equipment.weights_for(options)
        if self._renderer is not None:
            if options.renderer not in ("auto", self._renderer.name):
                raise OptionError(
                    f"--renderer {options.renderer} and a Talker with the {self._renderer.name} renderer contradict "
                    "each other: give one of them."
                )
            renderer, drawing = self._renderer, Choice(self._renderer.name, "it was given")
        else:
            drawing = choose_renderer(options, weights)
            renderer = self._equipment.renderer(drawing, options)
        if self._driver is not None:
            if options.driver != "auto":
                raise OptionError(
                    f"--driver {options.driver} and a Talker with a driver of its own contradict each other."
                )
            driver, speaking = self._driver, Choice(type(self._driver).__name__, "it was given")
        else:
            speaking = choose_driver(options, drawing.name, weights)
            driver = self._equipment.driver(speaking, options)
        if options.head_pose == "audio":
            if lack := lacking(NODDING, weights):
                raise WeightsError(f"--head-pose audio cannot run: {lack}.")
            self._equipment.sadtalker(options).load(NODDING)
        if idle := without_effect(options, drawing.name, speaking.name):
            log.warning(
                "%s: no effect with the %s renderer and the %s driver.", ", ".join(idle), drawing.name, speaking.name
            )
        log.info("drawn by the %s renderer: %s.", drawing.name, drawing.reason)
        if drawing.name == "neural" or speaking.name == "learned":  # else there was nothing to choose
            log.info("spoken by the %s driver: %s.", speaking.name, speaking.reason)
        return _Crew(renderer, drawing, driver, speaking)

    def _open(self, source: Path, options: TalkOptions) -> Footage:
        for reference in (options.ref_head_pose, options.ref_blink):
            if reference is not None:  # it is followed late: a mistake in it should not cost the work before
                open_footage(reference, max_seconds=options.max_seconds).close()
        footage = open_footage(
            source,
            max_side=options.max_size,
            max_pixels=int(options.max_megapixels * 1e6),
            max_seconds=options.max_seconds,
        )
        try:
            options.head_pose_for(footage.is_still)  # refuses what makes no sense before any work
        except OptionError:
            footage.close()
            raise
        return footage

    def _scene(self, crew: _Crew, footage: Footage, voice: Waveform, options: TalkOptions, tell: OnProgress) -> Scene:
        fps = options.fps or footage.fps or DEFAULT_FPS
        needed = int(np.ceil(voice.frame_count(fps) * (footage.fps or fps) / fps))
        source = track(
            footage.first(needed),
            face=options.face,
            search_small_faces=not options.no_crop,
            on_frame=lambda done, total: tell("finding the face", done, total),
        )
        if options.crop:
            source = crop_source(source, scale=options.crop_scale, shift_x=options.crop_vx, shift_y=options.crop_vy)
        mouth = crew.driver.drive(voice, source, fps)
        motion = planned_motion(source, voice, mouth, fps, options, sadtalker=self._equipment.sadtalker, tell=tell)
        return Scene(source, crew.renderer.prepare(source), motion)


def _protect_inputs(out: Path, inputs: tuple[Path | None, ...]) -> None:
    """Raise MediaError where `out` is one of the inputs, which would be lost."""
    for path in inputs:
        if path is not None and out.exists() and path.exists() and out.samefile(path):
            raise MediaError(f"{out} is one of the inputs and would be lost; name another output")


def _silent(stage: str, done: int, total: int) -> None:
    """No progress wanted."""
