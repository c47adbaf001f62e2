"""docs/score.md has all figures, with the ranges that are used."""

from __future__ import annotations

import re
from pathlib import Path

from liveportrait_talker.scoring.figures import FIGURES, human_ranges
from liveportrait_talker.scoring.table import range_text

ROW = re.compile(r"^\| `(\w+)` \|.*\|.*\| ([^|]*) \| ([^|]*) \|$", re.M)
PAGE = (Path(__file__).parents[2] / "docs" / "score.md").read_text()


def test_each_figure_is_documented_with_its_range():
    rows = {name: (limits, source) for name, limits, source in ROW.findall(PAGE)}
    ranges = human_ranges()
    expected = {
        f.name: (range_text(f, ranges[f.name]), ranges[f.name].source) if f.name in ranges else ("", "")
        for f in FIGURES
    }
    assert rows == expected


def test_ranges_are_those_of_the_judged_figures():
    assert {figure.name for figure in FIGURES if figure.is_judged} == set(human_ranges())
