"""The figures: what each is called, in which unit, what it needs, and the human range beside it (docs/score.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite
from pathlib import Path

RANGES_FILE = Path(__file__).with_name("human_ranges.json")

NO_FACE, NO_SOUND = "no face was found", "there is no sound"
_TOO_LITTLE = "mouth and sound have too little in common"
_NO_SILENCE = "there is no silence of 0.3 s"
_NO_BLINK = "there is no blink"
_NOT_OPEN = "the mouth is never open"


@dataclass(frozen=True)
class Range:
    """Where a figure lies for real people."""

    low: float
    high: float
    source: str

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def as_json(self) -> dict[str, float | str | None]:
        """Return the range as JSON values; None: no limit."""
        low, high = (limit if isfinite(limit) else None for limit in (self.low, self.high))
        return {"low": low, "high": high, "source": self.source}


@dataclass(frozen=True)
class Figure:
    """One figure."""

    name: str
    label: str
    unit: str
    digits: int
    group: str
    below: str = ""
    """What a viewer sees where it lies below the range; `{}` is the value. Empty: that is no fault."""
    above: str = ""
    """The same above the range."""
    absent: str = ""
    """Why it may not be measured, besides a missing face or sound."""
    needs_face: bool = True
    needs_sound: bool = False
    shortest_s: float = 0.0
    """Shorter videos are not judged by it."""

    @property
    def is_judged(self) -> bool:
        """Whether it is compared with a range."""
        return bool(self.below or self.above)

    def text(self, value: float) -> str:
        """Return a value with the digits that it deserves."""
        return f"{value:.{self.digits}f}".replace("-", "−") if round(value, self.digits) else f"{0:.{self.digits}f}"


_SOUND, _MOUTH, _EYES, _HEAD = "mouth and sound", "mouth", "eyes", "head"
_STEADINESS, _LOOK, _PICTURE = "steadiness", "look of the mouth", "picture"
TRUTH = "against the true clip"
"""Group of the figures that need a true clip."""

# fmt: off
FIGURES = (
    Figure("offset_ms", "mouth behind the sound", "ms", 0, _SOUND, "the mouth is {} ms ahead of the sound",
           "the mouth is {} ms behind the sound", _TOO_LITTLE, needs_sound=True),
    Figure("offset_error_ms", "its standard error", "ms", 0, _SOUND, absent=_TOO_LITTLE, needs_sound=True),
    Figure("sound_r", "mouth as the sound predicts", "r", 2, _SOUND, "the mouth does not say what is heard",
           absent=_TOO_LITTLE, needs_sound=True),
    Figure("r_env0", "mouth with the loudness", "r", 2, _SOUND, needs_sound=True),
    Figure("av_diff_ms", "video longer than its sound", "ms", 0, _SOUND, needs_face=False, needs_sound=True),
    Figure("aperture_range", "range of the opening", "IOD", 3, _MOUTH, "the mouth hardly moves",
           "the mouth opens too far"),
    Figure("aperture_speech", "opening in speech", "IOD", 3, _MOUTH, "the mouth opens too little in speech",
           "the mouth is too far open in speech", needs_sound=True),
    Figure("aperture_silence", "opening in silence", "IOD", 3, _MOUTH, "", "the lips stay open in silence",
           _NO_SILENCE, needs_sound=True),
    Figure("silence_motion", "motion in silence", "IOD", 3, _MOUTH, "", "the lips move in silence",
           _NO_SILENCE, needs_sound=True),
    Figure("blink_gap_s", "longest time without a blink", "s", 1, _EYES, "", "the eyes do not blink for {} s"),
    Figure("blinks_per_min", "blinks", "1/min", 1, _EYES, "the eyes blink too rarely", "the eyes blink too often",
           shortest_s=9.0),
    Figure("blink_ms", "duration of a blink", "ms", 0, _EYES, "the blinks are too short", "the blinks are too long",
           _NO_BLINK),
    Figure("blink_closure", "openness left in a blink", "1", 2, _EYES, "", "blinks do not shut the eyes", _NO_BLINK),
    Figure("gaze_std", "spread of the gaze", "eye widths", 3, _EYES, "the gaze is frozen", "the gaze wanders"),
    Figure("yaw_std", "spread of yaw", "°", 2, _HEAD, "the head does not turn", "the head turns too far"),
    Figure("pitch_std", "spread of pitch", "°", 2, _HEAD, "the head does not nod", "the head nods too far"),
    Figure("roll_std", "spread of roll", "°", 2, _HEAD, "the head does not tilt", "the head tilts too far"),
    Figure("shift_std", "spread of its place", "% IOD", 1, _HEAD, "", "the head drifts through the picture"),
    Figure("pose_speed", "speed", "°/s", 1, _HEAD, "the head hardly moves", "the head moves too fast"),
    Figure("head_hz", "mean frequency of the speed", "Hz", 2, _HEAD, "the head moves too slowly", "the head trembles"),
    Figure("shake_pct", "shaking between frames", "% IOD", 2, _STEADINESS, "", "the face shakes from frame to frame"),
    Figure("jitter_pct", "jitter of landmarks", "% IOD", 2, _STEADINESS, "", "the face jitters"),
    Figure("bg_psnr_db", "background as in the reference", "dB", 1, _PICTURE, "the background changes"),
    Figure("sharpness", "sharpness, ratio", "1", 2, _PICTURE, "the face is blurred", "the face is too sharp"),
    Figure("identity_pct", "shape off the reference's", "% IOD", 2, _PICTURE, "", "the shape of the face changes"),
    Figure("face_ncc", "upper face as in the reference", "r", 2, _PICTURE, "the face becomes another one"),
    Figure("valid_pct", "frames with a face", "%", 0, _PICTURE, "only {} % of the frames show the face",
           needs_face=False),
    Figure("mouth_dL", "lightness inside less skin's", "L*", 1, _LOOK, "the inside of the mouth is too dark",
           "the inside of the mouth is too bright", _NOT_OPEN),
    Figure("mouth_da", "red–green inside less skin's", "a*", 1, _LOOK, "the inside of the mouth is greenish",
           "the inside of the mouth is too red", _NOT_OPEN),
    Figure("mouth_db", "yellow–blue inside less skin's", "b*", 1, _LOOK, "the inside of the mouth is bluish",
           "the inside of the mouth is yellowish", _NOT_OPEN),
    Figure("teeth_skin_dL", "lightness of teeth less skin's", "L*", 1, _LOOK, "the teeth are too dark",
           "the teeth are too bright", _NOT_OPEN),
    Figure("mouth_contrast", "contrast inside", "L*", 1, _LOOK, "the inside of the mouth is flat",
           "the inside of the mouth is harsh", _NOT_OPEN),
    Figure("r_aperture0", "opening", "r", 2, TRUTH),
    Figure("r_aperture", "opening at the best shift", "r", 2, TRUTH),
    Figure("lag_ms", "that shift: behind the clip", "ms", 0, TRUTH),
    Figure("r_width0", "width of the mouth", "r", 2, TRUTH),
    Figure("aperture_gain", "size of the motion, ratio", "1", 2, TRUTH),
    Figure("face_ssim", "face", "SSIM", 3, TRUTH, absent="the videos differ in size"),
    Figure("mouth_ssim", "mouth", "SSIM", 3, TRUTH),
    Figure("eye_ssim", "shut eyes", "SSIM", 3, TRUTH, absent="the true eyes never shut"),
    Figure("inner_dE", "colour inside the mouth", "ΔE", 1, TRUTH, absent=_NOT_OPEN),
    Figure("teeth_dL", "lightness of the teeth", "L*", 1, TRUTH, absent=_NOT_OPEN),
    Figure("teeth_da", "red–green of the teeth", "a*", 1, TRUTH, absent=_NOT_OPEN),
    Figure("teeth_db", "yellow–blue of the teeth", "b*", 1, TRUTH, absent=_NOT_OPEN),
    Figure("inner_contrast", "contrast inside, ratio", "1", 2, TRUTH, absent=_NOT_OPEN),
    Figure("inner_detail", "detail inside, ratio", "1", 2, TRUTH, absent=_NOT_OPEN),
)
# fmt: on
"""All figures that are shown, in their order. Reports as JSON have a few more: worst frames, other shifts."""

BY_NAME = {figure.name: figure for figure in FIGURES}


@lru_cache(maxsize=1)
def human_ranges() -> dict[str, Range]:
    """Return the range of each figure that is judged."""
    stored = json.loads(RANGES_FILE.read_text(encoding="utf-8"))["ranges"]
    found = {}
    for name, limits in stored.items():
        low, high = limits["low"], limits["high"]
        found[name] = Range(-inf if low is None else low, inf if high is None else high, limits["source"])
    return found
