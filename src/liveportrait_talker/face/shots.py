"""Cuts in a video: where one shot ends and the next begins."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ..arrays import Image

Small = npt.NDArray[np.int16]

_SIDE = 24  # px of the small pictures that are compared
_CHANGE = 26.0  # mean difference of two frames on both sides of a cut, levels
_ABOVE_USUAL = 4.0  # and in units of the usual change from frame to frame
_LONGEST_FLASH = 2  # frames: what looks the same again after them is one shot


class ShotFinder:
    """Finds the cuts of a video whose frames are given one after the other."""

    def __init__(self) -> None:
        self._cuts: list[tuple[int, Small, Small]] = []  # first frame after a cut; the frames before and after it
        self._before: Small | None = None
        self._usual = 0.0
        self._frames = 0

    def is_cut(self, image: Image) -> bool:
        """Whether there is a cut before the next frame, (H, W, 3)."""
        small: Small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
        before, self._before = self._before, small
        self._frames += 1
        if before is None:
            return False
        change = _difference(small, before)
        if change > max(_CHANGE, _ABOVE_USUAL * self._usual):
            self._cuts.append((self._frames - 1, before, small))
            return True
        self._usual = 0.9 * self._usual + 0.1 * change
        return False

    def shots(self) -> npt.NDArray[np.intp]:
        """(T,) the number of each frame's shot, from 0. A flash of a frame or two makes no shots."""
        cuts: list[tuple[int, Small, Small]] = []
        for cut in self._cuts:
            frame, _, after = cut
            if cuts and frame - cuts[-1][0] <= _LONGEST_FLASH and _difference(cuts[-1][1], after) < _CHANGE:
                cuts.pop()
            else:
                cuts.append(cut)
        begins = np.zeros(self._frames, np.intp)
        begins[[frame for frame, _, _ in cuts]] = 1
        shots: npt.NDArray[np.intp] = np.cumsum(begins)
        return shots


def _difference(one: Small, other: Small) -> float:
    return float(np.abs(one - other).mean())
