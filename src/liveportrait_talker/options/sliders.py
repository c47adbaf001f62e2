"""Sliders of the expression editor: names, ranges, and what one unit adds to LivePortrait's keypoints.

Source: docs/method/liveportrait.md, Expression editor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .fields import check_values, option

if TYPE_CHECKING:  # not at run time: the command line imports this module, and `--help` should not load NumPy
    from ..arrays import Floats, Floats64

SAMPLE_PARTS = ("all", "expression", "rotation", "mouth", "eyes")
HEAD_POINT = 5
"""The keypoint that carries the position of the head."""

FULL_BROWS = 0.09
"""IOD by which the slider `eyebrow` raises the brows at its end."""

FULL_SMILE = 0.06
"""IOD by which the slider `smile` raises the corners of the mouth at 1."""

_KEYPOINTS = 21
_AXES = "xyz"

Steps = dict[tuple[int, str], float]
"""(keypoint, axis) → what one unit of a slider adds, in canonical units; y points down."""


class Effect(NamedTuple):
    """Effect of one unit of a slider; where `below` is given, it holds for negative values and `steps` for others."""

    steps: Steps = {}  # noqa: RUF012 (a NamedTuple's default, never written to)
    below: Steps | None = None
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Degrees added to pitch, yaw, roll, LivePortrait's signs."""


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
_FOLLOW = -0.5  # share of a blink by which the lids follow a vertical gaze
_GAZE_Y: Steps = {(11, "y"): -0.001, (15, "y"): -0.001}
_GAZE_Y_WITH_LIDS: Steps = {at: _GAZE_Y.get(at, 0.0) + _FOLLOW * step for at, step in _BLINK.items()}
# fmt: on
_PITCH, _ROLL = Effect(turn=(1.0, 0.0, 0.0)), Effect(turn=(0.0, 0.0, 1.0))
_YAW = Effect(turn=(0.0, -1.0, 0.0))
_WINK_AND_TURN = Effect(_WINK, turn=(0.0, -0.1, -0.1))
_OPEN_AND_NOD = Effect(_PART_LIPS, turn=(-0.05, 0.0, 0.0))
_EFFECTS = {
    "rotate_pitch": _PITCH,
    "rotate_yaw": _YAW,
    "rotate_roll": _ROLL,
    "blink": Effect(_BLINK),
    "eyebrow": _EYEBROW,
    "wink": _WINK_AND_TURN,
    "pupil_x": _GAZE_X,
    "pupil_y": Effect(_GAZE_Y_WITH_LIDS),
    "aaa": _OPEN_AND_NOD,
    "eee": _GRIN,
    "woo": _PURSE,
    "smile": _SMILE,
}


@dataclass(frozen=True)
class ExpressionEdit:
    """Values of the sliders; 0 leaves the face as it is. Raises OptionError for a value out of its range."""

    rotate_pitch: float = option(
        0.0, "nod, degrees, + down (in generate: + up)", "head", low=-20, high=20, alias="--pitch"
    )
    rotate_yaw: float = option(
        0.0, "turn the head, degrees, + to the picture's right", "head", low=-20, high=20, alias="--yaw"
    )
    rotate_roll: float = option(
        0.0,
        "tilt the head, degrees, + clockwise (in generate: + counter-clockwise)",
        "head",
        low=-20,
        high=20,
        alias="--roll",
    )
    blink: float = option(0.0, "shut (−) or widen (+) the eyes", "eyes", low=-20, high=5)
    eyebrow: float = option(0.0, "raise (+) or lower (−) the eyebrows", "eyes", low=-10, high=15)
    wink: float = option(0.0, "wink, the head with it", "eyes", low=0, high=25)
    pupil_x: float = option(0.0, "turn the irises, + to the picture's right", "eyes", low=-15, high=15)
    pupil_y: float = option(0.0, "turn the irises, + up, the lids with them", "eyes", low=-15, high=15)
    aaa: float = option(
        0.0, "open (+) the mouth as for a, or shut it (−), the head with it", "mouth", low=-30, high=120
    )
    eee: float = option(0.0, "stretch (+) the lips as for e, or narrow them (−)", "mouth", low=-20, high=15)
    woo: float = option(0.0, "purse (+) the lips as for u, or draw them in (−)", "mouth", low=-20, high=15)
    smile: float = option(0.0, "raise (+) or lower (−) the corners of the mouth", "mouth", low=-0.3, high=1.3)
    source_ratio: float = option(1.0, "how much of the picture's own expression stays", "expression", low=0, high=1)
    sample_ratio: float = option(1.0, "how much of the sample face is taken", "expression", low=-0.2, high=1.2)
    sample_parts: str = option("expression", "what is taken of the sample face", "expression", choices=SAMPLE_PARTS)

    def __post_init__(self) -> None:
        check_values(self)

    def expression(self) -> Floats64:
        """Return (21, 3) what the sliders add to the expression."""
        change: Floats64 = expression_of(self._values())[0]
        return change

    def turn_deg(self) -> Floats64:
        """Return (3,) degrees added to pitch, yaw, roll, LivePortrait's signs."""
        turn: Floats64 = turn_of(self._values())[0]
        return turn

    def _values(self) -> dict[str, Floats]:
        import numpy as np

        return {name: np.array([getattr(self, name)], np.float64) for name in _EFFECTS}


def expression_of(values: Mapping[str, Floats]) -> Floats64:
    """Return (T, 21, 3) what sliders over time, name → (T,), add to the expression."""
    import numpy as np

    above, below, _ = _tables()
    table = _columns(values)
    change: Floats64 = np.tensordot(np.maximum(table, 0), above, 1) + np.tensordot(np.minimum(table, 0), below, 1)
    return change


def turn_of(values: Mapping[str, Floats]) -> Floats64:
    """Return (T, 3) degrees that sliders over time, name → (T,), add to pitch, yaw, roll, LivePortrait's signs."""
    turn: Floats64 = _columns(values) @ _tables()[2]
    return turn


def _columns(values: Mapping[str, Floats]) -> Floats64:
    """Return sliders over time, name → (T,), as (T, n) with a column for each row of the tables."""
    import numpy as np

    rest = np.zeros_like(next(iter(values.values())), dtype=np.float64)
    columns: Floats64 = np.stack([values.get(name, rest) for name in _EFFECTS], axis=-1)
    return columns


def sliders(options: type[ExpressionEdit]) -> tuple[dataclasses.Field[Any], ...]:
    """Return the fields of ExpressionEdit, or of a subclass, that take a number."""
    return tuple(each for each in dataclasses.fields(options) if each.metadata["low"] is not None)


def _tables() -> tuple[Floats64, Floats64, Floats64]:
    """Return the effects as arrays: expression (n, 21, 3) for a unit above 0 and below it, and degrees (n, 3)."""
    import numpy as np

    effects = list(_EFFECTS.values())
    above, below = np.zeros((2, len(effects), _KEYPOINTS, 3))
    for i, effect in enumerate(effects):
        for table, steps in ((above, effect.steps), (below, effect.steps if effect.below is None else effect.below)):
            for (keypoint, axis), step in steps.items():
                table[i, keypoint, _AXES.index(axis)] = step
    return above, below, np.array([effect.turn for effect in effects])
