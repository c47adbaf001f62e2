"""What is drawn behind the person of a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError
from .fields import shown

KEEP, TRANSPARENT = "keep", "transparent"
_COLOURS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "green": (0, 177, 64),  # of a green screen
    "grey": (128, 128, 128),
    "red": (255, 0, 0),
    "white": (255, 255, 255),
}


@dataclass(frozen=True)
class Background:
    """A value of --background."""

    colour: tuple[int, int, int] | None = None
    """RGB, 0…255."""
    file: Path | None = None
    """A picture, cut to the size of the output."""

    @property
    def is_transparent(self) -> bool:
        """Whether there is none."""
        return self.colour is None and self.file is None


def refuse_background(name: str) -> OptionError:
    """Return the error for another background of a video of this name."""
    return OptionError(f"--background is for a picture: {name} is a video, whose background moves with its camera.")


def parse_background(text: str) -> Background | None:
    """Return what replaces the background; None: it is kept. Raises OptionError for what is no colour and no file."""
    if text.lower() == KEEP:
        return None
    if text.lower() == TRANSPARENT:
        return Background()
    if text.lower() in _COLOURS:
        return Background(colour=_COLOURS[text.lower()])
    if text.startswith("#"):
        if not re.fullmatch("#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})", text):
            raise OptionError(f"--background {shown(text)} is not a colour: write it as #rrggbb, such as #00b140.")
        digits = text[1:] if len(text) == 7 else "".join(2 * digit for digit in text[1:])
        red, green, blue = (int(digits[k : k + 2], 16) for k in (0, 2, 4))
        return Background(colour=(red, green, blue))
    if not Path(text).suffix:
        raise OptionError(
            f"--background {shown(text)} is not known: give keep, transparent, a colour (#rrggbb, "
            f"{', '.join(_COLOURS)}) or a picture's file."
        )
    return Background(file=Path(text))
