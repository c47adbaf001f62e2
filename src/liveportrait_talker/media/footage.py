"""`Footage`: a still or a video as a sequence of pictures on a uniform clock."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ..arrays import Image
from .animation import read_animation
from .limits import Limits
from .source import check_input
from .still import read_still
from .timeline import Timeline
from .video import VideoFrames

if TYPE_CHECKING:
    from types import TracebackType


class _Pictures(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Image: ...


class Footage:
    """Pictures (H, W, 3) uint8 RGB, upright, read-only; frame k of a video is what it shows at k / fps seconds.

    A still is footage of length 1 with `fps` None. A video is decoded as asked for: forward is fast, backward
    correct, and memory stays bounded. Not for several threads at once. Close it, or use it in a `with`.
    """

    def __init__(self, name: str, pictures: _Pictures, *, fps: float | None, grid: Sequence[int] | None = None) -> None:
        self.name = name
        """File name, for messages."""
        self.fps = fps
        """Frames a second; None for a still."""
        self._pictures = pictures
        self._grid = range(len(pictures)) if grid is None else grid
        height, width, _ = self[0].shape
        self.size = (width, height)
        """(width, height) in pixels."""

    @classmethod
    def from_array(cls, name: str, image: Image) -> Footage:
        """A still from an array (H, W, 3) uint8."""
        return cls(name, [_read_only(image)], fps=None)

    @classmethod
    def from_frames(cls, name: str, frames: Sequence[Image], fps: float) -> Footage:
        """A video from arrays of one size, held in memory."""
        return cls(name, [_read_only(frame) for frame in frames], fps=fps)

    def __len__(self) -> int:
        return len(self._grid)

    def __getitem__(self, k: int) -> Image:
        """Frame k, 0 ≤ k < len: (H, W, 3) uint8, read-only."""
        if not 0 <= k < len(self._grid):
            raise IndexError(f"frame {k} of {len(self._grid)} in {self.name}")
        return self._pictures[self._grid[k]]

    def __repr__(self) -> str:
        rate = "still" if self.fps is None else f"{len(self)} frames, {self.fps:g} fps"
        return f"Footage({self.name}, {self.size[0]}×{self.size[1]}, {rate})"

    def __enter__(self) -> Footage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def is_still(self) -> bool:
        """One picture without a clock."""
        return self.fps is None

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel on the screen / its height: 1 but for anamorphic video, whose pixels stay as stored."""
        return self._pictures.pixel_aspect if isinstance(self._pictures, VideoFrames) else Fraction(1)

    def first(self, frames: int) -> Footage:
        """The first `frames` frames (all, if there are fewer), of the same open file."""
        if frames >= len(self):
            return self
        return Footage(self.name, self._pictures, fps=self.fps, grid=self._grid[:frames])

    def close(self) -> None:
        """Close the file behind a video; safe to call twice."""
        if isinstance(self._pictures, VideoFrames):
            self._pictures.close()


def _read_only(image: npt.NDArray[Any]) -> Image:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"a picture must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
    view: Image = image.view()
    view.setflags(write=False)
    return view


def open_footage(
    path: Path,
    *,
    max_side: int | None = 2560,
    max_pixels: int = 120_000_000,
    max_seconds: float = 3600.0,
) -> Footage:
    """The still or video in `path`, told by its content; the extension plays no part.

    An animated GIF, PNG or WebP is a video.

    A picture with a side above `max_side` is scaled down, which is logged; None keeps every size. Raises
    MediaError: not there, not readable, no picture in it, under 64 pixels, over `max_pixels`, over `max_seconds`.
    """
    check_input(path)
    limits = Limits(max_side=max_side, max_pixels=max_pixels, max_seconds=max_seconds)
    animation = read_animation(path, limits)
    if animation is not None:
        pictures, seconds = animation
        limits.check_seconds(path.name, sum(seconds))
        timeline = Timeline.of_durations(seconds)
        frames_held = [_read_only(picture) for picture in pictures]
        return Footage(path.name, frames_held, fps=timeline.fps, grid=timeline.grid())
    still = read_still(path, limits)
    if still is not None:
        return Footage.from_array(path.name, still)
    frames = VideoFrames(path, limits)
    if len(frames) == 1:  # a video of one frame
        frames.close()
        return Footage.from_array(path.name, frames[0])
    return Footage(path.name, frames, fps=frames.timeline.fps, grid=frames.timeline.grid())
