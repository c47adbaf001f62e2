"""Options of a talking video."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from ..errors import OptionError
from .applicability import check_engines
from .expression import ExpressionOptions
from .fields import accept_old_names, changed_flags, check_values, option, shown
from .shared import EncoderOptions, ImageOptions, RendererOptions, batch_size, fps, max_seconds

DRIVERS = ("auto", "learned", "signal")
HEAD_POSES = ("synthetic", "still", "reference", "source", "audio")
HEAD_STYLES = ("natural", "classic")
GAZES = ("natural", "still")
NEUTRAL_MOUTHS = ("estimate", "first")
WIDEST_TURN = 40.0  # degrees, of --yaw, --pitch and --roll
PUPIL_RANGE = 15.0
_BLINK_RATE = 20.0
CROP_WINDOW = ("crop_scale", "crop_vx", "crop_vy")
OLD_NAMES = {"no_stitching": "stitching", "no_normalize_lip": "normalize_lip", "no_crop": "crop_to_face"}
"""Names of an earlier release → today's, whose values are the opposite."""
Degrees = tuple[float, ...]


@accept_old_names(OLD_NAMES)
@dataclass(frozen=True)
class TalkOptions(EncoderOptions, ImageOptions, RendererOptions, ExpressionOptions):
    """How a talking video is made. Checked when made: raises OptionError for a value or a pair that makes no sense."""

    driver: str = option(
        "auto",
        "driver of the mouth: learned (SadTalker's network and the MappingNet), signal (built in) or auto (learned "
        "where the neural renderer draws and its weights are installed)",
        "engines",
        choices=DRIVERS,
    )
    head_pose: str | None = option(
        None,
        "where head motion comes from: synthetic (made for the voice; the default for a picture), still (none is "
        "added), reference (from --ref-head-pose), source (the source video's own; the default for a video), audio "
        "(SadTalker's pose network)",
        "head",
        choices=HEAD_POSES,
    )
    still: bool = option(False, "add no head motion: short for --head-pose still", "head")
    ref_head_pose: Path | None = option(
        None, "video whose head motion is followed: means --head-pose reference", "head"
    )
    ref_frames_from_zero: bool = option(
        False, "follow the reference from its first frame, not from a random one", "head"
    )
    head_style: str = option(
        "natural",
        "synthetic head: natural (as people move) or classic (the 2024 original's)",
        "head",
        choices=HEAD_STYLES,
    )
    head_motion: float = option(1.0, "how much the synthetic, reference or audio head moves", "head", low=0, high=2)
    pose_style: int = option(0, "style of the audio head", "head", low=0, high=45)
    yaw: Degrees | None = option(
        None,
        "this angle by hand, whatever --head-pose does with the others: degrees from the picture's own pose, + to the "
        "picture's right; one value is held, several are passed through at an even speed",
        "head",
        low=-WIDEST_TURN,
        high=WIDEST_TURN,
    )
    pitch: Degrees | None = option(None, "the same up and down, + up", "head", low=-WIDEST_TURN, high=WIDEST_TURN)
    roll: Degrees | None = option(
        None, "the same sideways, + counter-clockwise", "head", low=-WIDEST_TURN, high=WIDEST_TURN
    )
    breath: bool | None = option(
        None,
        "chest and shoulders rise and fall a little; on for a picture, unless its head is still",
        "head",
        needs=("embedded",),
    )
    blink: bool | None = option(None, "blinks; on for a picture, off for a video, which has its own", "eyes")
    blink_rate: float = option(_BLINK_RATE, "blinks a minute", "eyes", low=0, high=60)
    ref_blink: Path | None = option(None, "video whose blinks are followed", "eyes")
    gaze: str | None = option(
        None,
        "natural (small glances aside; the default for a picture) or still (the default for a video)",
        "eyes",
        choices=GAZES,
    )
    pupil_x: float = option(
        0.0, "turn the irises, + to the picture's right", "eyes", low=-PUPIL_RANGE, high=PUPIL_RANGE
    )
    pupil_y: float = option(0.0, "turn the irises, + up", "eyes", low=-PUPIL_RANGE, high=PUPIL_RANGE)
    expression_scale: float = option(1.0, "how much the mouth moves; 0 leaves it at rest", "mouth", low=0, high=2)
    mapping: Path | None = option(
        None,
        "learned driver: a MappingNet of your own, as `export` writes it",
        "mouth",
        unit="FILE",
        needs=("learned",),
    )
    neutral_mouth: str = option(
        "estimate",
        "learned driver: the neutral mouth is predicted from silence (estimate) or from the first frame (first, as the "
        "2024 original)",
        "mouth",
        choices=NEUTRAL_MOUTHS,
        needs=("learned",),
    )
    window_rows: int | None = option(
        None,
        "learned driver: rows of a coefficient window; what the weights say, 28 for the released",
        "mouth",
        low=25,
        high=99,
        needs=("learned",),
    )
    driving_smooth_observation_variance: float = option(
        3e-7,
        "how much learned lips and the classic head are smoothed over time",
        "mouth",
        low=1e-12,
        high=1,
        needs=("learned", "classic head"),
    )
    driving_multiplier: float = option(
        1.0, "neural renderer: scale of all motion, 1 = as driven", "networks", low=0, high=2, needs=("neural",)
    )
    normalize_lip: bool = option(
        True,
        "neural renderer: shut the parted lips of a picture before the learned driver moves them",
        "networks",
        flag_help="neural renderer: leave parted lips of a picture parted under the learned driver",
        needs=("neural+learned",),
    )
    batch_size: int | None = batch_size()
    crop_to_face: bool = option(
        True,
        "find and crop the face in the source, small faces too",
        "image",
        flag="--no-crop",
        flag_help="take the whole frame as the face (a picture cut to a face already): no search for small faces",
    )
    crop_scale: float = option(
        2.3,
        "side of the face crop (--crop, neural renderer) in faces",
        "image",
        low=1.5,
        high=4,
        needs=("neural", "crop"),
    )
    crop_vx: float = option(
        0.0,
        "shift of that crop to the face's right in the picture, in its sides",
        "image",
        low=-0.5,
        high=0.5,
        needs=("neural", "crop"),
    )
    crop_vy: float = option(
        -0.125,
        "the same down; negative keeps more forehead",
        "image",
        low=-0.5,
        high=0.5,
        needs=("neural", "crop"),
    )
    fps: float | None = fps(None, "frame rate; 25 for a picture, the source's own for a video")
    seed: int = option(
        0,
        "another seed is another take; the same seed and picture give the same video",
        "output",
        low=0,
        high=2**32 - 1,
    )
    max_seconds: float = max_seconds("longest voice or video that is accepted")

    def __post_init__(self) -> None:
        for name in ("yaw", "pitch", "roll"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _degrees(name, getattr(self, name)))
        check_values(self)
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
        if not self.crop_to_face and (flags := changed_flags(self, ("crop", *CROP_WINDOW))):
            raise OptionError(f"{flags[0]} and --no-crop contradict each other: give one of them.")
        if self.head_style != "natural" and (self.still or chosen not in (None, "synthetic") or self.ref_head_pose):
            raise OptionError("--head-style is about the synthetic head: leave it out with any other head pose.")
        if self.head_motion != 1 and (self.still or chosen in ("still", "source")):
            raise OptionError("--head-motion is about a head that is moved: leave it out where none is.")
        if self.blink is False and self.blink_rate != _BLINK_RATE:
            raise OptionError("--no-blink and --blink-rate contradict each other: give one of them.")
        if self.ref_blink is not None and (self.blink is False or self.blink_rate != _BLINK_RATE):
            other = "--no-blink" if self.blink is False else "--blink-rate"
            raise OptionError(f"--ref-blink and {other} contradict each other: give one of them.")
        check_engines(self)

    def head_pose_for(self, still_source: bool) -> str:
        """Return the head pose for a picture or a video. Raises OptionError where it makes no sense for it."""
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
        if not still_source and self.liveliness not in (0, 1):
            raise OptionError("--liveliness is for a picture: the brows and lids of a source video move by themselves.")
        if not still_source and self.breath:
            raise OptionError("--breath is for a picture: a source video moves its own shoulders.")
        if not still_source and (flags := changed_flags(self, ("yaw", "pitch", "roll"))):
            raise OptionError(f"{flags[0]} is for a picture: a source video moves its own head.")
        if chosen == "audio" and not still_source:
            raise OptionError("--head-pose audio is for a picture: a source video moves its own head.")
        return chosen


def _degrees(name: str, given: Any) -> Degrees:
    """Return one number or several as floats. Raises OptionError for anything else, text included."""
    try:
        values = (given,) if isinstance(given, Real) else tuple(given)
        if isinstance(given, str) or any(isinstance(value, (str, bool)) for value in values):
            raise TypeError
        return tuple(map(float, values))
    except (TypeError, ValueError, OverflowError) as error:
        raise OptionError(f"--{name} {shown(given)} is not a number of degrees, or several.") from error
