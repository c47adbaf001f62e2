"""Options of the expression of a face that speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError
from .fields import option, same_option
from .sliders import ExpressionEdit

EXPRESSIONS = ("happy", "sad", "angry", "surprised", "calm")


def parse_expression(text: str) -> tuple[str, float]:
    """Return the name and the amount 0…1 of an expression such as `happy` or `happy:0.5`. Raises OptionError."""
    name, colon, given = text.partition(":")
    if name not in EXPRESSIONS:
        raise OptionError(f"--expression {text} is not known: choose one of {', '.join(EXPRESSIONS)}.")
    try:
        amount = float(given) if colon else 1.0
    except ValueError:
        amount = -1.0
    if not 0 <= amount <= 1:
        raise OptionError(f"--expression {text} has no amount from 0 to 1 after the colon: give {name}:0.5, say.")
    return name, amount


@dataclass(frozen=True)
class ExpressionOptions:
    """The expression of a face that speaks: a named one, sliders and keyframes are added together."""

    expression: str | None = option(
        None,
        "how the face looks while it speaks: happy, sad, angry, surprised or calm; happy:0.5 is half as much",
        "expression",
        unit="NAME[:0…1]",
        check=parse_expression,
    )
    expression_keys: Path | None = option(
        None, "sliders over time: a .json or .csv file, as `edit --keyframes` takes it", "expression", unit="FILE"
    )
    liveliness: float = option(
        1.0,
        "how much the brows and lids of a picture follow the voice; 0 leaves them at rest",
        "expression",
        low=0,
        high=2,
    )
    smile: float = same_option(ExpressionEdit, "smile", group="expression")
    eyebrow: float = same_option(ExpressionEdit, "eyebrow", group="expression", help="lower (−) or raise (+) the brows")
    eye_opening: float = same_option(
        ExpressionEdit, "blink", group="expression", help="lower (−) or raise (+) the upper lids, as edit's --blink"
    )
    wink: float = same_option(ExpressionEdit, "wink", group="expression")
    aaa: float = same_option(
        ExpressionEdit, "aaa", group="expression", help="open the mouth less (−) or more (+) where it is open"
    )
    eee: float = same_option(ExpressionEdit, "eee", group="expression")
    woo: float = same_option(ExpressionEdit, "woo", group="expression")

    @property
    def constant_sliders(self) -> dict[str, float]:
        """Slider of `ExpressionEdit` → value, of those that are not at rest."""
        names = {name: name for name in ("smile", "eyebrow", "wink", "aaa", "eee", "woo")} | {"blink": "eye_opening"}
        return {slider: value for slider, name in names.items() if (value := getattr(self, name))}

    @property
    def preset(self) -> tuple[str, float] | None:
        """Name and amount 0…1 of the expression; None without one."""
        return None if self.expression is None else parse_expression(self.expression)
