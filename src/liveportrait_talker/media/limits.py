"""Limits of the size and length of images and videos."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..errors import MediaError

log = logging.getLogger(__name__)

MIN_SIDE = 64
"""Smallest width and height in pixels; a face alone needs about as many."""
MAX_VIDEO_PIXELS = 36_000_000
"""Largest width × height of a video frame, that of H.264 at its highest level: a decoder keeps many frames."""
PIXELS_FOR_THREADS = 9_000_000
"""Width × height of a 4K frame: larger ones are decoded by one thread, as each thread buffers frames."""
_MAX_ASPECT = 20  # of a strip that would leave too few pixels when it is scaled down


def largest_later_frame(width: int, height: int) -> int:
    """Return the largest width × height that a frame of a video may have whose first frame has this size."""
    return min(MAX_VIDEO_PIXELS, max(width * height, PIXELS_FOR_THREADS))


@dataclass(frozen=True)
class Limits:
    """Limits for `open_footage`."""

    max_side: int | None
    """Longest side in pixels; larger images are scaled down. None: no limit."""
    max_pixels: int
    """Largest width × height to decode."""
    max_seconds: float
    """Longest video."""

    def __post_init__(self) -> None:
        if self.max_side is not None and self.max_side < MIN_SIDE:
            raise ValueError(f"max_side must be at least {MIN_SIDE}, got {self.max_side}")

    def check_size(self, name: str, width: int, height: int) -> None:
        """Raise MediaError if an image is too small for a face, or too large to decode."""
        if width * height > self.max_pixels:
            raise too_many_pixels_error(name, f"{width}×{height}", self.max_pixels)
        if min(width, height) < MIN_SIDE:
            raise MediaError(
                f"{name} is too small ({width}×{height}); give a picture of at least {MIN_SIDE}×{MIN_SIDE} pixels"
            )
        if max(width, height) > _MAX_ASPECT * min(width, height):
            raise MediaError(f"{name} is too narrow ({width}×{height}); cut out the part with the face")

    def check_seconds(self, name: str, seconds: float) -> None:
        """Raise MediaError if a video is too long."""
        if seconds > self.max_seconds:
            raise MediaError(
                f"{name} is {seconds:.0f} seconds long, the limit is {self.max_seconds:g}; "
                "cut it, or raise the limit with --max-seconds"
            )

    def fit(self, name: str, width: int, height: int) -> tuple[int, int]:
        """Return (width, height) scaled down to `max_side`, keeping the aspect ratio; a reduction is logged."""
        if self.max_side is None or max(width, height) <= self.max_side:
            return width, height
        scale = self.max_side / max(width, height)
        fitted = max(1, round(width * scale)), max(1, round(height * scale))
        log.warning("%s is scaled down from %d×%d to %d×%d; --max-size keeps more pixels", name, width, height, *fitted)
        return fitted


def too_many_pixels_error(name: str, size: str, max_pixels: int) -> MediaError:
    """Return the error for an image with too many pixels."""
    return MediaError(
        f"{name} has too many pixels ({size}, the limit is {max_pixels / 1e6:.3g} million); scale it down first"
    )
