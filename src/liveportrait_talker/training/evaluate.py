"""Evaluation of a MappingNet on held-out speakers, with two baselines (docs/method/training.md, Evaluation)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..arrays import Floats32, Floats64, Indices
from ..motion.lips import LIP_KEYPOINTS, controls_from_keypoints
from ..motion.track import LipKeypoints
from ..progress import OnProgress, ignore_progress, steps_of
from ..system.devices import torch_device
from .arrays import FrameArrays, open_arrays
from .checkpoint import Trained
from .curves import save_figure
from .metadata import FPS
from .options import Split

Predictor = Callable[[Floats32], Floats32]
"""Maps coefficients (T, 64) of an utterance to δ (T, K, 3)."""

_RIDGE_FRAMES = 20_000  # of the training speakers; more do not change the 1,900 weights
_RIDGE_STRENGTH = 1.0
_MAX_LAG = 8  # frames, in both directions
_MIN_FRAMES = 10  # of an utterance, for a correlation
_BATCH_FRAMES = 2048


@dataclass(frozen=True)
class Score:
    """The errors of one predictor over all frames of the held-out speakers in which a face was found."""

    name: str
    l1: float
    """Mean absolute error of δ, canonical units."""
    l1_by_keypoint: tuple[float, ...]
    velocity_l1: float
    """Mean absolute error of the difference between consecutive frames."""
    aperture_r: float
    """Correlation of the mouth aperture with the true one, mean over utterances; NaN where it is constant."""
    lag_ms: float
    """Delay (+ = late) that maximises this correlation, median over utterances."""


@dataclass(frozen=True)
class Evaluation:
    """The scores of all predictors. Its text is a table."""

    dataset: Path
    source: str
    keypoints: tuple[int, ...]
    utterances: int
    frames: int
    speakers: int
    scores: tuple[Score, ...]

    def as_json(self) -> dict[str, Any]:
        """Return JSON values, with null for NaN."""
        text = json.dumps(self, default=lambda item: item.__dict__ if hasattr(item, "__dict__") else str(item))
        values: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
        return values

    def __str__(self) -> str:
        lines = [
            f"{self.source} on {self.frames:,} frames of {self.speakers} held-out speakers in {self.dataset}",
            f"{'':14}{'L1':>10}{'velocity L1':>13}{'aperture r':>12}{'lag':>9}   L1 by keypoint",
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
    """Score a network, ridge regression and the mean pose on the held-out speakers.

    Args:
        dataset: a folder with records.
        trained: the network.
        split: by default the one used in training; another one may hold out speakers that were trained on.
        device: one of `devices.DEVICES`.
        plot: path of a PNG to plot the errors in.
        on_progress: called with predictors.

    Raises:
        MediaError: as `open_arrays` does.
    """
    arrays = open_arrays(dataset, split or trained.split or Split())
    keypoints = np.array(trained.keypoints)
    train, val = arrays["train"], arrays["val"]
    predictors = {
        "network": _network_predictor(trained, torch_device(device)),
        "ridge": _fit_ridge(train, keypoints, trained.rows),
        "mean pose": _fit_mean_pose(train, keypoints),
    }
    on_predictor = steps_of("evaluate", on_progress or ignore_progress)
    scores = []
    for number, (name, predict) in enumerate(predictors.items()):
        on_predictor(number, len(predictors))
        scores.append(_score(name, predict, val, keypoints))
    on_predictor(len(predictors), len(predictors))
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
        _plot_errors(result, plot)
    return result


def _network_predictor(trained: Trained, device: torch.device) -> Predictor:
    net = trained.net.to(device)
    before = trained.rows // 2

    @torch.inference_mode()
    def predict(coefficients: Floats32) -> Floats32:
        index = np.arange(len(coefficients) + trained.rows - 1) - before
        padded = coefficients[np.clip(index, 0, len(coefficients) - 1)]
        parts = []
        for first in range(0, len(coefficients), _BATCH_FRAMES):
            last = min(first + _BATCH_FRAMES, len(coefficients))
            run = torch.from_numpy(padded[first : last + trained.rows - 1].T.copy())[None].to(device)
            parts.append(net.along(run, trained.rows)[0].cpu().numpy())
        offsets: Floats32 = np.concatenate(parts).reshape(len(coefficients), -1, 3)
        return offsets

    return predict


def _fit_mean_pose(train: FrameArrays, keypoints: Indices) -> Predictor:
    """Return a predictor of the training speakers' mean δ."""
    at = _sample_evenly(np.flatnonzero(train.seen))
    mean = train.keypoint_expression[at][:, keypoints].mean(axis=0, dtype=np.float64).astype(np.float32)
    return lambda coefficients: np.repeat(mean[None], len(coefficients), axis=0)


