"""`Talker`: joins the steps, nothing else.

portrait → Footage → TrackedSource → PreparedFace ┐
voice → Waveform → MouthDriver → mouth ───────────┤ MotionTrack → FaceFrame → composite → VideoWriter
head (synthetic, reference, source, still), blink, gaze ┘
"""

from __future__ import annotations

import dataclasses
import logging
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ._version import __version__
from .audio.loudness import loudness_db, speaking
from .driving.protocol import MouthDriver
from .driving.reference import reference_head, reference_poses
from .driving.relative import own_mouth, relative_to_source
from .driving.signal import SignalDriver
from .errors import MediaError, OptionError
from .face.cropped import cropped
from .face.tracked import TrackedSource
from .face.tracker import track
from .media import Footage, VideoWriter, Waveform, check_output, open_footage, read_waveform
from .motion import HeadTrack, MotionTrack, Mouth, MouthControls
from .motion.blink import natural_blinks
from .motion.classic import classic_head_pose
from .motion.gaze import idle_gaze
from .motion.head import natural_head_pose
from .options import PUPIL_RANGE, TalkOptions
from .render.composite import paste
from .render.embedded.renderer import EmbeddedRenderer
from .render.protocol import PreparedFace, Renderer

log = logging.getLogger(__name__)
Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]

OnProgress = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps in all)."""

DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class TalkReport:
    """What was made, and how."""

    path: Path
    renderer: str
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
            yield paste(self.source.footage[drawn.source_index], drawn)


class Talker:
    """A portrait (or a video) and a voice go in, a talking video comes out.

    Args:
        renderer: what draws the face; the embedded renderer by default.
        driver: what moves the mouth; the signal driver by default.
    """

    def __init__(self, renderer: Renderer | None = None, driver: MouthDriver | None = None) -> None:
        self.renderer: Renderer = renderer or EmbeddedRenderer()
        self.driver: MouthDriver = driver or SignalDriver()

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
        _protect_inputs(out, (Path(source), Path(voice), options.ref_head_pose))
        tell = on_progress or _silent
        with self._open(Path(source), options) as footage:
            waveform = read_waveform(Path(voice), max_seconds=options.max_seconds)
            scene = self._scene(footage, waveform, options, tell)
            frames = len(scene)
            size = scene.source.footage.size
            with VideoWriter(
                out,
                size=size,
                fps=scene.track.fps,
                voice=Path(voice),
                frame_count=frames,
                crf=options.quality,
                pixel_aspect=footage.pixel_aspect,
                overwrite=overwrite,
                title="AI-generated talking portrait",
                comment=(
                    "AI-generated: the motion of this face is synthetic. "
                    f"Made with LivePortraitTalker {__version__} ({self.renderer.name} renderer)."
                ),
            ) as writer:
                tell("drawing", 0, frames)
                for k, frame in enumerate(scene.frames()):
                    writer.write(frame)
                    tell("drawing", k + 1, frames)
        return TalkReport(
            path=out,
            renderer=self.renderer.name,
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
            yield from self._scene(footage, waveform, options, on_progress or _silent).frames()

    def _open(self, source: Path, options: TalkOptions) -> Footage:
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

    def _scene(self, footage: Footage, voice: Waveform, options: TalkOptions, tell: OnProgress) -> Scene:
        fps = options.fps or footage.fps or DEFAULT_FPS
        needed = int(np.ceil(voice.frame_count(fps) * (footage.fps or fps) / fps))
        source = track(
            footage.first(needed),
            face=options.face,
            second_look=not options.no_crop,
            on_frame=lambda done, total: tell("finding the face", done, total),
        )
        if options.crop:
            source = cropped(source)
        mouth = _scaled(self.driver.drive(voice, source, fps), source, fps, options.expression_scale)
        motion = self._motion(source, voice, mouth, fps, options, tell)
        return Scene(source, self.renderer.prepare(source), motion)

    def _motion(
        self,
        source: TrackedSource,
        voice: Waveform,
        mouth: Mouth,
        fps: float,
        options: TalkOptions,
        tell: OnProgress,
    ) -> MotionTrack:
        frames = voice.frame_count(fps)
        # One stream of chance a channel: turning one off leaves the others as they were.
        # Mixed with the picture, or two portraits side by side would blink in unison.
        picture = zlib.crc32(source.footage[0].tobytes())
        head_rng, blink_rng, gaze_rng = (
            np.random.default_rng([options.seed, picture, channel]) for channel in range(3)
        )
        loudness = loudness_db(voice, fps)
        voiced = speaking(loudness, fps)
        if not voiced.any():
            log.warning("no voice is heard in the sound: the mouth stays at rest.")
        head_pose = options.head_pose_for(source.is_still)
        if head_pose == "still" and not source.is_still:
            log.warning("a source video moves its own head: --still adds no motion to it, and takes none away.")
        if head_pose == "synthetic" and options.head_style == "classic":
            turn = classic_head_pose(mouth, fps, head_rng, amount=options.head_motion)
        elif head_pose == "synthetic":
            turn = natural_head_pose(loudness, voiced, fps, head_rng, amount=options.head_motion)
        elif head_pose == "reference":
            assert options.ref_head_pose is not None  # TalkOptions saw to it
            poses, reference_fps = reference_poses(
                options.ref_head_pose,
                max_seconds=options.max_seconds,
                on_frame=lambda done, total: tell("following the reference", done, total),
            )
            own = np.stack([source.faces[i].rotation_deg for i in source.frame_indices(frames, fps)])
            turn = options.head_motion * reference_head(
                poses, reference_fps, own, fps, head_rng, from_zero=options.ref_frames_from_zero
            )
        else:  # still, source: the source's own
            turn = np.zeros((frames, 3))
        blinking = source.is_still if options.blink is None else options.blink
        blink = (
            natural_blinks(frames, fps, blink_rng, speaking=voiced, rate_per_minute=options.blink_rate)
            if blinking
            else np.zeros((frames, 2))
        )
        glancing = source.is_still if options.gaze is None else options.gaze == "natural"
        gaze = idle_gaze(frames, fps, gaze_rng) if glancing else np.zeros((frames, 2))
        gaze = np.clip(gaze + np.array([options.pupil_x, options.pupil_y]) / PUPIL_RANGE, -1, 1)
        return MotionTrack(fps=fps, head=HeadTrack.turning(turn), blink=blink, gaze=gaze, mouth=mouth)


def _scaled(mouth: Mouth, source: TrackedSource, fps: float, scale: float) -> Mouth:
    """The mouth's motion made larger or smaller about its rest, where the lips are shut."""
    if scale == 1 or not isinstance(mouth, MouthControls):
        return mouth
    return relative_to_source(scale * (mouth.values + own_mouth(source, len(mouth), fps)), source, fps)


def _protect_inputs(out: Path, inputs: tuple[Path | None, ...]) -> None:
    """Raise MediaError where `out` is one of the inputs, which would be lost."""
    for path in inputs:
        if path is not None and out.exists() and path.exists() and out.samefile(path):
            raise MediaError(f"{out} is one of the inputs and would be lost; name another output")


def _silent(stage: str, done: int, total: int) -> None:
    """No progress wanted."""
