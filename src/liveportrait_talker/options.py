"""Every choice a user has, once: the API, the command line and the page are made from `TalkOptions`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import OptionError

HEAD_POSES = ("synthetic", "still", "reference", "source")
HEAD_STYLES = ("natural", "classic")
GAZES = ("natural", "still")
PUPIL_RANGE = 15.0
_BLINK_RATE = 20.0


def _option(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    unit: str | None = None,
) -> Any:
    return field(default=default, metadata={"help": text, "low": low, "high": high, "choices": choices, "unit": unit})


@dataclass(frozen=True)
class TalkOptions:
    """How a talking video is made. Checked when made: raises OptionError for a value or a pair that makes no sense."""

    head_pose: str | None = _option(
        None,
        "where head motion comes from: synthetic (made for the voice; the default for a picture), still (none is "
        "added), reference (from --ref-head-pose), source (the source video's own; the default for a video)",
        choices=HEAD_POSES,
    )
    still: bool = _option(False, "add no head motion: short for --head-pose still")
    ref_head_pose: Path | None = _option(None, "video whose head motion is followed: means --head-pose reference")
    ref_frames_from_zero: bool = _option(False, "follow the reference from its first frame, not from a random one")
    head_style: str = _option(
        "natural", "synthetic head: natural (as people move) or classic (the 2024 original's)", choices=HEAD_STYLES
    )
    head_motion: float = _option(1.0, "how much the synthetic or reference head moves", low=0, high=2)
    blink: bool | None = _option(None, "blinks; on for a picture, off for a video, which has its own")
    blink_rate: float = _option(_BLINK_RATE, "blinks a minute", low=0, high=60)
    gaze: str | None = _option(
        None,
        "natural (small glances aside; the default for a picture) or still (the default for a video)",
        choices=GAZES,
    )
    pupil_x: float = _option(0.0, "turn the irises, + to the picture's right", low=-PUPIL_RANGE, high=PUPIL_RANGE)
    pupil_y: float = _option(0.0, "turn the irises, + up", low=-PUPIL_RANGE, high=PUPIL_RANGE)
    expression_scale: float = _option(1.0, "how much the mouth moves; 0 leaves it at rest", low=0, high=2)
    crop: bool = _option(False, "make a 512 px video of head and shoulders instead of the full picture")
    no_crop: bool = _option(
        False, "take the whole frame as the face (a picture cut to a face already): no search for small faces"
    )
    face: int | None = _option(None, "which face, 1 = the largest (the default)", low=1, high=20)
    fps: float | None = _option(
        None, "frame rate; 25 for a picture, the source's own for a video", low=1, high=120, unit="frames/s"
    )
    quality: int = _option(14, "H.264 quality (CRF), smaller is better and larger", low=0, high=51)
    seed: int = _option(
        0, "another seed is another take; the same seed and picture give the same video", low=0, high=2**32 - 1
    )
    max_size: int = _option(
        2560, "longest side of the video; a larger picture is scaled down", low=64, high=8192, unit="px"
    )
    max_megapixels: float = _option(120.0, "largest picture that is opened at all", low=0.1, high=170, unit="Mpx")
    max_seconds: float = _option(3600.0, "longest voice or video that is accepted", low=0.2, high=86400, unit="s")

    def __post_init__(self) -> None:
        if isinstance(self.ref_head_pose, str):
            object.__setattr__(self, "ref_head_pose", Path(self.ref_head_pose))
        for option in dataclasses.fields(self):
            self._check_range(option)
        chosen = self.head_pose
        if self.still and chosen not in (None, "still"):
            raise OptionError(f"--still and --head-pose {chosen} contradict each other: give one of them.")
        if self.ref_head_pose is not None and (self.still or chosen not in (None, "reference")):
            other = "--still" if self.still else f"--head-pose {chosen}"
            raise OptionError(f"--ref-head-pose and {other} contradict each other: give one of them.")
        if chosen == "reference" and self.ref_head_pose is None:
            raise OptionError("--head-pose reference needs a video to follow: add --ref-head-pose VIDEO.")
        if self.ref_frames_from_zero and self.ref_head_pose is None:
            raise OptionError("--ref-frames-from-zero is about a reference: add --ref-head-pose VIDEO.")
        if self.crop and self.no_crop:
            raise OptionError("--crop and --no-crop contradict each other: give one of them.")
        if self.head_style != "natural" and (self.still or chosen not in (None, "synthetic") or self.ref_head_pose):
            raise OptionError("--head-style is about the synthetic head: leave it out with any other head pose.")
        if self.head_motion != 1 and (self.still or chosen in ("still", "source")):
            raise OptionError("--head-motion is about a head that is moved: leave it out where none is.")
        if self.blink is False and self.blink_rate != _BLINK_RATE:
            raise OptionError("--no-blink and --blink-rate contradict each other: give one of them.")

    def _check_range(self, option: dataclasses.Field[Any]) -> None:
        value, limits = getattr(self, option.name), option.metadata
        flag = "--" + option.name.replace("_", "-")
        if value is None or isinstance(value, bool):
            return
        if limits["choices"] is not None and value not in limits["choices"]:
            raise OptionError(f"{flag} {value} is not known: choose one of {', '.join(limits['choices'])}.")
        if limits["low"] is not None and not limits["low"] <= value <= limits["high"]:
            raise OptionError(
                f"{flag} {value} is out of range: give {_plain(limits['low'])} … {_plain(limits['high'])}."
            )

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
        return chosen


def _plain(number: float) -> str:
    """A limit as a person writes it."""
    return str(int(number)) if float(number).is_integer() else f"{number:g}"