def _fit_ridge(train: FrameArrays, keypoints: Indices, rows: int) -> Predictor:
    """Return a predictor by ridge regression on the same windows as the network."""
    at = _sample_evenly(np.flatnonzero(train.seen))
    utterance = np.searchsorted(train.first, at, side="right") - 1
    first, last = train.first[utterance], train.first[utterance] + train.frames[utterance] - 1
    index = np.clip(at[:, None] + np.arange(rows) - rows // 2, first[:, None], last[:, None])
    x = train.expression[index].reshape(len(at), -1).astype(np.float64)
    y = train.keypoint_expression[at][:, keypoints].reshape(len(at), -1).astype(np.float64)
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    x -= mean_x
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += _RIDGE_STRENGTH * max(np.trace(gram) / len(gram), 1e-12)
    weights = np.linalg.solve(gram, x.T @ (y - mean_y))

    def predict(coefficients: Floats32) -> Floats32:
        index = np.arange(len(coefficients))[:, None] + np.arange(rows) - rows // 2
        windows = coefficients[np.clip(index, 0, len(coefficients) - 1)].reshape(len(coefficients), -1)
        offsets: Floats32 = ((windows - mean_x) @ weights + mean_y).reshape(len(coefficients), -1, 3).astype(np.float32)
        return offsets

    return predict


def _sample_evenly(rows: Indices) -> Indices:
    """Return at most `_RIDGE_FRAMES` of `rows`, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _RIDGE_FRAMES)).astype(np.intp))]


def _score(name: str, predict: Predictor, val: FrameArrays, keypoints: Indices) -> Score:
    errors, weights = np.zeros(len(keypoints)), 0
    velocity, pairs = 0.0, 0
    correlations, lags = [], []
    for first, frames in zip(val.first, val.frames, strict=True):
        span = slice(first, first + frames)
        predicted = predict(np.asarray(val.expression[span]))
        true, seen = np.asarray(val.keypoint_expression[span][:, keypoints]), np.asarray(val.seen[span])
        errors += np.abs(predicted - true).mean(axis=2)[seen].sum(axis=0)
        weights += int(seen.sum())
        both = seen[1:] & seen[:-1]
        velocity += float(np.abs(np.diff(predicted - true, axis=0)).mean(axis=(1, 2))[both].sum())
        pairs += int(both.sum())
        if tuple(keypoints) == LIP_KEYPOINTS and frames >= _MIN_FRAMES:
            apertures = _aperture(predicted), _aperture(true)
            correlations.append(_pearson(*apertures))
            lags.append(_find_lag(*apertures))
    return Score(
        name=name,
        l1=float(errors.mean() / max(weights, 1)),
        l1_by_keypoint=tuple(float(e) for e in errors / max(weights, 1)),
        velocity_l1=velocity / max(pairs, 1),
        aperture_r=_summarise(np.mean, correlations),
        lag_ms=_summarise(np.median, lags) * 1000 / FPS,
    )


def _aperture(keypoints: Floats32) -> Floats64:
    return controls_from_keypoints(LipKeypoints(keypoints)).values[:, 0].astype(np.float64)


def _pearson(a: Floats64, b: Floats64) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 1e-9 else float("nan")


def _find_lag(predicted: Floats64, true: Floats64) -> float:
    """Return the frames by which `predicted` is late: the shift with the best correlation; NaN if there is none."""
    limit = len(predicted) - _MIN_FRAMES // 2
    by_shift = {
        k: _pearson(predicted[max(k, 0) : len(predicted) + min(k, 0)], true[max(-k, 0) : len(true) - max(k, 0)])
        for k in range(-_MAX_LAG, _MAX_LAG + 1)
        if abs(k) < limit
    }
    finite = {k: r for k, r in by_shift.items() if not np.isnan(r)}
    return float(max(finite, key=lambda k: finite[k])) if finite else float("nan")


def _summarise(function: Callable[[Any], Any], values: Sequence[float]) -> float:
    finite = [value for value in values if not np.isnan(value)]
    return float(function(finite)) if finite else float("nan")


def _plot_errors(result: Evaluation, path: Path) -> None:
    """Plot the errors by keypoint as grouped bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    places, width = np.arange(len(result.keypoints)), 0.8 / len(result.scores)
    for k, score in enumerate(result.scores):
        label = score.name if np.isnan(score.aperture_r) else f"{score.name} (aperture r {score.aperture_r:.2f})"
        axes.bar(places + (k - 1) * width, score.l1_by_keypoint, width, label=label)
    axes.set_xticks(places, [str(k) for k in result.keypoints])
    axes.set(xlabel="keypoint", ylabel="L1 of δ, canonical units", title=f"{result.speakers} held-out speakers")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    save_figure(figure, path)
