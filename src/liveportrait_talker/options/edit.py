"""Options of an edited face: the expression editor's sliders, and how the image is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError
from .applicability import check_engines
from .fields import changed_flags, check_values, option
from .shared import EncoderOptions, ImageOptions, RendererOptions, fps, max_seconds
from .sliders import ExpressionEdit, sliders

COPYING = ("sample_ratio", "sample_parts")
"""Options that need a sample."""


@dataclass(frozen=True)
class EditOptions(ExpressionEdit):
    """One expression: the sliders, and an image whose expression is copied.

    Source of the sliders: docs/method/liveportrait.md, Expression editor. Raises OptionError for a value out of range.
    """

    sample: Path | None = option(None, "picture whose face is copied, as far as --sample-ratio says", "expression")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample is None and (unused := changed_flags(self, COPYING)):
            raise OptionError(f"{unused[0]} is about a face that is copied: add --sample PICTURE.")

    @property
    def at_rest(self) -> bool:
        """Whether the face stays as it is."""
        return self.sample is None and all(getattr(self, each.name) == each.default for each in sliders(type(self)))


@dataclass(frozen=True)
class EditSetup(EncoderOptions, ImageOptions, RendererOptions):
    """How a portrait is prepared, drawn and written. Raises OptionError for a value that makes no sense."""

    fps: float = fps(25.0, "frame rate of a clip made by --keyframes")
    max_seconds: float = max_seconds("longest clip that --keyframes may make")

    def __post_init__(self) -> None:
        check_values(self)
        check_engines(self)
