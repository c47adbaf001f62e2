"""The sliders of the two expression editors: one table of what they are called, how far they go and what they do.

Source: spec liveportrait.md §15.1 (`PortraitEdit`) and §15.2 (`ExpressionEdit`). Each field of the two is a slider
with its range, its help and what one unit of it adds, so that a command line or a page can be made from
`sliders(...)`; this needs no torch. `editor` moves the points.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Floats64
from ..errors import OptionError

SAMPLE_PARTS = ("all", "expression", "rotation", "mouth", "eyes")
HEAD_POINT = 5
"""The key point that carries the place of the head."""

_KEYPOINTS = 21
_AXES = "xyz"

Steps = dict[tuple[int, str], float]
"""(key point, axis) → what one unit of a slider adds to it, canonical units; y points down."""


class Effect(NamedTuple):
    """What one unit of a slider does; where `below` is given, it holds below 0 and `steps` above."""

    steps: Steps = {}  # noqa: RUF012 (a NamedTuple's default, never written to)
    below: Steps | None = None
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Degrees added to pitch, yaw, roll."""


class Slider(NamedTuple):
    """What a door needs to know of one slider."""

    name: str
    default: float | str | None
    """None: at rest, the slider does nothing until it is moved."""
    low: float | None
    high: float | None
    choices: tuple[str, ...] | None
    help: str
    effect: Effect


# fmt: off
_PURSE = Effect({(14, "y"): 0.001, (3, "y"): -0.0005, (7, "y"): -0.0005, (17, "z"): -0.0005})
_GRIN = Effect({(20, "z"): -0.001, (20, "y"): -0.001, (14, "y"): -0.001})
_PART_LIPS: Steps = {(19, "y"): 0.001, (19, "z"): 0.0001, (17, "y"): -0.0001}
_SMILE = Effect({
    (20, "y"): -0.01, (14, "y"): -0.02, (17, "y"): 0.0065, (17, "z"): 0.003,
    (13, "y"): -0.00275, (16, "y"): -0.00275, (3, "y"): -0.0035, (7, "y"): -0.0035,
})
_WINK: Steps = {(11, "y"): 0.001, (13, "y"): -0.0003, (17, "x"): 0.0003, (17, "y"): 0.0003, (3, "y"): -0.0003}
_EYEBROW = Effect(
    {(1, "y"): 0.001, (2, "y"): -0.001},
    below={(1, "x"): -0.001, (2, "x"): 0.001, (1, "y"): 0.0003, (2, "y"): -0.0003},
)
_GAZE_X = Effect({(11, "x"): 0.0007, (15, "x"): 0.001}, below={(11, "x"): 0.001, (15, "x"): 0.0007})
_BLINK: Steps = {
    (11, "y"): -0.001, (15, "y"): -0.001, (13, "y"): 0.0003, (16, "y"): 0.0003, (1, "y"): -0.00025, (2, "y"): 0.00025,
}
_FOLLOW = -0.5  # how far the lids go with a look up or down
_GAZE_Y: Steps = {(11, "y"): -0.001, (15, "y"): -0.001}
# The lids of the portrait editor leave the brows alone; those of the expression editor are its whole blink.
_GAZE_Y_PORTRAIT: Steps = {
    (11, "y"): -0.001 * (1 + _FOLLOW), (15, "y"): -0.001 * (1 + _FOLLOW),
    (13, "y"): 0.0003 * _FOLLOW, (16, "y"): 0.0003 * _FOLLOW,
}
_GAZE_Y_EXPRESSION: Steps = {
    at: _GAZE_Y.get(at, 0.0) + _FOLLOW * step for at, step in _BLINK.items()
}
# fmt: on
_PITCH, _YAW, _ROLL = (Effect(turn=turn) for turn in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))


def _slider(
    low: float,
    high: float,
    text: str,
    effect: Effect | None = None,
    *,
    default: float | None = 0.0,
    group: str = "",
    also: str | None = None,
) -> Any:
    """A field; `group` starts a new group of sliders, which goes on below, `also` is a second name for its flag."""
    notes = {"help": text, "low": low, "high": high, "choices": None, "group": group, "also": also}
    return field(default=default, metadata=notes | {"effect": effect or Effect()})


class _Edit:
    """What both editors' settings have: checked ranges, and the sum of what their sliders do."""

    def __post_init__(self) -> None:
        for slider in sliders(type(self)):
            _check(slider, getattr(self, slider.name))

    def expression(self) -> Floats64:
        """(21, 3) what the sliders add to the expression."""
        above, below, _ = _effects(type(self))
        up: Floats64 = np.maximum(self._values(), 0.0)
        down: Floats64 = np.minimum(self._values(), 0.0)
        change: Floats64 = np.tensordot(up, above, 1) + np.tensordot(down, below, 1)
        return change

    def turn_deg(self) -> Floats64:
        """(3,) degrees added to pitch, yaw, roll, LivePortrait's signs."""
        turn: Floats64 = self._values() @ _effects(type(self))[2]
        return turn

    def _values(self) -> Floats64:
        """(n,) of the sliders that do something by themselves, in order."""
        return np.array([float(getattr(self, s.name)) for s in _moving(type(self))])


