"""`Footage`: a still image or a video, as a sequence of frames at a constant rate."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..arrays import Floats64, Image
from .animation import read_animation
from .limits import Limits
from .media_file import check_input
from .still import read_still
from .timeline import Timeline
from .video import VideoFrames

if TYPE_CHECKING:
    from types import TracebackType


class _Frames(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Image: ...


class Footage:
    """Upright, read-only frames (H, W, 3) uint8 RGB; frame k of a video is the one shown at k / fps seconds.

    A still image has length 1 and `fps` None. Video frames are decoded on access, fastest in ascending order; memory
    is bounded. Not thread-safe. Close it, or use it as a context manager.

    Args:
        name: file name, for messages.
        frames: the stored frames.
        fps: frames per second; None for a still image.
        indices: the stored frame for each frame of the footage; None: all, in order.
    """

    def __init__(self, name: str, frames: _Frames, *, fps: float | None, indices: Sequence[int] | None = None) -> None:
        self.name = name
        self.fps = fps
        self._frames = frames
        self._indices = range(len(frames)) if indices is None else indices
        height, width, _ = self[0].shape
        self.size = (width, height)
        """(width, height) in pixels."""
        self.seconds: Floats64 = np.arange(len(self)) / (fps or 1.0)
        """(T,) when each frame is shown."""
        self.opacity: Image | None = None
        """(H, W) 0…255 of a still image whose file has transparent parts, which the frame shows in grey."""

    @classmethod
    def from_array(cls, name: str, image: Image, opacity: Image | None = None) -> Footage:
        """Return a still image from an array (H, W, 3) uint8, and its opacity (H, W) uint8 where it has one."""
        still = cls(name, [_read_only(image)], fps=None)
        still.opacity = opacity
        return still

    @classmethod
    def from_frames(cls, name: str, frames: Sequence[Image], fps: float) -> Footage:
        """Return a video from arrays (H, W, 3) uint8 of equal size."""
        return cls(name, [_read_only(frame) for frame in frames], fps=fps)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, k: int) -> Image:
        """Return frame k, 0 ≤ k < len: (H, W, 3) uint8, read-only."""
        if not 0 <= k < len(self):
            raise IndexError(f"frame {k} of {len(self)} in {self.name}")
        return self._frames[self._indices[k]]

    def __repr__(self) -> str:
        rate = "still" if self.fps is None else f"{len(self)} frames, {self.fps:g} fps"
        return f"Footage({self.name}, {self.size[0]}×{self.size[1]}, {rate})"

    def __enter__(self) -> Footage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def is_still(self) -> bool:
        """Whether this is a still image."""
        return self.fps is None

    @property
    def pixel_aspect(self) -> Fraction:
        """Displayed width / height of a pixel: 1, except for anamorphic video, which is not resampled."""
        return self._frames.pixel_aspect if isinstance(self._frames, VideoFrames) else Fraction(1)

    def first(self, frames: int) -> Footage:
        """Return the first `frames` frames, or all; the open file is shared."""
        if frames >= len(self):
            return self
        return Footage(self.name, self._frames, fps=self.fps, indices=self._indices[:frames])

    def as_stored(self) -> Footage:
        """Return the frames of a video as the file stores them, each once, at its own time; the open file is shared."""
        if not isinstance(self._frames, VideoFrames):
            return self
        stored = Footage(self.name, self._frames, fps=self.fps)
        stored.seconds = self._frames.timeline.seconds
        return stored

    def close(self) -> None:
        """Close the file of a video; can be called twice."""
        if isinstance(self._frames, VideoFrames):
            self._frames.close()


def _read_only(image: Image) -> Image:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image must be (H, W, 3) uint8, got {image.shape} {image.dtype}")
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
    """Open an image or video file. The content decides its type, not the extension; animated images are videos.

    Args:
        path: the file.
        max_side: longest side in pixels; larger images are scaled down, which is logged. None: no limit.
        max_pixels: limit of width × height.
        max_seconds: limit of the duration.

    Raises:
        MediaError: the file is missing, unreadable, has no image or video, or exceeds a limit.
    """
    check_input(path)
    limits = Limits(max_side=max_side, max_pixels=max_pixels, max_seconds=max_seconds)
    animation = read_animation(path, limits)
    if animation is not None:
        images, durations = animation
        limits.check_seconds(path.name, sum(durations))
        timeline = Timeline.from_durations(durations)
        images = [_read_only(image) for image in images]
        return Footage(path.name, images, fps=timeline.fps, indices=timeline.frame_indices())
    still = read_still(path, limits)
    if still is not None:
        return Footage.from_array(path.name, *still)
    frames = VideoFrames(path, limits)
    if len(frames) == 1:
        only = frames[0]
        frames.close()
        return Footage.from_array(path.name, only)
    return Footage(path.name, frames, fps=frames.timeline.fps, indices=frames.timeline.frame_indices())
