"""Options of a face that follows another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError
from .applicability import check_engines
from .fields import check_values, option
from .shared import EncoderOptions, ImageOptions, RendererOptions, batch_size, fps, max_seconds

REGIONS = ("all", "exp", "pose", "lip", "eyes")
DRIVING_OPTIONS = ("expression-friendly", "pose-friendly")

_TEMPLATE_SUFFIXES = (".npz", ".pkl", ".pickle")


def is_template_name(path: Path) -> bool:
    """Return whether the suffix of `path` is that of a motion template, which is a driving clip, too."""
    return path.suffix.lower() in _TEMPLATE_SUFFIXES


@dataclass(frozen=True)
class AnimateOptions(EncoderOptions, ImageOptions, RendererOptions):
    """How a face follows another. Checked when made: raises OptionError for a value or a pair that makes no sense."""

    relative_motion: bool = option(
        True,
        "move the source from its own pose and expression, as far as the driving face departs from its own",
        "driving motion",
        flag="--absolute-motion",
        flag_help="take on the driving face's own pose and expression: the head as the driving one from its first "
        "frame on, mouth and eyes as it departs from its rest",
    )
    animation_region: str = option(
        "all", "what is driven: all, exp (the expression), pose, lip or eyes", "driving motion", choices=REGIONS
    )
    driving_multiplier: float = option(
        1.0, "scale of the motion, 1 = as in the driving face", "driving motion", low=0, high=2
    )
    normalize_lip: bool = option(False, "shut the parted lips of a picture first", "driving motion")
    eye_retargeting: bool = option(
        False, "open the eyes as far as the driving face's, whatever their shape", "driving motion"
    )
    lip_retargeting: bool = option(
        False, "open the lips as far as the driving face's, whatever their shape", "driving motion"
    )
    crop_driving: bool = option(
        True,
        "neural renderer: cut the driving video to its face",
        "driving motion",
        flag_help="neural renderer: take the driving video as it is, cut to its face already",
        needs=("neural",),
    )
    source_video_eye_retargeting: bool = option(
        False,
        "neural renderer: hold the eyes of a source video open as in its first frame",
        "networks",
        needs=("neural",),
    )
    driving_smooth_observation_variance: float = option(
        3e-7,
        "neural renderer: how much the motion of a source video is smoothed over time",
        "networks",
        low=1e-12,
        high=1,
        needs=("neural",),
    )
    batch_size: int | None = batch_size()
    driving_option: str = option(
        "expression-friendly",
        "neural renderer: expression-friendly or pose-friendly, which hardly differ",
        "networks",
        choices=DRIVING_OPTIONS,
        needs=("neural",),
    )
    fps: float | None = fps(None, "frame rate; the source video's own, for a picture the driving video's")
    max_seconds: float = max_seconds("longest video that is accepted")

    def __post_init__(self) -> None:
        check_values(self)
        check_engines(self)
        if not self.relative_motion and self.normalize_lip:
            raise OptionError("--normalize-lip and --absolute-motion contradict each other: give one of them.")
