"""Runs of consecutive frames, the samples of training: cut from memory-mapped arrays, a batch in one go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from .arrays import FrameArrays

Batch = dict[str, Tensor]


class Runs(Dataset[Batch]):
    """All utterances of a `FrameArrays`, cut into runs of `length` frames; no frame is left out.

    A run's coefficients reach `radius` frames beyond it on either side and are clamped at the utterance's ends, as the
    window of a single frame is (spec talker.md §8). The last run of an utterance ends with it: frames that the run
    before had have no weight, and neither has the last frame of an utterance shorter than a run, which is repeated.

    Args:
        arrays: one side of the split.
        length: frames in a run, ≥ 1; 1 is the original's scheme, a frame with its window.
        radius: of the window: rows = 2 · radius + 1.
        keypoints: which of LivePortrait's 21 key points are the target.
    """

    def __init__(self, arrays: FrameArrays, *, length: int, radius: int, keypoints: Sequence[int]) -> None:
        self._arrays, self._length, self._radius = arrays, length, radius
        self._keypoints = np.array(keypoints)
        counts = -(-arrays.frames // length)
        self._utterance = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(len(self._utterance)) - np.repeat(np.cumsum(counts) - counts, counts)
        last = np.maximum(arrays.frames - length, 0)[self._utterance]
        self._new = number * length  # the first frame that no run before it has
        self._start = np.minimum(self._new, last)

    def __len__(self) -> int:
        return len(self._start)

    def __getitem__(self, index: int) -> Batch:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A batch of B runs of T frames.

        coefficients (B, 64, T + 2 · radius), targets (B, T, K, 3), weight (B, T): 1 where a frame was seen and is new.
        """
        utterance, start = self._utterance[indices], self._start[indices]
        first, frames = self._arrays.first[utterance][:, None], self._arrays.frames[utterance][:, None]
        wide = start[:, None] + np.arange(-self._radius, self._length + self._radius)
        around = first + np.clip(wide, 0, frames - 1)
        own = start[:, None] + np.arange(self._length)
        at = first + np.minimum(own, frames - 1)
        weight = self._arrays.seen[at] & (own < frames) & (own >= self._new[indices][:, None])
        return {
            "coefficients": torch.from_numpy(self._arrays.expression[around].transpose(0, 2, 1).copy()),
            "targets": torch.from_numpy(self._arrays.keypoint_expression[at][:, :, self._keypoints]),
            "weight": torch.from_numpy(weight.astype(np.float32)),
        }


def as_they_are(batch: Any) -> Any:
    """The collation of batches that are whole already."""
    return batch


class ShuffledBatches(Sampler[list[int]]):
    """Batches of run numbers, the same global batches however many processes share them.

    Of each global batch of `size`, process `rank` of `world` takes its part. Which runs make a batch depends on the
    seed and the epoch alone. What does not fill a global batch is left out of that epoch, unless there is no other.

    Args:
        count: number of runs.
        size: of a global batch; a multiple of `world`.
        seed: of the order; None keeps the order, and every run.
    """

    def __init__(self, count: int, size: int, *, seed: int | None, rank: int = 0, world: int = 1) -> None:
        if size % world:
            raise ValueError(f"a batch of {size} cannot be shared out to {world} processes")
        self._count, self._size, self._seed, self._rank, self._world = count, size, seed, rank, world
        self._epoch = 0
        self.sampler = self  # Lightning looks there for whom to tell the epoch

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch, through `sampler`."""
        self._epoch = epoch

    def __len__(self) -> int:
        if self._seed is None:
            return -(-self._count // self._size)
        return max(self._count // self._size, 1)

    def __iter__(self) -> Iterator[list[int]]:
        order: npt.NDArray[np.int64] = np.arange(self._count)
        if self._seed is not None:
            order = np.random.default_rng((self._seed, self._epoch)).permutation(self._count)
        for k in range(len(self)):
            batch = order[k * self._size : (k + 1) * self._size]
            if self._seed is not None and len(batch) < self._size:  # the data set is smaller than a batch
                batch = np.resize(batch, self._size)
            yield [int(i) for i in batch[self._rank :: self._world]]
