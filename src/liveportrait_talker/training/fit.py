"""Training with Lightning: checkpoints, logs, early stopping and resumption.

<out>/checkpoints/epoch…-val_loss….ckpt, last.ckpt       the best by validation loss, and the last
<out>/logs/version_N/metrics.csv, tensorboard/version_N  one of each for every resumption
<out>/curves.png, mappingnet.safetensors                 written at the end
"""

from __future__ import annotations

import dataclasses
import logging
import math
import signal
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from ..errors import OptionError, WeightsError
from ..motion.lips import LIP_KEYPOINTS
from ..progress import OnProgress, ignore_progress
from ..system.devices import torch_device
from .arrays import FrameArrays, open_arrays
from .checkpoint import EXPORTED, RELEASED_WIDTH, best_checkpoint, export, read_checkpoint, read_split
from .curves import draw_curves
from .module import VAL_LOSS, MappingTask
from .options import TrainOptions
from .runs import Batch, Runs, ShuffledBatches, keep_batch

log = logging.getLogger(__name__)

_VAL_RUN_FRAMES = 128
_VAL_BATCH = 16


@dataclass(frozen=True)
class TrainReport:
    """Result of a training run."""

    out: Path
    epochs: int
    steps: int
    best_val_loss: float
    best: Path | None
    exported: Path | None
    curves: Path | None
    frames_per_second: float
    """Training speed of this run."""
    elapsed_seconds: float

    def __str__(self) -> str:
        if self.best is None:
            return f"test run finished in {self.elapsed_seconds:.1f} s; no files were written."
        written = ", ".join(str(path) for path in (self.best, self.exported, self.curves) if path is not None)
        return (
            f"{self.out}: {self.epochs} epochs, {self.steps} steps, best validation loss {self.best_val_loss:.6f}, "
            f"{self.frames_per_second:,.0f} frames/s, {self.elapsed_seconds:.1f} s. Written: {written}"
        )


def train(
    dataset: Path, out: Path, options: TrainOptions | None = None, *, on_progress: OnProgress | None = None
) -> TrainReport | None:
    """Train a MappingNet on the records of `dataset`; resume the run in `out`, if there is one.

    Returns None in all processes but the first.

    Raises:
        MediaError: the data set has no records, or records of different extractors.
        OptionError: the run in `out` has another problem or split.
    """
    options, on_progress = options or TrainOptions(), on_progress or ignore_progress
    started = time.monotonic()
    data = RunsData(dataset, options, on_progress)
    checkpoint = None if options.fast_dev_run else _find_checkpoint(out, options)
    lightning.seed_everything(options.seed, workers=True, verbose=False)
    task = MappingTask(options.problem)
    progress = _Progress(on_progress, dataset.name, options)
    with _SilencedLightning():
        trainer, best = _make_trainer(out, options, progress)
        handler = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True)
        except SystemExit as end:  # raised by Lightning on Ctrl-C
            if trainer.interrupted:
                raise KeyboardInterrupt from end
            raise
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, handler)
    if not trainer.is_global_zero:
        return None
    exported = curves = None
    if not options.fast_dev_run:
        if options.problem.keypoint_numbers == LIP_KEYPOINTS and options.problem.width == RELEASED_WIDTH:
            exported = export(out, out / EXPORTED, dataset=dataset.name, overwrite=True)
        curves = draw_curves(out)
    loss = best.best_model_score
    return TrainReport(
        out=out,
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        best_val_loss=math.nan if loss is None else float(loss),
        best=None if options.fast_dev_run else best_checkpoint(out),
        exported=exported,
        curves=curves,
        frames_per_second=progress.frames / max(progress.seconds, 1e-9),
        elapsed_seconds=time.monotonic() - started,
    )


