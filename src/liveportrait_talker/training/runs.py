"""Training samples: runs of consecutive frames from memory-mapped arrays, and their batches."""

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
    """All utterances of a `FrameArrays`, cut into runs of `length` frames; every frame is used.

    A run's coefficients extend `radius` frames beyond it on either side, clamped at the utterance's ends like the
    windows of single frames (docs/method/sadtalker.md, Windows). The last run of an utterance ends with it: its overlap
    with the previous run has weight 0, as have the repeated last frames of an utterance shorter than a run.

    Args:
        arrays: one split.
        length: frames in a run, ≥ 1; 1 is the original's scheme.
        radius: of the windows of 2 · radius + 1 rows.
        keypoints: numbers of the target keypoints.
    """

    def __init__(self, arrays: FrameArrays, *, length: int, radius: int, keypoints: Sequence[int]) -> None:
        self._arrays, self._length, self._radius = arrays, length, radius
        self._keypoints = np.array(keypoints)
        counts = -(-arrays.frames // length)
        self._utterance = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(len(self._utterance)) - np.repeat(np.cumsum(counts) - counts, counts)
        last = np.maximum(arrays.frames - length, 0)[self._utterance]
        self._new = number * length  # first frame that is not in the previous run
        self._start = np.minimum(self._new, last)

    def __len__(self) -> int:
        return len(self._start)

    def __getitem__(self, index: int) -> Batch:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch of B runs of T frames.

        coefficients (B, 64, T + 2 · radius), targets (B, T, K, 3), weight (B, T): 1 for frames that are new and seen.
        """
        utterance, start = self._utterance[indices], self._start[indices]
        first, frames = self._arrays.first[utterance][:, None], self._arrays.frames[utterance][:, None]
        extended = start[:, None] + np.arange(-self._radius, self._length + self._radius)
        extended_rows = first + np.clip(extended, 0, frames - 1)
        frame = start[:, None] + np.arange(self._length)
        rows = first + np.minimum(frame, frames - 1)
        weight = self._arrays.seen[rows] & (frame < frames) & (frame >= self._new[indices][:, None])
        return {
            "coefficients": torch.from_numpy(self._arrays.expression[extended_rows].transpose(0, 2, 1).copy()),
            "targets": torch.from_numpy(self._arrays.keypoint_expression[rows][:, :, self._keypoints]),
            "weight": torch.from_numpy(weight.astype(np.float32)),
        }


def keep_batch(batch: Any) -> Any:
    """Return a batch unchanged, as the collate function of `Runs`."""
    return batch


class ShuffledBatches(Sampler[list[int]]):
    """Batches of run numbers that do not depend on the number of processes.

    Process number `rank` of `world` takes its part of each global batch. These depend on the seed and the epoch alone.
    An incomplete last batch is dropped, unless it is the only one.

    Args:
        count: number of runs.
        size: of a global batch; a multiple of `world`.
        seed: of the order; None for the given order, without dropping runs.
    """

    def __init__(self, count: int, size: int, *, seed: int | None, rank: int = 0, world: int = 1) -> None:
        if size % world:
            raise ValueError(f"a batch of {size} is not divisible by {world} processes")
        self._count, self._size, self._seed, self._rank, self._world = count, size, seed, rank, world
        self._epoch = 0
        self.sampler = self  # Lightning calls `sampler.set_epoch`

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; called by Lightning before each one."""
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
