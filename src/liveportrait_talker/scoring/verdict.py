"""What figures outside of the human range mean to a viewer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .figures import FIGURES, Figure, Range, human_ranges

_UNSURE_MS = 40.0  # standard error of an offset that is not judged
_STILL = 0.03  # IOD: range of an opening that is noise, which has no offset
_NAMED = 3  # findings in the verdict, of different groups


@dataclass(frozen=True)
class Finding:
    """A figure outside of the human range."""

    figure: Figure
    value: float
    range: Range

    @property
    def text(self) -> str:
        """What a viewer sees."""
        is_below = self.value < self.range.low
        phrase = self.figure.below if is_below else self.figure.above
        return phrase.format(self.figure.text(abs(self.value)))


def judged(figures: Mapping[str, float], seconds: float) -> list[Figure]:
    """Return the figures that a video of this length is judged by, in their order."""
    ranges = human_ranges()
    agree = figures.get("sound_r", 0.0) in ranges["sound_r"] and figures.get("aperture_range", 0.0) >= _STILL
    sure = agree and figures.get("offset_error_ms", 0.0) <= _UNSURE_MS
    return [
        figure
        for figure in FIGURES
        if figure.name in figures
        and figure.name in ranges
        and seconds >= figure.shortest_s
        and (sure or figure.name != "offset_ms")
    ]


def findings_of(figures: Mapping[str, float], seconds: float) -> list[Finding]:
    """Return the figures outside of their ranges, in their order: what disturbs most comes first."""
    ranges = human_ranges()
    return [
        Finding(figure, figures[figure.name], ranges[figure.name])
        for figure in judged(figures, seconds)
        if figures[figure.name] not in ranges[figure.name]
    ]


def verdict_of(figures: Mapping[str, float], seconds: float) -> str:
    """Return one sentence on a video."""
    if not figures["valid_pct"]:
        return "No face was found, so nothing about a face was measured."
    count, findings = len(judged(figures, seconds)), findings_of(figures, seconds)
    if not findings:
        return f"Like a person: all {count} figures lie in the human range."
    first_of_groups = {finding.figure.group: finding for finding in reversed(findings)}
    named = [finding.text for finding in findings if finding is first_of_groups[finding.figure.group]][:_NAMED]
    parts = [*named, f"{len(findings) - len(named)} more"] if len(findings) > len(named) else named
    listed = ", ".join(parts[:-1]) + " and " * (len(parts) > 1) + parts[-1]
    return f"{listed[0].upper()}{listed[1:]}; {count - len(findings)} of {count} figures lie in the human range."