def _find_checkpoint(out: Path, options: TrainOptions) -> Path | None:
    """Return the newest readable checkpoint of a run in `out`, None where there is none.

    Raises:
        OptionError: the run has another problem or split.
    """
    folder = out / "checkpoints"
    epochs = sorted(folder.glob("epoch*.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in [folder / "last.ckpt", *epochs]:
        if not path.is_file():
            continue
        try:
            problem, _, content = read_checkpoint(path)
        except WeightsError as error:  # incomplete, if the process was killed while writing it
            log.warning("%s: the previous one is used.", str(error).rstrip("."))
            continue
        if problem != options.problem:
            raise OptionError(f"{out} holds a run of another problem ({problem}): choose another --out.")
        if (split := read_split(content)) != options.split:
            raise OptionError(f"{out} holds a run with other held-out speakers ({split}): choose another --out.")
        log.info("resuming the run in %s.", out)
        return path
    return None


def _make_trainer(out: Path, options: TrainOptions, progress: Callback) -> tuple[lightning.Trainer, ModelCheckpoint]:
    device = torch_device(options.device)
    best = ModelCheckpoint(
        dirpath=out / "checkpoints",
        filename="epoch{epoch:05d}-val_loss{" + VAL_LOSS + ":.6f}",
        auto_insert_metric_name=False,
        monitor=VAL_LOSS,
        save_last=True,
        enable_version_counter=False,
    )
    stopping = EarlyStopping(VAL_LOSS, patience=options.patience, strict=False)
    distributed = options.devices * options.nodes > 1
    trainer = lightning.Trainer(
        accelerator={"cuda": "gpu"}.get(device.type, device.type),
        devices=options.devices,
        num_nodes=options.nodes,
        strategy="ddp" if distributed else "auto",
        precision=options.precision,  # type: ignore[arg-type]
        max_epochs=options.max_epochs,
        # The last step ends its epoch, which is then validated.
        limit_train_batches=1.0 if options.max_steps is None else options.max_steps,
        gradient_clip_val=options.gradient_clip or None,
        fast_dev_run=options.fast_dev_run,
        enable_checkpointing=not options.fast_dev_run,
        use_distributed_sampler=False,  # `ShuffledBatches` distributes batches itself
        logger=False if options.fast_dev_run else [CSVLogger(out, "logs"), TensorBoardLogger(out, "tensorboard")],
        callbacks=[progress] if options.fast_dev_run else [best, stopping, progress],
        log_every_n_steps=1 if (options.max_steps or math.inf) <= 1000 else 50,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
    )
    return trainer, best


class RunsData(lightning.LightningDataModule):
    """The runs of a data set: shuffled for training, in order for validation."""

    def __init__(self, dataset: Path, options: TrainOptions, on_progress: OnProgress) -> None:
        super().__init__()
        self._options = options
        self._arrays: dict[str, FrameArrays] = open_arrays(dataset, options.split, on_progress=on_progress)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return batches of shuffled runs of the training speakers."""
        runs = self._make_runs("train", self._options.run_frames)
        return self._make_loader(runs, self._options.batch_size, self._options.seed)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return batches of all frames of the held-out speakers, in order."""
        world = self._options.devices * self._options.nodes
        return self._make_loader(self._make_runs("val", _VAL_RUN_FRAMES), _VAL_BATCH * world, None)

    def _make_runs(self, side: str, length: int) -> Runs:
        problem = self._options.problem
        return Runs(self._arrays[side], length=length, radius=problem.radius, keypoints=problem.keypoint_numbers)

    def _make_loader(self, runs: Runs, size: int, seed: int | None) -> DataLoader[Batch]:
        trainer = self.trainer
        assert trainer is not None
        batches = ShuffledBatches(len(runs), size, seed=seed, rank=trainer.global_rank, world=trainer.world_size)
        return DataLoader(
            runs,
            batch_sampler=batches,
            collate_fn=keep_batch,
            num_workers=self._options.workers,
            persistent_workers=self._options.workers > 0,
        )


class _Progress(Callback):
    """Reports progress, measures the speed and adds the data set and split to checkpoints."""

    def __init__(self, on_progress: OnProgress, name: str, options: TrainOptions) -> None:
        self._on_progress, self._name, self._options = on_progress, name, options
        self.frames = 0
        self.seconds = 0.0
        self._batch_start = 0.0

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Batch, index: int) -> None:
        self._batch_start = time.monotonic()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Batch, index: int) -> None:
        self.seconds += time.monotonic() - self._batch_start
        self.frames += batch["weight"].numel() * trainer.world_size
        total = trainer.num_training_batches
        self._on_progress(f"epoch {trainer.current_epoch}", index + 1, int(total) if math.isfinite(total) else 0)

    def on_save_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["dataset"] = self._name
        checkpoint["split"] = dataclasses.asdict(self._options.split)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        if self._options.max_steps is not None and trainer.global_step >= self._options.max_steps:
            trainer.should_stop = True


class _SilencedLightning(warnings.catch_warnings):
    """Suppresses Lightning's warnings and hints."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
            logging.getLogger(name).setLevel(logging.ERROR)
