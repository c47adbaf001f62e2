"""`Talker`: a portrait (or a video) and a voice → a talking video.

source → Footage → TrackedSource → PreparedFace ──┐
voice → Waveform → MouthDriver → mouth ───────────┤ MotionTrack → FaceFrame → composite → VideoWriter
head (synthetic, reference, audio, source, still), blink, gaze ┘
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Image
from ..driving.protocol import MouthDriver
from ..errors import OptionError, WeightsError
from ..face.mouth_offsets import subtract_source_mouth
from ..face.tracked import TrackedSource
from ..media import Footage, Mix, Waveform, open_footage, read_waveform
from ..motion import LipKeypoints, MotionTrack, Mouth
from ..motion.portable import PortableMotion
from ..motion.random_streams import random_streams
from ..options.live import LiveOptions
from ..options.speakers import FaceName, Speakers, SpeakerVoice, speakers_from
from ..options.talk import TalkOptions
from ..progress import OnProgress, ignore_progress
from ..render.protocol import PreparedFace, Renderer
from ..render.scene import DrawnPerson, draw_scene
from .engines import HEAD_POSE_NETWORKS, EngineChoice, Engines, Weights, missing_parts, note_choice
from .expression import read_expression_keys, warn_of_late_keyframes
from .labels import Origin
from .live import LiveSessions
from .motion import attach_motion, detach_motion, plan_motion, warn_of_silence
from .run import Output, Report, find_face, given_or_default, open_source, turn_limit
from .speakers import attend, find_parts, mix_voices, picture_of, read_voices, refuse_single_face

if TYPE_CHECKING:
    from ..live.session import LiveSession

DEFAULT_FPS = 25.0

Voices = Path | str | Mapping[FaceName, Path | str | SpeakerVoice]
"""One voice, or face → voice."""


@dataclass(frozen=True)
class TalkReport(Report):
    """What was made, and how."""

    driver: str
    driver_reason: str
    """Why this driver was chosen."""
    seed: int
    options: TalkOptions


@dataclass(frozen=True, eq=False)
class _Scene:
    """A prepared source, the motion of its faces and the engines that made them."""

    footage: Footage
    drawn: Sequence[DrawnPerson]
    others: Sequence[TrackedSource]
    """Who is only seen."""
    sound: Path | Mix
    renderer: EngineChoice
    driver: EngineChoice

    def images(self) -> Iterator[Image]:
        return draw_scene(self.footage, self.drawn, self.others)

    @property
    def track(self) -> MotionTrack:
        return self.drawn[0].track


@dataclass(frozen=True, eq=False)
class _Engines:
    """The renderer and the driver of one video, loaded."""

    renderer: Renderer
    driver: MouthDriver
    chosen: EngineChoice
    speaking: EngineChoice


class Talker:
    """A portrait (or a video) and a voice go in, a talking video comes out.

    Keep one for many videos: networks stay loaded.

    Args:
        renderer: draws the face; by default what `TalkOptions.renderer` names.
        driver: moves the mouth; by default what `TalkOptions.driver` names.
        weights: network → checkpoint file, in place of the installed weights.
    """

    def __init__(
        self,
        renderer: Renderer | None = None,
        driver: MouthDriver | None = None,
        *,
        weights: Weights | None = None,
    ) -> None:
        self._engines = Engines(weights, renderer=renderer, driver=driver)
        self._live = LiveSessions(self._engines)

    def save(
        self,
        source: Path | str,
        voice: Voices,
        out: Path | str,
        options: TalkOptions | None = None,
        *,
        motion: PortableMotion | None = None,
        overwrite: bool = False,
        on_image: Callable[[Image], object] | None = None,
        on_progress: OnProgress | None = None,
    ) -> TalkReport:
        """Write a talking video.

        Args:
            source: image or video with a face.
            voice: sound file, or a video whose sound is used. For several speakers a mapping from faces (numbers from
                1 as `find_faces` gives them, or left, middle, right) to voices: files, `"ben.wav@3.2"` for a later
                start, `"call.wav#left"` for one channel, or `SpeakerVoice`s.
            out: the MP4 to write, transparent a .webm, .mov or frames_%05d.png; it appears when it is complete, or not
                at all.
            options: see TalkOptions.
            motion: drawn in place of one made for the voice; options of driver, head, eyes and mouth have no effect.
            overwrite: replace `out` if it exists.
            on_image: called with each image before it is written, (H, W, 3) uint8 RGB, transparent RGBA.
            on_progress: called as the work goes on.

        Raises:
            TalkerError: anything the user can fix, in one sentence.
        """
        options, source, voices = given_or_default(options, TalkOptions), Path(source), _voices(voice)
        on_progress = on_progress or ignore_progress
        started = time.monotonic()
        output = Output(Path(out), overwrite, options, kind="video")
        output.check((source, *_voice_files(voices), options.ref_head_pose, options.ref_blink))
        with ExitStack() as opened:
            scene = self._prepare(opened, source, voices, options, on_progress, motion)
            footage, frames, fps = scene.footage, len(scene.track), scene.track.fps
            size = output.write(
                scene.images() if on_image is None else _shown(scene.images(), on_image),
                size=footage.size,
                fps=fps,
                frames=frames,
                title="AI-generated talking portrait",
                comment="the motion of this face is synthetic.",
                renderer=scene.renderer.name,
                origin=Origin(source, footage.is_still, {"voice": _voice_files(voices)}, _drawn_from(scene, motion)),
                sound=scene.sound,
                pixel_aspect=footage.pixel_aspect,
                on_progress=on_progress,
            )
        return TalkReport(
            path=output.path,
            renderer=scene.renderer.name,
            renderer_reason=scene.renderer.reason,
            frames=frames,
            fps=fps,
            size=size,
            elapsed_seconds=time.monotonic() - started,
            driver=scene.driver.name,
            driver_reason=scene.driver.reason,
            seed=options.seed,
            options=options,
        )

    def frames(
        self,
        source: Path | str,
        voice: Voices,
        options: TalkOptions | None = None,
        *,
        motion: PortableMotion | None = None,
        on_progress: OnProgress | None = None,
    ) -> Iterator[Image]:
        """Yield the same video as (H, W, 3) uint8 RGB images at the options' frame rate.

        Transparent ones are RGBA (H, W, 4). Frames are not kept: memory does not grow with the voice. Raises
        TalkerError as `save` does.
        """
        options = given_or_default(options, TalkOptions)
        with ExitStack() as opened:
            scene = self._prepare(opened, Path(source), _voices(voice), options, on_progress or ignore_progress, motion)
            yield from scene.images()

    def motion(
        self,
        source: Path | str,
        voice: Path | str,
        options: TalkOptions | None = None,
        *,
        on_progress: OnProgress | None = None,
    ) -> PortableMotion:
        """Return the motion of the same video without drawing it, for `save` and `frames`, also of other sources.

        Raises TalkerError as `save` does.
        """
        options = given_or_default(options, TalkOptions)
        with ExitStack() as opened:
            scene = self._prepare(opened, Path(source), Path(voice), options, on_progress or ignore_progress)
            return detach_motion(scene.track, scene.drawn[0].source)

    def live(self, portrait: Path | str, options: LiveOptions | None = None) -> LiveSession:
        """Return a face that speaks while the sound is still coming; close it, or use it as a context manager.

        Sessions of one Talker share portraits and networks.

        Args:
            portrait: a picture with a face.
            options: see LiveOptions.

        Raises:
            TalkerError: anything the user can fix, in one sentence.
        """
        return self._live.start(Path(portrait), given_or_default(options, LiveOptions))

    def _prepare(
        self,
        opened: ExitStack,
        source: Path,
        voices: Path | Speakers,
        options: TalkOptions,
        on_progress: OnProgress,
        motion: PortableMotion | None = None,
    ) -> _Scene:
        for reference in (options.ref_head_pose, options.ref_blink):
            if reference is not None:  # it is read late: a mistake in it should not cost the work before
                open_footage(reference, max_seconds=options.max_seconds).close()
        footage = opened.enter_context(open_source(source, options, options.max_seconds))
        options.head_pose_for(footage.is_still)  # refuses what makes no sense before any work
        keyframes = read_expression_keys(options, footage.is_still)
        fps = options.fps or footage.fps or (DEFAULT_FPS if motion is None else motion.track.fps)
        if isinstance(voices, Path):
            scene = self._prepare_one(footage, voices, fps, options, on_progress, motion)
        elif motion is None:
            scene = self._prepare_speakers(footage, voices, fps, options, on_progress)
        else:
            raise OptionError("a motion is of one face: leave it out with several speakers.")
        warn_of_late_keyframes(options, keyframes, len(scene.track), scene.track.fps)
        return scene

    def _prepare_one(
        self,
        footage: Footage,
        voice: Path,
        fps: float,
        options: TalkOptions,
        on_progress: OnProgress,
        motion: PortableMotion | None,
    ) -> _Scene:
        waveform = read_waveform(voice, max_seconds=options.max_seconds)
        engines = self._load_engines(options, on_progress)
        tracked = find_face(
            footage,
            options,
            duration=(waveform.frame_count(fps), fps),
            search_small_faces=options.crop_to_face,
            on_progress=on_progress,
            scale=options.crop_scale,
            shift_x=options.crop_vx,
            shift_y=options.crop_vy,
        )
        face = engines.renderer.prepare(tracked)
        speaking = engines.speaking
        if motion is None:
            mouth = engines.driver.drive(waveform, tracked, fps)
            warn_of_silence(waveform, mouth, of_still=tracked.is_still)
            track = self._plan(tracked, face, waveform, mouth, fps, options, tracked.footage[0], on_progress)
        else:
            track = attach_motion(motion, tracked, waveform.frame_count(fps), fps)
            speaking = EngineChoice("motion", "it was given")
        drawn = [DrawnPerson(tracked, None, face, track)]
        return _Scene(tracked.footage, drawn, (), voice, engines.chosen, speaking)

    def _prepare_speakers(
        self, footage: Footage, voices: Speakers, fps: float, options: TalkOptions, on_progress: OnProgress
    ) -> _Scene:
        refuse_single_face(options)
        waveforms = read_voices(voices, options.max_seconds)
        engines = self._load_engines(options, on_progress)
        parts, others = find_parts(footage, voices, waveforms, fps, on_progress)
        faces = [engines.renderer.prepare(part.source) for part in parts]
        tracks = []
        for part, face in zip(parts, faces, strict=True):
            if part.is_speaker:
                mouth = engines.driver.drive(part.voice, part.source, fps)
                warn_of_silence(part.voice, mouth, of_still=part.source.is_still)
            else:
                mouth = subtract_source_mouth(np.zeros((part.voice.frame_count(fps), 5)), part.source, fps)
            look = picture_of(part)
            tracks.append(self._plan(part.source, face, part.voice, mouth, fps, options, look, on_progress))
        if footage.is_still:
            tracks = attend(parts, tracks, options)
        drawn = [
            DrawnPerson(part.person, part.window, face, track)
            for part, face, track in zip(parts, faces, tracks, strict=True)
        ]
        sound = mix_voices(voices, waveforms)
        return _Scene(parts[0].person.footage, drawn, others, sound, engines.chosen, engines.speaking)

    def _load_engines(self, options: TalkOptions, on_progress: OnProgress) -> _Engines:
        """Choose the engines and load their networks, before any long work."""
        engines = self._engines
        chosen = engines.choose_renderer(options)
        renderer = engines.renderer(chosen, options, _neural_settings(options), on_progress=on_progress)
        speaking = engines.choose_driver(options, chosen.name)
        driver = engines.driver(speaking, options)
        if options.head_pose == "audio":
            if missing := missing_parts(HEAD_POSE_NETWORKS, engines.weights_for(options)):
                raise WeightsError(f"--head-pose audio cannot run: {missing}.")
            engines.sadtalker(options).load(HEAD_POSE_NETWORKS)
        note_choice(options, chosen, speaking)
        return _Engines(renderer, driver, chosen, speaking)

    def _plan(
        self,
        source: TrackedSource,
        face: PreparedFace,
        voice: Waveform,
        mouth: Mouth,
        fps: float,
        options: TalkOptions,
        look: Image,
        on_progress: OnProgress,
    ) -> MotionTrack:
        """Return the motion of one face; `look`, a picture, tells the random motion of faces apart."""
        return plan_motion(
            source,
            voice,
            mouth,
            fps,
            options,
            rng=random_streams(options.seed, look),
            sadtalker=self._engines.sadtalker,
            on_progress=on_progress,
            max_turn_deg=turn_limit(face),
        )


def _drawn_from(scene: _Scene, motion: PortableMotion | None) -> str:
    """Return the name of the driver that made the motion: only the learned one gives lip keypoints."""
    if motion is None:
        return scene.driver.name
    return "learned" if isinstance(motion.track.mouth, LipKeypoints) else "motion"


def _voices(given: Voices) -> Path | Speakers:
    return speakers_from(given) if isinstance(given, Mapping) else Path(given)


def _voice_files(voices: Path | Speakers) -> tuple[Path, ...]:
    return (voices,) if isinstance(voices, Path) else tuple(voice.file for voice in voices.values())


def _shown(images: Iterator[Image], on_image: Callable[[Image], object]) -> Iterator[Image]:
    """Yield the images, each after it was shown to `on_image`."""
    for image in images:
        on_image(image)
        yield image


def _neural_settings(options: TalkOptions) -> dict[str, Any]:
    """Return the settings of the neural renderer besides stitching."""
    return {
        "normalize_lip": options.normalize_lip,
        "driving_multiplier": options.driving_multiplier,
        "crop_scale": options.crop_scale,
        "crop_vx": options.crop_vx,
        "crop_vy": options.crop_vy,
        "whole_frame": not options.crop_to_face,
        "batch_size": options.batch_size,
    }
