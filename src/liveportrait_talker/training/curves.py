"""Learning curves of a training run, from its logs."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

Curve = list[tuple[int, float]]


def read_metric(run: Path, name: str) -> Curve:
    """Return (step, value) of a logged metric across all resumptions of a run; later values replace earlier ones."""
    values: dict[int, float] = {}
    folders = sorted((run / "logs").glob("version_*"), key=lambda path: int(re.sub(r"\D", "", path.name) or 0))
    for folder in folders:
        if not (folder / "metrics.csv").is_file():
            continue
        with (folder / "metrics.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if row.get(name):
                    values[int(row["step"])] = float(row[name])
    return sorted(values.items())


def draw_curves(run: Path) -> Path:
    """Plot training and validation loss by step in `curves.png` in the folder of a run. Return its path."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, label in (("train/basic_loss", "training"), ("val/basic_loss", "held-out speakers")):
        curve = read_metric(run, name)
        if curve:
            steps, values = zip(*curve, strict=True)
            axes.plot(steps, values, label=label, marker="." if len(curve) < 40 else None)
    axes.set(xlabel="optimiser steps", ylabel="L1 of δ, canonical units", title=f"MappingNet, {run.name}")
    axes.set_yscale("log")
    axes.grid(alpha=0.3, which="both")
    if axes.lines:
        axes.legend()
    return save_figure(figure, run / "curves.png")


def save_figure(figure: Any, path: Path) -> Path:
    """Write a Matplotlib figure as PNG atomically. Return its path."""
    part = path.with_name(f".{path.name}.part.png")
    figure.savefig(part, dpi=130)
    part.replace(path)
    return path
