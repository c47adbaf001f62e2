"""Every choice a user has, once: the API, the command line and the page are made from `TalkOptions`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..system.devices import COMPILE, DEVICES, PRECISIONS
from .fields import check_ranges, given, option

RENDERERS = ("auto", "neural", "embedded")
DRIVERS = ("auto", "learned", "signal")
HEAD_POSES = ("synthetic", "still", "reference", "source", "audio")
HEAD_STYLES = ("natural", "classic")
GAZES = ("natural", "still")
ENCODERS = ("x264", "nvenc")
NEUTRAL_MOUTHS = ("estimate", "first")
WIDEST_TURN = 40.0  # degrees, of --yaw, --pitch and --roll
PUPIL_RANGE = 15.0
_BLINK_RATE = 20.0
NEURAL_ONLY = ("driving_multiplier", "no_stitching", "no_normalize_lip", "precision", "compile", "batch_size")
SMOOTHED = "driving_smooth_observation_variance"  # learned lips, and the classic head
CROP_WINDOW = ("crop_scale", "crop_vx", "crop_vy")
LEARNED_ONLY = ("mapping", "neutral_mouth", "window_rows", "no_normalize_lip")
Degrees = tuple[float, ...]


@dataclass(frozen=True)
class TalkOptions:
    """How a talking video is made. Checked when made: raises OptionError for a value or a pair that makes no sense."""

    renderer: str = option(
        "auto",
        "what draws the face: neural (LivePortrait's networks), embedded (a face mesh, nothing to download) or auto "
        "(neural where its weights are installed)",
        choices=RENDERERS,
        group="who draws and speaks",
    )
    driver: str = option(
        "auto",
        "what moves the mouth: learned (SadTalker's network and the MappingNet), signal (built in) or auto (learned "
        "where the neural renderer draws and its weights are installed)",
        choices=DRIVERS,
    )
    head_pose: str | None = option(
        None,
        "where head motion comes from: synthetic (made for the voice; the default for a picture), still (none is "
        "added), reference (from --ref-head-pose), source (the source video's own; the default for a video), audio "
        "(SadTalker's pose network)",
        choices=HEAD_POSES,
        group="head",
    )
    still: bool = option(False, "add no head motion: short for --head-pose still")
    ref_head_pose: Path | None = option(None, "video whose head motion is followed: means --head-pose reference")
    ref_frames_from_zero: bool = option(False, "follow the reference from its first frame, not from a random one")
    head_style: str = option(
        "natural", "synthetic head: natural (as people move) or classic (the 2024 original's)", choices=HEAD_STYLES
    )
    head_motion: float = option(1.0, "how much the synthetic, reference or audio head moves", low=0, high=2)
    pose_style: int = option(0, "manner of the audio head", low=0, high=45)
    yaw: Degrees | None = option(
        None,
        "this angle by hand, whatever --head-pose does with the others: degrees from the picture's own pose, + to the "
        "picture's right; one value is held, several are passed through at an even speed",
        low=-WIDEST_TURN,
        high=WIDEST_TURN,
    )
    pitch: Degrees | None = option(None, "the same up and down, + up", low=-WIDEST_TURN, high=WIDEST_TURN)
    roll: Degrees | None = option(None, "the same sideways, + counter-clockwise", low=-WIDEST_TURN, high=WIDEST_TURN)
    blink: bool | None = option(None, "blinks; on for a picture, off for a video, which has its own", group="eyes")
    blink_rate: float = option(_BLINK_RATE, "blinks a minute", low=0, high=60)
    ref_blink: Path | None = option(None, "video whose blinks are followed")
    gaze: str | None = option(
        None,
        "natural (small glances aside; the default for a picture) or still (the default for a video)",
        choices=GAZES,
    )
    pupil_x: float = option(0.0, "turn the irises, + to the picture's right", low=-PUPIL_RANGE, high=PUPIL_RANGE)
    pupil_y: float = option(0.0, "turn the irises, + up", low=-PUPIL_RANGE, high=PUPIL_RANGE)
    expression_scale: float = option(1.0, "how much the mouth moves; 0 leaves it at rest", low=0, high=2, group="mouth")
    mapping: Path | None = option(None, "learned driver: a MappingNet of your own, as `export` writes it", unit="FILE")
    neutral_mouth: str = option(
        "estimate",
        "learned driver: the mouth that says nothing is what it makes of silence (estimate) or of the first frame "
        "(first, as the 2024 original)",
        choices=NEUTRAL_MOUTHS,
    )
    window_rows: int | None = option(
        None, "learned driver: rows of a coefficient window; what the weights say, 28 for the released", low=25, high=99
    )
    driving_smooth_observation_variance: float = option(
        3e-7, "how much learned lips and the classic head are smoothed over time", low=1e-12, high=1
    )
    driving_multiplier: float = option(
        1.0, "neural renderer: how far all motion goes, 1 = as driven", low=0, high=2, group="networks"
    )
    no_stitching: bool = option(False, "neural renderer: let neck and shoulders move along")
    no_normalize_lip: bool = option(
        False, "neural renderer: leave parted lips of a picture parted under the learned driver"
    )
    device: str = option("auto", "where the networks run", choices=DEVICES)
    precision: str = option(
        "auto",
        "number format of the neural renderer; auto is fp16 on CUDA, bf16 on a processor that has it, fp32 elsewhere",
        choices=PRECISIONS,
    )
    compile: str = option(
        "auto",
        "neural renderer: torch.compile for the networks on an NVIDIA GPU, half a minute once: on, off, or auto "
        "(where Triton is installed)",
        choices=COMPILE,
    )
    batch_size: int | None = option(
        None, "frames the neural renderer draws at once; what suits the device", low=1, high=64
    )
    crop_scale: float = option(
        2.3, "side of the face crop (--crop, neural renderer) in faces", low=1.5, high=4, group="picture"
    )
    crop_vx: float = option(
        0.0, "shift of that crop to the face's right in the picture, in its sides", low=-0.5, high=0.5
    )
    crop_vy: float = option(-0.125, "the same down; negative keeps more forehead", low=-0.5, high=0.5)
    crop: bool = option(False, "make a 512 px video of head and shoulders instead of the full picture")
    no_crop: bool = option(
        False, "take the whole frame as the face (a picture cut to a face already): no search for small faces"
    )
    face: int | None = option(None, "which face, 1 = the largest (the default)", low=1, high=20)
    fps: float | None = option(
        None,
        "frame rate; 25 for a picture, the source's own for a video",
        low=1,
        high=120,
        unit="frames/s",
        group="output",
    )
    encoder: str = option("x264", "what encodes the video: x264 or nvenc (H.264 on an NVIDIA GPU)", choices=ENCODERS)
    quality: int = option(14, "H.264 quality (CRF), smaller is better and larger", low=0, high=51)
    seed: int = option(
        0, "another seed is another take; the same seed and picture give the same video", low=0, high=2**32 - 1
    )
    max_size: int = option(
        2560, "longest side of the video; a larger picture is scaled down", low=64, high=8192, unit="px"
    )
    max_megapixels: float = option(120.0, "largest picture that is opened at all", low=0.1, high=170, unit="Mpx")
    max_seconds: float = option(3600.0, "longest voice or video that is accepted", low=0.2, high=86400, unit="s")

    def __post_init__(self) -> None:
        for name in ("ref_head_pose", "ref_blink", "mapping"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, Path(getattr(self, name)))
        for name in ("yaw", "pitch", "roll"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _degrees(name, getattr(self, name)))
        check_ranges(self)
        chosen = self.head_pose
        if self.still and chosen not in (None, "still"):
            raise OptionError(f"--still and --head-pose {chosen} contradict each other: give one of them.")
        if self.ref_head_pose is not None and (self.still or chosen not in (None, "reference")):
            other = "--still" if self.still else f"--head-pose {chosen}"
            raise OptionError(f"--ref-head-pose and {other} contradict each other: give one of them.")
        if chosen == "reference" and self.ref_head_pose is None:
            raise OptionError("--head-pose reference needs a video to follow: add --ref-head-pose VIDEO.")
        if self.ref_frames_from_zero and self.ref_head_pose is None and self.ref_blink is None:
            raise OptionError("--ref-frames-from-zero is about a reference: add --ref-head-pose VIDEO.")
        if self.pose_style and chosen != "audio":
            raise OptionError("--pose-style is about the head made from the voice: add --head-pose audio.")
        if self.no_crop and (given := self.given(("crop", *CROP_WINDOW))):
            raise OptionError(f"{given[0]} and --no-crop contradict each other: give one of them.")
        if self.head_style != "natural" and (self.still or chosen not in (None, "synthetic") or self.ref_head_pose):
            raise OptionError("--head-style is about the synthetic head: leave it out with any other head pose.")
        if self.head_motion != 1 and (self.still or chosen in ("still", "source")):
            raise OptionError("--head-motion is about a head that is moved: leave it out where none is.")
        if self.blink is False and self.blink_rate != _BLINK_RATE:
            raise OptionError("--no-blink and --blink-rate contradict each other: give one of them.")
        if self.ref_blink is not None and (self.blink is False or self.blink_rate != _BLINK_RATE):
            other = "--no-blink" if self.blink is False else "--blink-rate"
            raise OptionError(f"--ref-blink and {other} contradict each other: give one of them.")
        self._check_renderer()

    def _check_renderer(self) -> None:
        """What only one renderer or driver has, asked of the other."""
        if self.renderer == "embedded" and (given := self.given(NEURAL_ONLY)):
            raise OptionError(f"{given[0]} is about the neural renderer: leave it out with --renderer embedded.")
        if self.driver == "signal" and (given := self.given(LEARNED_ONLY)):
            raise OptionError(f"{given[0]} is about the learned driver: leave it out with --driver signal.")

    def given(self, names: tuple[str, ...]) -> list[str]:
        """The flags of those of `names` that are not at their defaults."""
        return given(self, names)

    def head_pose_for(self, still_source: bool) -> str:
        """The head pose in force for a picture or a video. Raises OptionError where it makes no sense for it."""
        default = "synthetic" if still_source else "source"
        chosen = "still" if self.still else self.head_pose or default
        if self.ref_head_pose is not None:
            chosen = "reference"
        if chosen == "source" and still_source:
            raise OptionError("--head-pose source needs a video as the source: a picture has no motion of its own.")
        if not still_source and self.ref_head_pose is None and (self.head_motion != 1 or self.head_style != "natural"):
            raise OptionError("--head-motion and --head-style are for a picture: a source video moves its own head.")
        if not still_source and not self.blink and self.blink_rate != _BLINK_RATE:
            raise OptionError("--blink-rate needs --blink with a video: it keeps its own blinks otherwise.")
        if chosen == "synthetic" and not still_source:
            # The body goes on moving in the video: a head moved against it would come off its neck.
            raise OptionError("--head-pose synthetic is for a picture: a source video moves its own head.")
        if not still_source and (given := self.given(("yaw", "pitch", "roll"))):
            raise OptionError(f"{given[0]} is for a picture: a source video moves its own head.")
        if chosen == "audio" and not still_source:
            raise OptionError("--head-pose audio is for a picture: a source video moves its own head.")
        return chosen


def _degrees(name: str, given: Any) -> Degrees:
    """One number or several, as floats. Raises OptionError for anything else: text is no list of digits."""
    try:
        values = (given,) if isinstance(given, (int, float)) else tuple(given)
        if isinstance(given, str) or any(isinstance(value, str) for value in values):
            raise TypeError
        return tuple(map(float, values))
    except (TypeError, ValueError) as error:
        raise OptionError(f"--{name} {given!r} is not a number of degrees, or several.") from error
