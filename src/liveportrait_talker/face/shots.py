"""Detect cuts in a video."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ..arrays import Image, Indices

Small = npt.NDArray[np.int16]

_SIDE = 24  # px of the thumbnails that are compared
_CHANGE = 26.0  # smallest mean difference of the frames at a cut, grey levels
_RELATIVE_CHANGE = 4.0  # the same, relative to the mean difference of consecutive frames
_LONGEST_FLASH = 2  # frames; the same image before and after belongs to one shot


class ShotFinder:
    """Finds the cuts of a video, frame by frame."""

    def __init__(self) -> None:
        self._cuts: list[tuple[int, Small, Small]] = []  # (index of the first frame, frame before, frame after)
        self._before: Small | None = None
        self._mean_change = 0.0
        self._frames = 0

    def add_frame(self, image: Image) -> bool:
        """Add the next frame (H, W, 3); return whether there is a cut before it."""
        small: Small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
        before, self._before = self._before, small
        self._frames += 1
        if before is None:
            return False
        change = _difference(small, before)
        if change > max(_CHANGE, _RELATIVE_CHANGE * self._mean_change):
            self._cuts.append((self._frames - 1, before, small))
            return True
        self._mean_change = 0.9 * self._mean_change + 0.1 * change
        return False

    def shots(self) -> Indices:
        """Return the shot number of each frame, (T,), from 0. Flashes of one or two frames are ignored."""
        cuts: list[tuple[int, Small, Small]] = []
        for cut in self._cuts:
            frame, _, after = cut
            if cuts and frame - cuts[-1][0] <= _LONGEST_FLASH and _difference(cuts[-1][1], after) < _CHANGE:
                cuts.pop()
            else:
                cuts.append(cut)
        starts = np.zeros(self._frames, np.intp)
        starts[[frame for frame, _, _ in cuts]] = 1
        shots: Indices = np.cumsum(starts)
        return shots


def _difference(one: Small, other: Small) -> float:
    return float(np.abs(one - other).mean())
