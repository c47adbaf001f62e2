"""The figures of one or several videos as a table of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isinf
from typing import TYPE_CHECKING

from .figures import FIGURES, Figure, Range, human_ranges

if TYPE_CHECKING:
    from .score import VideoScore

_LABEL, _COLUMN = 44, 12  # characters


def table_lines(scores: Sequence[VideoScore]) -> Iterator[str]:
    """Yield the lines: a figure each, with the human range and its source; then what is missing, and the verdicts."""
    ranges, group = human_ranges(), ""
    names = "".join(f"{_shortened(score.name):>{_COLUMN}}  " for score in scores)
    yield f"{'':{_LABEL}}{'human':>{_COLUMN}}  {names}source of the range"
    for figure in FIGURES:
        if not any(figure.name in score.figures or figure.name in score.not_measured for score in scores):
            continue
        if figure.group != group:
            group = figure.group
            yield group
        limits = ranges.get(figure.name)
        label = f"  {figure.label}, {figure.unit}" if figure.unit != "1" else f"  {figure.label}"
        cells = "".join(_cell(score, figure) for score in scores)
        human = range_text(figure, limits) if limits else ""
        yield f"{label:{_LABEL}}{human:>{_COLUMN}}  {cells}{limits.source if limits else ''}".rstrip()
    yield "! outside of the human range    – not measured    IOD: distance of the outer eye corners"
    yield from _missing(scores)
    for score in scores:
        yield f"{score.name}: {score.verdict}"


def _cell(score: VideoScore, figure: Figure) -> str:
    if figure.name not in score.figures:
        return f"{'–':>{_COLUMN}}  "
    outside = any(finding.figure is figure for finding in score.findings)
    return f"{figure.text(score.figures[figure.name]):>{_COLUMN}}{'!' if outside else ' '} "


def range_text(figure: Figure, limits: Range) -> str:
    """Return a range with the digits of its figure."""
    low, high = (figure.text(limit) for limit in (limits.low, limits.high))
    if isinf(limits.low):
        return f"≤ {high}"
    return f"≥ {low}" if isinf(limits.high) else f"{low} … {high}"


def _missing(scores: Sequence[VideoScore]) -> Iterator[str]:
    """Yield one line for each reason why figures of a video are missing."""
    for score in scores:
        for reason in dict.fromkeys(score.not_measured.values()):
            labels = [each.label for each in FIGURES if score.not_measured.get(each.name) == reason]
            listed = ", ".join(labels[:3]) + (f" and {len(labels) - 3} more" if len(labels) > 3 else "")
            yield f"– {score.name}: {listed}: {reason}"


def _shortened(name: str) -> str:
    return name if len(name) <= _COLUMN else f"{name[: _COLUMN - 6]}…{name[-5:]}"
