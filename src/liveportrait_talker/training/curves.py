"""Learning curves of a training run, drawn from its logs."""

from __future__ import annotations

import csv
import re
from pathlib import Path

Curve = list[tuple[int, float]]


def read_metric(run: Path, name: str) -> Curve:
    """(step, value) of a logged number, of all times the run was gone on with; of two for one step the later holds."""
    found: dict[int, float] = {}
    folders = sorted((run / "logs").glob("version_*"), key=lambda path: int(re.sub(r"\D", "", path.name) or 0))
    for folder in folders:
        if not (folder / "metrics.csv").is_file():
            continue
        with (folder / "metrics.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                if row.get(name):
                    found[int(row["step"])] = float(row[name])
    return sorted(found.items())


def draw_curves(run: Path) -> Path:
    """Write `curves.png` in the folder of a run: loss of training and validation by step. Returns its path."""
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
    path = run / "curves.png"
    part = path.with_name(".curves.part.png")
    figure.savefig(part, dpi=130)
    part.replace(path)
    return path
