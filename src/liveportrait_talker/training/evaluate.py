"""How good a MappingNet is on speakers that it has not seen, beside two baselines that any network should beat."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..arrays import Floats32
from ..motion.lips import LIP_KEYPOINTS, controls_from_keypoints
from ..motion.track import LipKeypoints
from ..progress import OnProgress, ignore_progress
from ..system.devices import torch_device
from .arrays import FrameArrays, open_arrays
from .checkpoint import Trained
from .metadata import FPS
from .options import Split

Predictor = Callable[[Floats32], Floats32]
"""Coefficients (T, 64) of an utterance → δ (T, K, 3)."""

_RIDGE_FRAMES = 20_000  # of the training speakers, evenly taken: more changes nothing for 1,900 weights
_RIDGE_STRENGTH = 1.0
_LONGEST_LAG = 8  # frames either way
_LEAST_FRAMES = 10  # of an utterance whose correlation means anything
_FRAMES_AT_ONCE = 2048


@dataclass(frozen=True)
class Score:
    """One row of the table, over all frames of the held-out speakers that were seen."""

    name: str
    l1: float
    """Mean |error| of δ, canonical units."""
    l1_by_keypoint: tuple[float, ...]
    velocity_l1: float
    """Mean |error| of the change from frame to frame."""
    aperture_r: float
    """Correlation of the lips' opening with the true one, mean over utterances; NaN where it does not move."""
    lag_ms: float
    """The shift at which that correlation is best, + = late, median over utterances."""


