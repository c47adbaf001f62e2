"""Options of the training commands, with their ranges. Imports no large package, for a fast `--help`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import OptionError
from ..options.fields import check_values, option
from ..system.devices import DEVICES

KEYPOINTS = 21
"""Number of LivePortrait's keypoints."""
PRECISIONS = ("32", "bf16-mixed", "16-mixed")
_MANY = 10**9


def limit() -> Any:
    """Return the field for the number of source videos."""
    return option(None, "only the first N source videos, sorted by name", "run", low=1, high=_MANY)


def retry_failed() -> Any:
    """Return the field for retrying permanent failures."""
    return option(False, "also retry permanent failures", "run")


def val_share() -> Any:
    """Return the field for the share of validation speakers."""
    return option(0.05, "share of the speakers used for validation", "speakers", low=0, high=0.9)


@dataclass(frozen=True)
class ExtractOptions:
    """Options of an extraction. Raises OptionError for values out of range."""

    limit: int | None = limit()
    retry_failed: bool = retry_failed()
    redo: bool = option(False, "replace records of other extractors", "run")
    device: str = option("auto", "device of the networks", "run", choices=DEVICES)
    batch_size: int = option(16, "faces per batch", "run", low=1, high=512)
    decoders: int = option(2, "clips that are decoded ahead of the networks", "run", low=0, high=64)

    def __post_init__(self) -> None:
        check_values(self)


@dataclass(frozen=True)
class Split:
    """The split of speakers into training and validation. Raises OptionError for values out of range."""

    seed: int = option(
        0, "seed of the split into train and val speakers", "speakers", low=0, high=2**32, flag="--split-seed"
    )
    val_share: float = val_share()

    def __post_init__(self) -> None:
        check_values(self)
        if self.val_share == 0:
            raise OptionError("--val-share 0 is out of range: validation needs speakers.")


@dataclass(frozen=True)
class Problem:
    """The learning problem. The defaults are the original's (docs/method/training.md, Problem)."""

    keypoints: str = option("lips", "lips (for generate), all, or numbers 0…20 separated by commas", "learning problem")
    radius: int = option(14, "frames before and after in a window", "learning problem", low=12, high=49)
    learning_rate: float = option(2e-4, "learning rate of Adam", "learning problem", low=1e-8, high=1)
    velocity_weight: float = option(
        0.0, "weight of the loss of frame-to-frame differences", "learning problem", low=0, high=1000
    )
    width: int = option(1024, "channels of the network; generate needs 1024", "learning problem", low=8, high=8192)

    def __post_init__(self) -> None:
        check_values(self)
        if self.keypoints != "lips":
            _ = self.keypoint_numbers

    @property
    def rows(self) -> int:
        """Length of a window."""
        return 2 * self.radius + 1

    @property
    def keypoint_numbers(self) -> tuple[int, ...]:
        """Numbers of the keypoints that are learned."""
        from ..motion.lips import LIP_KEYPOINTS  # imports NumPy, which --help does not need

        sets = {"lips": LIP_KEYPOINTS, "all": tuple(range(KEYPOINTS))}
        if self.keypoints in sets:
            return sets[self.keypoints]
        try:
            numbers = tuple(int(text) for text in self.keypoints.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 <= k < KEYPOINTS for k in numbers) or len(set(numbers)) < len(numbers):
            raise OptionError(
                f"--keypoints {self.keypoints} is not known: give {', '.join(sets)}, or different numbers "
                f"0 … {KEYPOINTS - 1} separated by commas."
            )
        return numbers


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training run. Raises OptionError for values out of range."""

    problem: Problem = field(default_factory=Problem)
    split: Split = field(default_factory=Split)
    # Neighbouring frames share most of their windows: long runs need up to 11 times less time per frame.
    run_frames: int = option(32, "consecutive frames in a sample; 1 is the original's scheme", "run", low=1, high=1024)
    batch_size: int = option(16, "samples in a batch of all processes together", "run", low=1, high=65536)
    max_epochs: int = option(1000, "maximum number of epochs", "run", low=1, high=10**6)
    max_steps: int | None = option(
        None, "end after the epoch that reaches this number of optimiser steps", "run", low=1, high=_MANY
    )
    patience: int = option(
        10, "end after this number of epochs without a better validation loss", "run", low=1, high=10**6
    )
    gradient_clip: float = option(0.0, "maximum norm of the gradient; 0 for none", "run", low=0, high=10**6)
    precision: str = option("32", "floating-point format", "run", choices=PRECISIONS)
    device: str = option("auto", "kind of device", "run", choices=DEVICES)
    devices: int = option(1, "GPUs (or processes) per machine; more than one use DDP", "run", low=1, high=1024)
    nodes: int = option(1, "number of machines", "run", low=1, high=4096)
    workers: int = option(
        0, "processes that read batches; not needed for a data set on a local disk", "run", low=0, high=256
    )
    seed: int = option(0, "seed of the initial weights and the order of the samples", "run", low=0, high=2**32 - 1)
    fast_dev_run: bool = option(False, "test with one training and one validation batch; write nothing", "run")

    def __post_init__(self) -> None:
        check_values(self)
        if self.problem.velocity_weight and self.run_frames < 2:
            raise OptionError("--velocity-weight needs runs of at least two frames: increase --run-frames.")
        if self.batch_size % (self.devices * self.nodes):
            raise OptionError(
                f"--batch-size {self.batch_size} is not divisible by the {self.devices * self.nodes} processes."
            )
