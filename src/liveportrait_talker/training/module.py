"""The MappingNet, its loss and its optimiser as a LightningModule (docs/method/training.md, Problem)."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor

from ..driving.sadtalker.nets import MappingNet
from .options import Problem
from .runs import Batch

VAL_LOSS = "val/basic_loss"
"""Metric of early stopping and of the best checkpoint."""


class MappingTask(lightning.LightningModule):
    """L1 between the MappingNet's and the motion extractor's δ of the keypoints.

    Logs, by the original's names, `{train,val}/lip_exp_l1` and `/basic_loss` (the loss that is minimised).
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem
        self.mappingnet = MappingNet(width=problem.width, keypoints=len(problem.keypoint_numbers))

    def forward(self, coefficients: Tensor) -> Tensor:
        """Return δ (B, T, K, 3) for runs of coefficients (B, 64, T + 2 · radius)."""
        offsets = self.mappingnet.along(coefficients, self.problem.rows)
        return offsets.view(*offsets.shape[:2], -1, 3)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of a batch of runs."""
        return self._losses(batch, "train")

    def validation_step(self, batch: Batch, index: int) -> None:
        """Log the losses of a batch of held-out runs (docs/earlier_systems.md, defect 63)."""
        self._losses(batch, "val")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam without weight decay or schedule."""
        return torch.optim.Adam(self.mappingnet.parameters(), lr=self.problem.learning_rate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the problem to a checkpoint."""
        checkpoint["problem"] = dict(self.problem.__dict__)

    def _losses(self, batch: Batch, side: str) -> Tensor:
        predicted = self(batch["coefficients"])
        targets, weight = batch["targets"], batch["weight"]
        # In training the divisor is the number of all frames, so that the mean of several processes' losses is the loss
        # of the whole batch.
        count = weight.sum() if side == "val" else torch.tensor(weight.numel())
        l1 = keypoint_l1(predicted, targets, weight, count)
        loss = l1
        if self.problem.velocity_weight:
            loss = l1 + self.problem.velocity_weight * velocity_l1(predicted, targets, weight, count)
        frames = max(int(count), 1)
        for name, value in (("lip_exp_l1", l1), ("basic_loss", loss)):
            self.log(f"{side}/{name}", value, batch_size=frames, on_epoch=True, on_step=False, sync_dist=True)
        if side == "train":
            self.log("train/step_loss", loss, on_step=True, on_epoch=False, batch_size=frames, sync_dist=True)
        return loss


def keypoint_l1(predicted: Tensor, targets: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    """Return the sum of the frames' mean |predicted − targets| (B, T, K, 3) times `weight` (B, T), over `count`."""
    each = (predicted - targets).abs().mean(dim=(2, 3))
    return (each * weight).sum() / count.clamp(min=1)


def velocity_l1(predicted: Tensor, targets: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    """Return `keypoint_l1` of the differences between consecutive frames."""
    pairs = weight[:, 1:] * weight[:, :-1]
    return keypoint_l1(predicted.diff(dim=1), targets.diff(dim=1), pairs, count)