@dataclass(frozen=True)
class Evaluation:
    """The table, with what it is of."""

    dataset: Path
    source: str
    keypoints: tuple[int, ...]
    utterances: int
    frames: int
    speakers: int
    scores: tuple[Score, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN as null."""
        text = json.dumps(self, default=lambda item: item.__dict__ if hasattr(item, "__dict__") else str(item))
        plain: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
        return plain

    def __str__(self) -> str:
        lines = [
            f"{self.source} on {self.frames:,} frames of {self.speakers} held-out speakers in {self.dataset}",
            f"{'':14}{'L1':>10}{'velocity L1':>13}{'aperture r':>12}{'lag':>9}   L1 by key point",
        ]
        for score in self.scores:
            each = " ".join(f"{k}:{value:.5f}" for k, value in zip(self.keypoints, score.l1_by_keypoint, strict=True))
            lag = "–" if np.isnan(score.lag_ms) else f"{score.lag_ms:.0f} ms"
            r = "–" if np.isnan(score.aperture_r) else f"{score.aperture_r:.3f}"
            lines.append(f"{score.name:14}{score.l1:10.6f}{score.velocity_l1:13.6f}{r:>12}{lag:>9}   {each}")
        return "\n".join(lines)


def evaluate(
    dataset: Path,
    trained: Trained,
    *,
    split: Split | None = None,
    device: str = "auto",
    plot: Path | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Hold a network against the true key points of the held-out speakers, and the mean pose and ridge regression too.

    Args:
        dataset: with records.
        trained: the network.
        split: by default the one it was trained with: with another, speakers that it has seen count as held out.
        device: where it runs.
        plot: a PNG to draw the table as.
        on_progress: called as (stage, utterances done, utterances in all).

    Raises:
        MediaError: as `open_arrays` does.
    """
    arrays = open_arrays(dataset, split or trained.split or Split())
    chosen = np.array(trained.keypoints)
    train, val = arrays["train"], arrays["val"]
    predictors = {
        "network": _network(trained, torch_device(device)),
        "ridge": _ridge(train, chosen, trained.rows),
        "mean pose": _mean_pose(train, chosen),
    }
    tell = on_progress or ignore_progress
    scores = []
    for number, (name, predict) in enumerate(predictors.items()):
        tell("evaluate", number, len(predictors))
        scores.append(_score(name, predict, val, chosen))
    tell("evaluate", len(predictors), len(predictors))
    result = Evaluation(
        dataset=dataset,
        source=trained.source,
        keypoints=trained.keypoints,
        utterances=len(val.keys),
        frames=int(val.seen.sum()),
        speakers=len(val.speakers),
        scores=tuple(scores),
    )
    if plot is not None:
        _draw(result, plot)
    return result


def _network(trained: Trained, device: torch.device) -> Predictor:
    net = trained.net.to(device)
    before = trained.rows // 2

    @torch.inference_mode()
    def predict(coefficients: Floats32) -> Floats32:
        around = np.arange(len(coefficients) + trained.rows - 1) - before
        padded = coefficients[np.clip(around, 0, len(coefficients) - 1)]
        pieces = []
        for first in range(0, len(coefficients), _FRAMES_AT_ONCE):
            last = min(first + _FRAMES_AT_ONCE, len(coefficients))
            run = torch.from_numpy(padded[first : last + trained.rows - 1].T.copy())[None].to(device)
            pieces.append(net.along(run, trained.rows)[0].cpu().numpy())
        offsets: Floats32 = np.concatenate(pieces).reshape(len(coefficients), -1, 3)
        return offsets

    return predict


def _mean_pose(train: FrameArrays, chosen: npt.NDArray[np.intp]) -> Predictor:
    """What the training speakers' key points are on average, whatever is said."""
    at = _spread(np.flatnonzero(train.seen))
    mean = train.keypoint_expression[at][:, chosen].mean(axis=0, dtype=np.float64).astype(np.float32)
    return lambda coefficients: np.repeat(mean[None], len(coefficients), axis=0)


def _ridge(train: FrameArrays, chosen: npt.NDArray[np.intp], rows: int) -> Predictor:
    """Linear regression on the same windows."""
    at = _spread(np.flatnonzero(train.seen))
    utterance = np.searchsorted(train.first, at, side="right") - 1
    first, last = train.first[utterance], train.first[utterance] + train.frames[utterance] - 1
    index = np.clip(at[:, None] + np.arange(rows) - rows // 2, first[:, None], last[:, None])
    x = train.expression[index].reshape(len(at), -1).astype(np.float64)
    y = train.keypoint_expression[at][:, chosen].reshape(len(at), -1).astype(np.float64)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x -= mean_x
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += _RIDGE_STRENGTH * max(np.trace(gram) / len(gram), 1e-12)
    weights = np.linalg.solve(gram, x.T @ (y - mean_y))

    def predict(coefficients: Floats32) -> Floats32:
        around = np.arange(len(coefficients))[:, None] + np.arange(rows) - rows // 2
        seen = coefficients[np.clip(around, 0, len(coefficients) - 1)].reshape(len(coefficients), -1)
        offsets: Floats32 = ((seen - mean_x) @ weights + mean_y).reshape(len(coefficients), -1, 3).astype(np.float32)
        return offsets

    return predict


def _spread(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """At most so many of `rows`, evenly taken."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _RIDGE_FRAMES)).astype(np.intp))]


def _score(name: str, predict: Predictor, val: FrameArrays, chosen: npt.NDArray[np.intp]) -> Score:
    errors, weights = np.zeros(len(chosen)), 0
    velocity, pairs = 0.0, 0
    correlations, lags = [], []
    for first, frames in zip(val.first, val.frames, strict=True):
        span = slice(first, first + frames)
        predicted = predict(np.asarray(val.expression[span]))
        true, seen = np.asarray(val.keypoint_expression[span][:, chosen]), np.asarray(val.seen[span])
        errors += np.abs(predicted - true).mean(axis=2)[seen].sum(axis=0)
        weights += int(seen.sum())
        both = seen[1:] & seen[:-1]
        velocity += float(np.abs(np.diff(predicted - true, axis=0)).mean(axis=(1, 2))[both].sum())
        pairs += int(both.sum())
        if tuple(chosen) == LIP_KEYPOINTS and frames >= _LEAST_FRAMES:
            said, wanted = _aperture(predicted), _aperture(true)
            correlations.append(_pearson(said, wanted))
            lags.append(_lag(said, wanted))
    return Score(
        name=name,
        l1=float(errors.mean() / max(weights, 1)),
        l1_by_keypoint=tuple(float(e) for e in errors / max(weights, 1)),
        velocity_l1=velocity / max(pairs, 1),
        aperture_r=_over(np.mean, correlations),
        lag_ms=_over(np.median, lags) * 1000 / FPS,
    )


def _aperture(keypoints: Floats32) -> npt.NDArray[np.float64]:
    return controls_from_keypoints(LipKeypoints(keypoints)).values[:, 0].astype(np.float64)


def _pearson(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 1e-9 else float("nan")


def _lag(said: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> float:
    """Frames by which `said` is late, to the best correlation of what overlaps."""
    shifts = range(-_LONGEST_LAG, _LONGEST_LAG + 1)
    most = len(said) - _LEAST_FRAMES // 2
    found = {
        k: _pearson(said[max(k, 0) : len(said) + min(k, 0)], wanted[max(-k, 0) : len(wanted) - max(k, 0)])
        for k in shifts
        if abs(k) < most
    }
    known = {k: r for k, r in found.items() if not np.isnan(r)}
    return float(max(known, key=lambda k: known[k])) if known else float("nan")


def _over(summary: Callable[[Any], Any], values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(summary(known)) if known else float("nan")


def _draw(result: Evaluation, path: Path) -> None:
    """The errors by key point, a group of bars for each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    places, width = np.arange(len(result.keypoints)), 0.8 / len(result.scores)
    for k, score in enumerate(result.scores):
        label = score.name if np.isnan(score.aperture_r) else f"{score.name} (aperture r {score.aperture_r:.2f})"
        axes.bar(places + (k - 1) * width, score.l1_by_keypoint, width, label=label)
    axes.set_xticks(places, [str(k) for k in result.keypoints])
    axes.set(xlabel="key point", ylabel="L1 of δ, canonical units", title=f"{result.speakers} held-out speakers")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    part = path.with_name(f".{path.name}.part.png")
    figure.savefig(part, dpi=130)
    part.replace(path)
