"""The list of jobs: JSON lines or CSV, each line checked before any work."""

from __future__ import annotations

import csv
import dataclasses
import difflib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import MediaError, OptionError, TalkerError
from ..options.talk import TalkOptions
from .work import FAILED, JobOutcome, RenderJob, one_line

MAX_BYTES = 16 * 2**20
"""Of a jobs file."""
MAX_JOBS = 10_000
MAX_LINE = 64 * 1024
"""Characters of one job: whatever is longer is no job, and its words would come back in sentences."""

_KINDS = {option.name: str(option.type) for option in dataclasses.fields(TalkOptions)}
_COLUMNS = ("source", "voice", "out", "id", *_KINDS)
Values = dict[str, Any]
Row = tuple[int, "Values | OptionError"]
"""Line number, and what the line says or what is wrong with it."""
Out = tuple[Path, bool]
"""A video's path, and whether it is in the batch's own folder."""


def read_jobs(path: Path, folder: Path, *, overwrite: bool = False) -> list[RenderJob | JobOutcome]:
    """Every line of a jobs file: a job, or the outcome that says why it is none.

    Args:
        path: JSONL (one object a line) or CSV (comma, semicolon or tab; the first line names the columns), UTF-8.
            `source` and `voice` are needed, `out`, `id` and every field of `TalkOptions` may be given. Relative paths
            count from the file's folder.
        folder: where videos go that have no absolute `out`; they cannot leave it. Without `out` a video is called
            SOURCE_VOICE.mp4, and SOURCE_VOICE_2.mp4 and so on where an earlier line has that name.
        overwrite: whether the jobs may replace files.

    Raises:
        OptionError: the file as a whole cannot be used.
    """
    rows = _rows(path)
    if not rows:
        raise OptionError(f"{path} has no jobs: write one a line, with a source and a voice.")
    outs = _outs(rows, folder.absolute())
    ids: dict[str, int] = {}
    found: list[RenderJob | JobOutcome] = []
    for line, values in rows:
        name = f"line {line}"
        try:
            if isinstance(values, OptionError):
                raise values
            name = _id(values, line, ids)
            found.append(_job(line, name, values, outs[line], path.absolute().parent, overwrite))
        except (TalkerError, RecursionError) as error:  # a deeply nested list cannot even be shown
            found.append(JobOutcome(line, name, FAILED, one_line(str(error))))
    return found


