"""Options of the training commands, with their ranges. Imports no large package, for a fast `--help`."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import OptionError

KEYPOINTS = 21
"""Number of LivePortrait's keypoints."""
PRECISIONS = ("32", "bf16-mixed", "16-mixed")


@dataclass(frozen=True)
class ExtractOptions:
    """Options of an extraction. Raises OptionError for values out of range."""

    device: str = "auto"
    """Device of the networks."""
    batch_size: int = 16
    """Faces per batch, 1…512."""
    decoders: int = 2
    """Clips that are decoded ahead, 0…64."""
    limit: int | None = None
    """Take the first `limit` source videos only."""
    redo: bool = False
    """Replace records of other extractors."""
    retry_failed: bool = False
    """Also retry permanent failures."""

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
    """The split of speakers into training and validation."""

    seed: int = 0
    """0…2³²."""
    val_share: float = 0.05
    """Share of the validation speakers, 0…0.9."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= 2**32:
            raise OptionError(f"--split-seed {self.seed} is out of range: give 0 … 2³².")
        if not 0 < self.val_share <= 0.9:
            raise OptionError(f"--val-share {self.val_share:g} is out of range: give more than 0, at most 0.9.")


@dataclass(frozen=True)
class Problem:
    """The learning problem. The defaults are the original's (docs/method/training.md, Problem)."""

    keypoints: str = "lips"
    """`lips` (the six that `generate` uses), `all`, or numbers 0…20 separated by commas."""
    radius: int = 14
    """Frames before and after: windows of 2 · radius + 1 rows, 25…99."""
    learning_rate: float = 2e-4
    velocity_weight: float = 0.0
    """Weight of the L1 loss of differences between consecutive frames; needs runs of at least two frames."""
    width: int = 1024
    """Channels of the network; `generate` needs 1024."""

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
    run_frames: int = 32
    """Consecutive frames in a sample, 1…1024. Neighbouring frames share most of their windows, so that long runs need
    up to 11 times less time per frame; 1 is the original's scheme."""
    batch_size: int = 16
    """Runs in a batch of all processes together."""
    max_epochs: int = 1000
    max_steps: int | None = None
    """End after the epoch that reaches this number of optimiser steps; None for no limit."""
    patience: int = 10
    """Epochs without a better validation loss before training stops."""
    gradient_clip: float = 0.0
    """Maximum norm of the gradient; 0 for none."""
    precision: str = "32"
    device: str = "auto"
    devices: int = 1
    """GPUs (or processes) per machine; more than one use DDP."""
    nodes: int = 1
    """Number of machines."""
    workers: int = 0
    """Processes that read batches; not needed for a data set on a local disk."""
    seed: int = 0
    fast_dev_run: bool = False
    """Run one training and one validation batch as a test, without writing files."""

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
            raise OptionError("--velocity-weight needs runs of at least two frames: increase --run-frames.")
        if self.batch_size % (self.devices * self.nodes):
            raise OptionError(
                f"--batch-size {self.batch_size} is not divisible by the {self.devices * self.nodes} processes."
            )
