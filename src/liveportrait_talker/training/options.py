"""Every choice of the training commands, with its range; nothing heavy is loaded for `--help`."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import OptionError

KEYPOINTS = 21
"""Of LivePortrait's face."""
PRECISIONS = ("32", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class ExtractOptions:
    """How a data set is extracted. Raises OptionError for values that make no sense."""

    device: str = "auto"
    """Where the networks run."""
    batch_size: int = 16
    """Faces that go through a network at once, 1…512."""
    decoders: int = 2
    """Clips that are decoded ahead, 0…64."""
    limit: int | None = None
    """Only the first so many source videos."""
    redo: bool = False
    """Make records of other extractors anew."""
    retry_failed: bool = False
    """Try again what failed for good, too."""

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--batch-size", self.batch_size, 1, 512),
            ("--decoders", self.decoders, 0, 64),
            ("--limit", 1 if self.limit is None else self.limit, 1, 10**9),
        ):
            if not low <= value <= high:
                raise OptionError(f"{name} {value} is out of range: give {low} … {high}.")


@dataclass(frozen=True)
class Split:
    """How speakers are shared out between training and validation; no speaker is on both sides."""

    seed: int = 0
    """0…2³²."""
    val_share: float = 0.05
    """Share of the speakers, 0…0.9."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= 2**32:
            raise OptionError(f"--split-seed {self.seed} is out of range: give 0 … 2³².")
        if not 0 < self.val_share <= 0.9:
            raise OptionError(f"--val-share {self.val_share:g} is out of range: give more than 0, 0.9 at most.")


@dataclass(frozen=True)
class Problem:
    """What is learned, and how. The defaults are the original's (spec talker.md §13.5)."""

    keypoints: str = "lips"
    """`lips` (the six that `generate` wants), `all`, or numbers 0…20 with commas between."""
    radius: int = 14
    """Frames before and after: windows of 2 · radius + 1 rows, 25…99."""
    learning_rate: float = 2e-4
    velocity_weight: float = 0.0
    """Weight of the L1 loss on the change from frame to frame; it needs runs of two frames at least."""
    width: int = 1024
    """Channels of the network; `generate` wants 1024."""

    def __post_init__(self) -> None:
        if self.keypoints != "lips":
            _ = self.keypoint_numbers
        for name, value, low, high in (
            ("--radius", self.radius, 12, 49),
            ("--learning-rate", self.learning_rate, 1e-8, 1.0),
            ("--velocity-weight", self.velocity_weight, 0.0, 1000.0),
            ("--width", self.width, 8, 8192),
        ):
            if not low <= value <= high:
                raise OptionError(f"{name} {value:g} is out of range: give {low:g} … {high:g}.")

    @property
    def rows(self) -> int:
        """Length of a window."""
        return 2 * self.radius + 1

    @property
    def keypoint_numbers(self) -> tuple[int, ...]:
        """Which of LivePortrait's 21 key points are learned."""
        from ..motion.lips import LIP_KEYPOINTS  # brings NumPy along, which --help does without

        named = {"lips": LIP_KEYPOINTS, "all": tuple(range(KEYPOINTS))}
        if self.keypoints in named:
            return named[self.keypoints]
        try:
            numbers = tuple(int(text) for text in self.keypoints.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 <= k < KEYPOINTS for k in numbers) or len(set(numbers)) < len(numbers):
            raise OptionError(
                f"--keypoints {self.keypoints} is not known: give {', '.join(named)}, or different numbers "
                f"0 … {KEYPOINTS - 1} with commas between."
            )
        return numbers


@dataclass(frozen=True)
class TrainOptions:
    """How a MappingNet is trained. Raises OptionError for values that make no sense."""

    problem: Problem = field(default_factory=Problem)
    split: Split = field(default_factory=Split)
    run_frames: int = 32
    """Consecutive frames in a sample, 1…1024. Neighbours share their windows: long runs are up to 11 times as fast a
    frame; 1 is the original's scheme."""
    batch_size: int = 16
    """Runs in a batch, of all processes together."""
    max_epochs: int = 1000
    max_steps: int | None = None
    """End with the epoch in which there are so many optimiser steps; None for no limit."""
    patience: int = 10
    """Epochs without a better validation loss before training stops."""
    gradient_clip: float = 0.0
    """Largest norm of the gradient; 0 for none."""
    precision: str = "32"
    device: str = "auto"
    devices: int = 1
    """Processes (or GPUs) on each machine; more than one are DDP."""
    nodes: int = 1
    """Machines."""
    workers: int = 0
    """Processes that read batches; a memory-mapped data set on a local disk needs none."""
    seed: int = 0
    fast_dev_run: bool = False
    """One batch of each kind, nothing written: does it run at all?"""

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("--run-frames", self.run_frames, 1, 1024),
            ("--batch-size", self.batch_size, 1, 65536),
            ("--max-epochs", self.max_epochs, 1, 10**6),
            ("--max-steps", 1 if self.max_steps is None else self.max_steps, 1, 10**9),
            ("--patience", self.patience, 1, 10**6),
            ("--gradient-clip", self.gradient_clip, 0, 10**6),
            ("--devices", self.devices, 1, 1024),
            ("--nodes", self.nodes, 1, 4096),
            ("--workers", self.workers, 0, 256),
            ("--seed", self.seed, 0, 2**32 - 1),
        ):
            if not low <= value <= high:
                raise OptionError(f"{name} {value:g} is out of range: give {low} … {high}.")
        if self.precision not in PRECISIONS:
            raise OptionError(f"--precision {self.precision} is not known: choose one of {', '.join(PRECISIONS)}.")
        if self.problem.velocity_weight and self.run_frames < 2:
            raise OptionError("--velocity-weight needs runs of two frames at least: raise --run-frames.")
        if self.batch_size % (self.devices * self.nodes):
            raise OptionError(
                f"--batch-size {self.batch_size} cannot be shared out to {self.devices * self.nodes} processes evenly."
            )
