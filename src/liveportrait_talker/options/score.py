"""Options of the measurement of videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .fields import check_values, same_option
from .shared import ImageOptions, max_seconds


@dataclass(frozen=True)
class ScoreOptions:
    """Which face is measured, and limits of what is opened. Raises OptionError for a value out of range."""

    face: int | None = same_option(ImageOptions, "face")
    max_size: int = same_option(ImageOptions, "max_size", help="longest side that is measured; larger ones are reduced")
    max_megapixels: float = same_option(ImageOptions, "max_megapixels")
    max_seconds: float = max_seconds("longest video")

    def __post_init__(self) -> None:
        check_values(self)

    @property
    def max_pixels(self) -> int:
        """Width × height of the largest image that is opened."""
        return int(self.max_megapixels * 1e6)

    @property
    def renderer_files(self) -> tuple[Path, ...]:
        """None: nothing is drawn."""
        return ()
