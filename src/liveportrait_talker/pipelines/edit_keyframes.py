"""Keyframe files: expressions at points in time, with the sliders interpolated in between.

JSON: a list of {"time": seconds, slider: value, …}. CSV: a header with `time` and sliders' names, an empty cell where
a slider is left out. The second names of the flags (`yaw`) do as well. A slider moves from one keyframe that names it
to the next, slow at both; before the first and after the last it is held, and one that no keyframe names stays where
the edit has it.
"""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Floats, Floats64
from ..errors import MediaError, OptionError
from ..motion.smoothing import smoothstep
from ..options.edit import EditOptions
from ..options.fields import shown
from ..options.sliders import sliders

_LARGEST_FILE = 2**20  # bytes
_LONGEST_S = 86400.0
_HOLD_S = 0.2  # duration of the last keyframe


@dataclass(frozen=True)
class Keyframe:
    """Values of some sliders at one time. Raises OptionError for a time or a value out of range."""

    seconds: float
    values: dict[str, Any]
    """Slider → number."""

    def __post_init__(self) -> None:
        is_number = isinstance(self.seconds, Real) and not isinstance(self.seconds, bool)
        if not is_number or not 0 <= self.seconds <= _LONGEST_S:
            raise OptionError(f"a keyframe needs a time, in seconds from 0 to {_LONGEST_S:g}.")
        known, _ = _names()
        if not isinstance(self.values, dict) or not self.values.keys() <= known:
            raise OptionError(f"a keyframe holds numbers for {', '.join(sorted(known))}.")
        EditOptions(sample=Path(), **self.values)  # checks the ranges, including `sample_ratio`


def read_keyframes(path: Path) -> tuple[Keyframe, ...]:
    """Return the keyframes of a .json or .csv file, in order of time.

    Raises:
        MediaError: it cannot be read.
        OptionError: it names what is no slider, or a value out of its range.
    """
    if not path.is_file():
        raise MediaError(f"there is no keyframe file {path}.")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise MediaError(f"{path} is too large for a keyframe file: at most 1 MB is read.")
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            rows: Any = _table(text, path.name)
        else:
            rows = json.loads(text, object_pairs_hook=partial(_row, name=path.name))
    except OSError as error:
        raise MediaError(f"cannot read the keyframe file {path}: {error.strerror or error}.") from error
    except (ValueError, csv.Error, RecursionError) as error:
        raise MediaError(f"{path} is no keyframe file: it is neither JSON nor CSV that can be read.") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise MediaError(f'{path} is no keyframe file: it must be a list of keyframes, such as [{{"time": 0}}].')
    return in_order([_keyframe(row, f"keyframe {k + 1} of {path.name}") for k, row in enumerate(rows)])


def in_order(keyframes: Sequence[Keyframe]) -> tuple[Keyframe, ...]:
    """Return keyframes in order of time. Raises TypeError for other objects, OptionError for none."""
    if isinstance(keyframes, str) or not isinstance(keyframes, Sequence):
        raise TypeError(f"keyframes must be a file or a sequence of Keyframe, not {type(keyframes).__name__}")
    if not all(isinstance(each, Keyframe) for each in keyframes):
        raise TypeError("keyframes must be a file or a sequence of Keyframe, not of other objects")
    if not keyframes:
        raise OptionError("there are no keyframes: give at least one.")
    return tuple(sorted(keyframes, key=lambda frame: frame.seconds))


def _row(pairs: list[tuple[str, Any]], name: str) -> dict[str, Any]:
    """Return a JSON object, which must not give a name twice."""
    row = dict(pairs)
    if len(row) < len(pairs):
        raise OptionError(f"a keyframe of {name} gives one of {', '.join(row)} twice.")
    return row


def _table(text: str, name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV; where semicolons separate its columns, a comma is a decimal point."""
    lines = text.splitlines()
    with_semicolons = bool(lines) and ";" in lines[0]
    if with_semicolons:
        lines = [line.replace(",", ".") for line in lines]
    table = csv.DictReader(lines, delimiter=";" if with_semicolons else ",")
    columns = table.fieldnames or ()
    if len(set(columns)) < len(columns):
        raise OptionError(f"the first line of {name} names one of {', '.join(columns)} twice.")
    return [{name: cell for name, cell in row.items() if cell not in (None, "")} for row in table]


@cache
def _names() -> tuple[frozenset[str], Mapping[str, str]]:
    """Return the names of the sliders, and second name → name."""
    fields = sliders(EditOptions)
    aliases = {str(alias).lstrip("-"): each.name for each in fields if (alias := each.metadata["alias"])}
    return frozenset(each.name for each in fields), aliases


def _keyframe(row: dict[Any, Any], where: str) -> Keyframe:
    known, aliases = _names()
    values: dict[str, Any] = {}
    for key, value in row.items():
        name = str(key).strip().replace("-", "_")
        name = aliases.get(name, name)
        if name != "time" and name not in known:
            raise OptionError(
                f"{where} names {shown(name)}, which is no slider: there are time, {', '.join(sorted(known))}."
            )
        if name in values:
            raise OptionError(f"{where} gives {name} twice.")
        try:
            values[name] = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise OptionError(f"{where}: {name} {shown(value)} is not a number.") from error
    try:
        return Keyframe(values.pop("time", None), values)
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from error


def frame_count(keyframes: Sequence[Keyframe], fps: float) -> int:
    """Return the number of frames of a clip."""
    return max(1, round((keyframes[-1].seconds + _HOLD_S) * fps))


def edits(keyframes: Sequence[Keyframe], edit: EditOptions, fps: float) -> Iterator[EditOptions]:
    """Yield the expression of every frame of a clip; sliders that no keyframe names are as in `edit`."""
    tracks = slider_tracks(keyframes, np.arange(frame_count(keyframes, fps)) / fps)
    for k in range(frame_count(keyframes, fps)):
        now: dict[str, Any] = {name: float(track[k]) for name, track in tracks.items()}
        yield dataclasses.replace(edit, **now)


def slider_tracks(keyframes: Sequence[Keyframe], times: Floats) -> dict[str, Floats64]:
    """Return the values (T,) of each slider that keyframes name at `times` (T,), in seconds."""
    tracks: dict[str, Floats64] = {}
    for name in sorted({name for frame in keyframes for name in frame.values}):
        at = [frame.seconds for frame in keyframes if name in frame.values]
        values = np.array([frame.values[name] for frame in keyframes if name in frame.values])
        after = np.clip(np.searchsorted(at, times, side="right"), 1, len(at) - 1) if len(at) > 1 else None
        if after is None:
            tracks[name] = np.full(len(times), values[0])
            continue
        start, end = np.array(at)[after - 1], np.array(at)[after]
        share = smoothstep(0, 1, np.clip((times - start) / np.maximum(end - start, 1e-9), 0, 1))
        tracks[name] = values[after - 1] + share * (values[after] - values[after - 1])
    return tracks