@dataclass(frozen=True)
class PortraitEdit(_Edit):
    """Settings of the single-image page (§15.1). Raises OptionError for a value out of its range."""

    pitch: float = _slider(-15, 15, "nod, degrees, + down", _PITCH)
    yaw: float = _slider(-25, 25, "turn the head, degrees, + to the picture's left", _YAW)
    roll: float = _slider(-15, 15, "tilt the head, degrees, + clockwise", _ROLL)
    move_x: float = _slider(
        -0.19, 0.19, "move the head sideways, in halves of the crop", Effect({(HEAD_POINT, "x"): -1.0})
    )
    move_y: float = _slider(-0.19, 0.19, "the same up and down", Effect({(HEAD_POINT, "y"): 1.0}))
    zoom: float = _slider(0.9, 1.2, "size of the head, 1 = as it is", default=1.0)
    pout: float = _slider(-0.09, 0.09, "push the lips aside, + to the picture's right", Effect({(19, "x"): 1.0}))
    purse: float = _slider(-20, 15, "purse the lips", _PURSE)
    grin: float = _slider(0, 15, "grin", _GRIN)
    part_lips: float = _slider(-90, 120, "shut (−) or part (+) the lips", Effect(_PART_LIPS))
    smile: float = _slider(-0.3, 1.3, "smile", _SMILE)
    wink: float = _slider(0, 39, "wink", Effect(_WINK))
    eyebrow: float = _slider(-30, 30, "move the eyebrows", _EYEBROW)
    gaze_x: float = _slider(-30, 30, "turn the irises, + to the picture's right", _GAZE_X)
    gaze_y: float = _slider(-63, 63, "the same, + up, lids with them", Effect(_GAZE_Y_PORTRAIT))
    open_eyes: float | None = _slider(0, 0.8, "ratio the eyes are opened to; left alone if not given", default=None)
    open_lips: float | None = _slider(0, 0.8, "ratio the lips are opened to; left alone if not given", default=None)


@dataclass(frozen=True)
class ExpressionEdit(_Edit):
    """Settings of the expression editor (§15.2). Raises OptionError for a value out of its range."""

    rotate_pitch: float = _slider(-20, 20, "nod, degrees, + down", _PITCH, group="head", also="--pitch")
    rotate_yaw: float = _slider(
        -20,
        20,
        "turn the head, degrees, + to the picture's right",
        Effect(turn=(0.0, -1.0, 0.0)),
        also="--yaw",
    )
    rotate_roll: float = _slider(-20, 20, "tilt the head, degrees, + clockwise", _ROLL, also="--roll")
    blink: float = _slider(-20, 5, "shut (−) or widen (+) the eyes", Effect(_BLINK), group="eyes")
    eyebrow: float = _slider(-10, 15, "move the eyebrows", _EYEBROW)
    wink: float = _slider(0, 25, "wink, the head with it", Effect(_WINK, turn=(0.0, -0.1, -0.1)))
    pupil_x: float = _slider(-15, 15, "turn the irises, + to the picture's right", _GAZE_X)
    pupil_y: float = _slider(-15, 15, "the same, + up, lids with them", Effect(_GAZE_Y_EXPRESSION))
    aaa: float = _slider(
        -30,
        120,
        "open the mouth as for a, the head with it",
        Effect(_PART_LIPS, turn=(-0.05, 0.0, 0.0)),
        group="mouth",
    )
    eee: float = _slider(-20, 15, "stretch the lips as for e", _GRIN)
    woo: float = _slider(-20, 15, "purse the lips as for u", _PURSE)
    smile: float = _slider(-0.3, 1.3, "smile", _SMILE)
    source_ratio: float = _slider(
        0, 1, "how much of the picture's own expression stays", default=1.0, group="expression"
    )
    sample_ratio: float = _slider(-0.2, 1.2, "how much of the sample face is taken", default=1.0)
    sample_parts: str = field(
        default="expression", metadata={"help": "what is taken of the sample face", "choices": SAMPLE_PARTS}
    )


def sliders(edit: type[Any]) -> tuple[Slider, ...]:
    """The sliders of `PortraitEdit` or `ExpressionEdit`, in the order to show them."""
    return tuple(
        Slider(
            name=f.name,
            default=None if f.default is dataclasses.MISSING else f.default,
            low=f.metadata.get("low"),
            high=f.metadata.get("high"),
            choices=f.metadata["choices"],
            help=f.metadata["help"],
            effect=f.metadata.get("effect", Effect()),
        )
        for f in dataclasses.fields(edit)
        if f.metadata.get("low") is not None or f.metadata["choices"] is not None
    )


def _moving(edit: type[Any]) -> Iterator[Slider]:
    """The sliders that do something by themselves."""
    return (s for s in sliders(edit) if s.effect != Effect())


def _effects(edit: type[Any]) -> tuple[Floats64, Floats64, Floats64]:
    """The table as arrays: expression (n, 21, 3) for a unit above 0 and below it, and degrees (n, 3)."""
    effects = [s.effect for s in _moving(edit)]
    above, below = np.zeros((2, len(effects), _KEYPOINTS, 3))
    for i, effect in enumerate(effects):
        for table, steps in ((above, effect.steps), (below, effect.steps if effect.below is None else effect.below)):
            for (keypoint, axis), step in steps.items():
                table[i, keypoint, _AXES.index(axis)] = step
    return above, below, np.array([effect.turn for effect in effects])


def _check(slider: Slider, value: Any) -> None:
    """Raises OptionError for what this slider cannot be."""
    flag = "--" + slider.name.replace("_", "-")
    if slider.choices is not None:
        if value not in slider.choices:
            raise OptionError(f"{flag} {value} is not known: choose one of {', '.join(slider.choices)}.")
        return
    if value is None and slider.default is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise OptionError(f"{flag} {value!r} is not a number.")
    assert slider.low is not None and slider.high is not None
    if not slider.low <= value <= slider.high:
        raise OptionError(f"{flag} {value} is out of range: give {slider.low:g} … {slider.high:g}.")
