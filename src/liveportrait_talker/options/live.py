"""Options of a live face."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OptionError
from .applicability import check_engines
from .fields import changed_flags, check_values, option, same_option
from .shared import ImageOptions, RendererOptions, fps, max_seconds
from .talk import TalkOptions

_ONE_ANGLE = "hold this angle, whatever the head does otherwise: degrees from the picture's own pose, "


@dataclass(frozen=True)
class LiveOptions(ImageOptions, RendererOptions):
    """Options of a live face. Checked when made: raises OptionError for a value or a pair that makes no sense."""

    look_ahead: float = option(
        0.08,
        "how much of the sound is heard before its mouth is drawn; 0.08 is best, less is earlier",
        "mouth",
        low=0.04,
        high=0.2,
        unit="s",
    )
    expression_scale: float = same_option(TalkOptions, "expression_scale")
    still: bool = same_option(TalkOptions, "still", help="the head does not move")
    head_motion: float = same_option(TalkOptions, "head_motion", help="how much the head moves")
    yaw: float | None = same_option(TalkOptions, "yaw", help=_ONE_ANGLE + "+ to the picture's right")
    pitch: float | None = same_option(TalkOptions, "pitch")
    roll: float | None = same_option(TalkOptions, "roll")
    breath: bool = same_option(
        TalkOptions, "breath", default=True, flag_help="chest and shoulders do not rise and fall"
    )
    blink: bool = same_option(TalkOptions, "blink", default=True, flag_help="no blinks")
    blink_rate: float = same_option(TalkOptions, "blink_rate")
    gaze: str = same_option(
        TalkOptions, "gaze", default="natural", help="natural (small glances aside) or still (at the viewer)"
    )
    pupil_x: float = same_option(TalkOptions, "pupil_x")
    pupil_y: float = same_option(TalkOptions, "pupil_y")
    background: str = same_option(
        RendererOptions,
        "background",
        flag_help="what is behind the person: keep (its own, which stands still), a colour (#rrggbb, green, white …) "
        "or the file of a picture",
        unit="keep|COLOR|FILE",
    )
    max_size: int = same_option(ImageOptions, "max_size", default=768)
    fps: float = fps(25.0, "frame rate")
    sample_rate: int = option(
        24_000, "sample rate of the sound that comes with the frames", "output", low=8000, high=48_000, unit="Hz"
    )
    paced: bool = option(
        True,
        "frames come by the clock",
        "output",
        flag_help="frames come as fast as they are asked for",
    )
    max_pending: float = option(
        120.0,
        "sound that may wait to be spoken; what is pushed beyond is dropped",
        "output",
        low=1,
        high=3600,
        unit="s",
    )
    seed: int = same_option(TalkOptions, "seed", help="another seed is another motion")
    max_seconds: float = max_seconds("longest video of --mouth-from that is accepted")

    def __post_init__(self) -> None:
        check_values(self)
        if self.still and self.head_motion != 1:
            raise OptionError("--still and --head-motion contradict each other: give one of them.")
        if not self.blink and changed_flags(self, ("blink_rate",)):
            raise OptionError("--no-blink and --blink-rate contradict each other: give one of them.")
        check_engines(self)