def _rows(path: Path) -> list[Row]:
    if path.suffix.lower() not in (".jsonl", ".csv"):
        raise OptionError(f"{path} must end in .jsonl (one JSON object a line) or .csv (with a line of column names).")
    try:
        if path.exists() and not path.is_file():
            raise OptionError(f"{path} is not an ordinary file.")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise OptionError(f"{path} cannot be read ({error.strerror}): check the name and the folder.") from error
    if len(content) > MAX_BYTES:
        raise OptionError(f"{path} is larger than {MAX_BYTES >> 20} MB: split it.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OptionError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    rows = list(_csv_rows(text, path) if path.suffix.lower() == ".csv" else _json_rows(text))
    if len(rows) > MAX_JOBS:
        raise OptionError(f"{path} has {len(rows)} jobs, the limit is {MAX_JOBS}: split it.")
    return rows


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its doubles, which a dict would lose."""


def _json_rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            if len(line) > MAX_LINE:
                raise OptionError(f"longer than {MAX_LINE >> 10} KB")
            pairs = json.loads(line, object_pairs_hook=_Pairs)
            if not isinstance(pairs, _Pairs):
                raise OptionError('not a JSON object: write {"source": …, "voice": …}')
            yield number, _named(pairs)
        except OptionError as error:
            yield number, error
        except (ValueError, RecursionError) as error:
            yield number, OptionError(f"not JSON ({error})")


def _csv_rows(text: str, path: Path) -> Iterator[Row]:
    first = text.split("\n", 1)[0]
    reader = csv.reader(StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        cells = next(reader, [])
        while cells and not cells[-1].strip():  # spreadsheets leave such
            cells.pop()
        header = [_column(cell) for cell in cells]
    except (csv.Error, OptionError) as error:
        raise OptionError(f"the first line of {path} must name the columns: {str(error).rstrip('.')}.") from error
    doubles = {name for name in header if header.count(name) > 1}
    lack = {"source", "voice"} - set(header)
    if text.strip() and (doubles or lack):
        what = f"has {', '.join(sorted(doubles))} twice" if doubles else f"lacks {' and '.join(sorted(lack))}"
        raise OptionError(f"the first line of {path} must name the columns: it {what}.")
    while True:
        number = reader.line_num + 1  # a cell in quotes may go on over several lines
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, OptionError(f"not CSV ({error}); quotes must be closed and doubled inside a cell")
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if any(cell.strip() for cell in cells[len(header) :]):
            yield number, OptionError("more cells than columns; a cell with a comma in it needs quotes")
        elif sum(map(len, cells)) > MAX_LINE:
            yield number, OptionError(f"longer than {MAX_LINE >> 10} KB")
        else:
            yield number, {n: _typed(n, c.strip()) for n, c in zip(header, cells, strict=False) if c.strip()}


def _column(given: str) -> str:
    """A column by the name that `TalkOptions` has for it. Raises OptionError for an unknown one."""
    name = given.strip().lower().replace("-", "_")
    if name not in _COLUMNS:
        close = difflib.get_close_matches(name, _COLUMNS, n=1)
        raise OptionError(f"{given!r} is not known" + (f"; did you mean {close[0]}?" if close else "."))
    return name


def _named(pairs: Sequence[tuple[str, Any]]) -> Values:
    """JSON's names as ours; null stands for the default. Raises OptionError for a name that is unknown or double."""
    values: Values = {}
    for given, value in pairs:
        name = _column(given)
        if name in values:
            raise OptionError(f"{name} is there twice.")
        values[name] = value
    return {name: value for name, value in values.items() if value is not None}


def _typed(name: str, text: str) -> Any:
    """A cell as JSON would have it; text that is not of its column's kind stays text, which is refused later."""
    kind = _KINDS.get(name, "str")
    if "bool" in kind:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        if "Degrees" in kind:
            return [float(word) for word in text.split()]
        return float(text) if "float" in kind else int(text) if "int" in kind else text
    except ValueError:
        return text


def _id(values: Mapping[str, Any], line: int, ids: dict[str, int]) -> str:
    given = values.get("id", f"line {line}")
    if isinstance(given, bool) or not isinstance(given, (str, int)) or not str(given).strip():
        raise OptionError(f"id must be text: it is {given!r}.")
    name = one_line(str(given).strip())
    if "id" in values and ids.setdefault(name, line) != line:
        raise OptionError(f"id {name} is that of line {ids[name]} already: give another.")
    return name


def _outs(rows: Sequence[Row], folder: Path) -> dict[int, Out | OptionError]:
    """Line → its video. Names that were asked for come before those we make."""
    outs: dict[int, Out | OptionError] = {}
    owners: dict[str, int] = {}

    def owner(line: int, out: Path) -> int:
        """The line that has this name; it is `line` if it was free."""
        # Without capitals: some file systems make no difference, and a job must never replace another's video.
        return owners.setdefault(os.path.realpath(out).casefold(), line)

    def made(values: Values, line: int) -> Path:
        name = "_".join(_path(part, values.get(part), folder).stem for part in ("source", "voice"))
        names = (f"{name}.mp4" if number == 1 else f"{name}_{number}.mp4" for number in count(1))
        return next(folder / one for one in names if owner(line, folder / one) == line)

    jobs = [(line, values) for line, values in rows if not isinstance(values, OptionError)]
    for line, values in sorted(jobs, key=lambda job: "out" not in job[1]):
        try:
            if "out" not in values:
                outs[line] = made(values, line), True
                continue
            outs[line] = asked = _asked_for(values["out"], folder)
            if (first := owner(line, asked[0])) != line:
                outs[line] = OptionError(f"out {values['out']} is that of line {first} already: give another.")
        except OptionError as error:
            outs[line] = error
    return outs


def _asked_for(given: Any, folder: Path) -> Out:
    path = _path("out", given, Path())
    if path.is_absolute():
        return path, False
    inside = Path(os.path.normpath(path))
    if path.anchor or inside.parts[:1] in ((), ("..",)):  # an anchor alone: Windows' C:name
        raise OptionError(f"out {given} leaves the folder of the batch: give a name inside it, or an absolute path.")
    return folder / inside, True


def _job(line: int, name: str, values: Values, out: Out | OptionError, base: Path, overwrite: bool) -> RenderJob:
    """Raises TalkerError for anything that can be seen to be wrong without decoding."""
    from ..media.media_file import check_input

    given = {key: _option(key, value, base) for key, value in values.items() if key in _KINDS}
    options = TalkOptions(**given)
    source, voice = (_path(part, values.get(part), base) for part in ("source", "voice"))
    inputs = [source, voice, *(value for value in given.values() if isinstance(value, Path))]
    for path in inputs:
        check_input(path)
    if isinstance(out, OptionError):
        raise out
    # What is at its default is left out: a new option of a later version must not make every job a new one.
    chosen = {key: str(value) for key, value in vars(options).items() if value != getattr(TalkOptions, key)}
    text = json.dumps([[_state(path) for path in inputs], chosen, os.path.realpath(out[0])], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    return RenderJob(line, name, source, voice, *out, options, overwrite, key)


def _state(path: Path) -> tuple[str, int, int]:
    """What changes when a file does."""
    try:
        state = path.stat()
    except OSError as error:
        raise MediaError(f"{path} cannot be opened ({error.strerror}); check the name and the permissions") from error
    return os.path.realpath(path), state.st_size, state.st_mtime_ns


def _option(name: str, value: Any, base: Path) -> Any:
    """A value of the type that `TalkOptions` wants; ranges are its own business."""
    kind = _KINDS[name]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if "Path" in kind:
        return _path(name, value, base)
    if "bool" in kind:
        good, wanted = isinstance(value, bool), "true or false"
    elif "Degrees" in kind:
        several = value if isinstance(value, list) else [value]
        good = all(isinstance(one, (int, float)) and abs(one) < 1e6 and not isinstance(one, bool) for one in several)
        wanted = "a number of degrees, or several"
    elif "float" in kind:
        good, wanted = number, "a number"
    elif "int" in kind:
        good, wanted = number and value % 1 == 0, "a whole number"
        value = int(value) if good else value
    else:
        good, wanted = isinstance(value, str), "text"
    if not good:
        raise OptionError(f"{name} must be {wanted}: it is {value!r}.")
    return value


def _path(name: str, given: Any, base: Path) -> Path:
    if given is None:
        raise OptionError(f"{name} is missing.")
    if not isinstance(given, str) or not given.strip():
        raise OptionError(f"{name} must be the name of a file: it is {given!r}.")
    try:
        if b"\0" in os.fsencode(given):
            raise ValueError
    except ValueError as error:
        raise OptionError(f"{name} has characters that no file name has: it is {given!r}.") from error
    return base / given
