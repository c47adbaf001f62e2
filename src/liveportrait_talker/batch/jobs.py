"""Reading and validating jobs files: JSON lines or CSV."""

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
from ..options.background import TRANSPARENT
from ..options.fields import Kind, kind_of, paths_in
from ..options.speakers import Speakers, speakers_from
from ..options.talk import OLD_NAMES, TalkOptions
from ..pipelines.turns import voices_from_turns
from ..system.links import leads_out
from .work import FAILED, JobOutcome, RenderJob, one_line

MAX_BYTES = 16 * 2**20
"""Size limit of a jobs file."""
MAX_JOBS = 10_000
MAX_LINE = 64 * 1024
"""Length limit of one job, in characters."""

_KINDS = {option.name: kind_of(option) for option in dataclasses.fields(TalkOptions)}
_KINDS |= {old: _KINDS[new] for old, new in OLD_NAMES.items()}
_COLUMNS = ("source", "voice", "speakers", "turns", "out", "id", *_KINDS)
Values = dict[str, Any]
Row = tuple[int, "Values | OptionError"]
"""Line number, and the line's values or the error in it."""
Output = tuple[Path, bool]
"""A video's path, and whether it is in the batch's own folder."""


def read_jobs(path: Path, folder: Path, *, overwrite: bool = False) -> list[RenderJob | JobOutcome]:
    """Return, for every line of a jobs file, its job, or a failed outcome for an invalid line.

    Args:
        path: JSONL (one object per line) or CSV (comma, semicolon or tab; the first line names the columns), UTF-8.
            `source` and `voice` are required; `out`, `id` and fields of `TalkOptions` are optional. `speakers` (face
            → voice, in CSV 1:anna.wav;2:ben.wav@3.2) takes the place of `voice`; with `turns`, a list of who speaks
            when, it names the speakers of `voice`. Relative paths refer to the file's folder; several files are a list,
            in CSV separated by semicolons.
        folder: of the videos that have no absolute `out`. Without `out` a video is called SOURCE_VOICE.mp4,
            SOURCE_VOICE_2.mp4 and so on, a transparent one SOURCE_VOICE.webm.
        overwrite: whether the jobs may replace files.

    Raises:
        OptionError: the file as a whole is invalid.
    """
    rows = _read_rows(path)
    if not rows:
        raise OptionError(f"{path} has no jobs: write one per line, with a source and a voice.")
    outputs = _assign_outputs(rows, folder.absolute())
    ids: dict[str, int] = {}
    found: list[RenderJob | JobOutcome] = []
    for line, values in rows:
        name = f"line {line}"
        try:
            if isinstance(values, OptionError):
                raise values
            name = _job_id(values, line, ids)
            found.append(_make_job(line, name, values, outputs[line], path.absolute().parent, overwrite))
        except (TalkerError, RecursionError) as error:  # RecursionError: the repr of a deeply nested list
            found.append(JobOutcome(line, name, FAILED, one_line(str(error))))
    return found


def _read_rows(path: Path) -> list[Row]:
    if path.suffix.lower() not in (".jsonl", ".csv"):
        raise OptionError(f"{path} must end in .jsonl (one JSON object per line) or .csv (with a header line).")
    try:
        if path.exists() and not path.is_file():
            raise OptionError(f"{path} is not a regular file.")
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
    """A JSON object with repeated keys, which a dict would drop."""


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
            yield number, _normalise_names(pairs)
        except OptionError as error:
            yield number, error
        except (ValueError, RecursionError) as error:
            yield number, OptionError(f"not JSON ({error})")


def _csv_rows(text: str, path: Path) -> Iterator[Row]:
    first = text.split("\n", 1)[0]
    reader = csv.reader(StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        cells = next(reader, [])
        while cells and not cells[-1].strip():  # spreadsheets write empty trailing cells
            cells.pop()
        header = [_column_name(cell) for cell in cells]
    except (csv.Error, OptionError) as error:
        raise OptionError(f"the first line of {path} must name the columns: {str(error).rstrip('.')}.") from error
    repeated = {name for name in header if header.count(name) > 1}
    missing = {"source", "voice"} - {"voice" if name == "speakers" else name for name in header}
    if text.strip() and (repeated or missing):
        problem = f"has {', '.join(sorted(repeated))} twice" if repeated else f"lacks {' and '.join(sorted(missing))}"
        raise OptionError(f"the first line of {path} must name the columns: it {problem}.")
    while True:
        number = reader.line_num + 1  # quoted cells may span several lines
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
            yield number, {n: _parse_cell(n, c.strip()) for n, c in zip(header, cells, strict=False) if c.strip()}


def _column_name(given: str) -> str:
    """Return a column's name in the spelling of `TalkOptions`. Raises OptionError for an unknown one."""
    name = given.strip().lower().replace("-", "_")
    if name not in _COLUMNS:
        close = difflib.get_close_matches(name, _COLUMNS, n=1)
        raise OptionError(f"{given!r} is not known" + (f"; did you mean {close[0]}?" if close else "."))
    return name


def _normalise_names(pairs: Sequence[tuple[str, Any]]) -> Values:
    """Return a JSON object's values by column name, without nulls. Raises OptionError for unknown or repeated names."""
    values: Values = {}
    for given, value in pairs:
        name = _column_name(given)
        if name in values:
            raise OptionError(f"{name} is given twice.")
        values[name] = value
    if isinstance(values.get("speakers"), _Pairs):
        values["speakers"] = _unique_faces(values["speakers"])
    return {name: value for name, value in values.items() if value is not None}


def _unique_faces(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return face → voice. Raises OptionError where a face is named twice."""
    faces = dict(pairs)
    if len(faces) < len(pairs):
        raise OptionError("speakers names a face twice.")
    return faces


def _parse_cell(name: str, text: str) -> Any:
    """Return a cell's value as in JSON; invalid text stays text, which `_check_value` refuses."""
    if name == "speakers":
        parts = [part.partition(":") for part in text.split(";") if part.strip()]
        return _unique_faces([(face.strip(), voice.strip()) for face, _, voice in parts])
    kind = _KINDS.get(name, Kind(str, optional=False, many=False))
    if kind.type is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        if kind.many and kind.type is Path:
            return [name for part in text.split(";") if (name := part.strip())]
        if kind.many:
            return [float(word) for word in text.split()]
        return kind.type(text) if kind.type in (int, float) else text
    except ValueError:
        return text


def _job_id(values: Mapping[str, Any], line: int, ids: dict[str, int]) -> str:
    given = values.get("id", f"line {line}")
    if isinstance(given, bool) or not isinstance(given, (str, int)) or not str(given).strip():
        raise OptionError(f"id must be text: it is {given!r}.")
    name = one_line(str(given).strip())
    if "id" in values and ids.setdefault(name, line) != line:
        raise OptionError(f"id {name} is used by line {ids[name]} already: give another.")
    return name


def _assign_outputs(rows: Sequence[Row], folder: Path) -> dict[int, Output | OptionError]:
    """Return line → output path. Requested names have precedence over generated ones."""
    outputs: dict[int, Output | OptionError] = {}
    owners: dict[str, int] = {}
    numbers: dict[str, int] = {}  # generated name, in lower case → the first number that may be free

    def claim(line: int, out: Path) -> int:
        """Return the line that owns this name: `line` itself if it was free."""
        # Case-insensitive, as some file systems are: a job must never replace another's video.
        return owners.setdefault(os.path.realpath(out).casefold(), line)

    def generate_path(values: Values, line: int) -> Path:
        suffix = ".webm" if str(values.get("background")).lower() == TRANSPARENT else ".mp4"
        source = _check_path("source", values.get("source"), folder).stem
        several = "speakers" in values and "voice" not in values
        name = f"{source}_{'dialogue' if several else _check_path('voice', values.get('voice'), folder).stem}"
        for number in count(numbers.get(name.casefold(), 1)):
            out = folder / f"{name}{'' if number == 1 else f'_{number}'}{suffix}"
            if claim(line, out) == line:
                break
        numbers[name.casefold()] = number + 1
        return out

    jobs = [(line, values) for line, values in rows if not isinstance(values, OptionError)]
    for line, values in sorted(jobs, key=lambda job: "out" not in job[1]):
        try:
            if "out" in values:
                out, inside = _requested_output(values["out"], folder)
                if (owner := claim(line, out)) != line:
                    raise OptionError(f"out {values['out']} is used by line {owner} already: give another.")
            else:
                out, inside = generate_path(values, line), True
            if inside and leads_out(out, folder):
                raise OptionError(
                    f"out {out.relative_to(folder)} is behind a link that leaves the folder of the batch: give another "
                    "name, or an absolute path."
                )
            outputs[line] = out, inside
        except OptionError as error:
            outputs[line] = error
    return outputs


def _requested_output(given: Any, folder: Path) -> Output:
    path = _check_path("out", given, Path())
    if path.is_absolute():
        return path, False
    inside = Path(os.path.normpath(path))
    if path.anchor or inside.parts[:1] in ((), ("..",)):  # an anchor without root: C:name on Windows
        raise OptionError(f"out {given} leaves the folder of the batch: give a name inside it, or an absolute path.")
    return folder / inside, True


def _make_job(
    line: int, name: str, values: Values, out: Output | OptionError, base: Path, overwrite: bool
) -> RenderJob:
    """Return a line's job. Raises TalkerError for errors that can be found without decoding."""
    from ..media.media_file import check_input

    given = {key: _check_value(key, value, base) for key, value in values.items() if key in _KINDS}
    options = TalkOptions(**given)
    if options.background_file is not None:
        options = dataclasses.replace(options, background=str(base / options.background_file))
    source = _check_path("source", values.get("source"), base)
    voices = _read_voices(values, base)
    files = [voices] if isinstance(voices, Path) else [voice.file for voice in voices.values()]
    inputs = [source, *files, *(path for value in given.values() for path in paths_in(value))]
    inputs += [] if options.background_file is None else [options.background_file]
    for path in inputs:
        check_input(path)
    if isinstance(out, OptionError):
        raise out
    if out[0].suffix.lower() == ".png":
        raise OptionError(f"{out[0].name} is no video: in a batch, give a .webm or .mov for a transparent background.")
    # Without defaults, so that a later version's new option does not change the keys of existing jobs.
    # Negated options enter by their old names, so that batches of the previous release resume.
    old_names = {new: old for old, new in OLD_NAMES.items()}
    chosen = {
        old_names.get(key, key): str(not value) if key in old_names else str(value)
        for key, value in vars(options).items()
        if value != getattr(TalkOptions, key)
    }
    if not isinstance(voices, Path):
        chosen["speakers"] = str(sorted((str(face), str(voice)) for face, voice in voices.items()))
    text = json.dumps([[_fingerprint(path) for path in inputs], chosen, os.path.realpath(out[0])], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    return RenderJob(line, name, source, voices, *out, options, overwrite, key)


def _read_voices(values: Values, base: Path) -> Path | Speakers:
    """Return the voice of a job, or face → voice. Raises TalkerError."""
    speakers, turns = values.get("speakers"), values.get("turns")
    if speakers is None:
        if turns is not None:
            raise OptionError('turns needs speakers as well: whose face is whose, such as {"1": "anna"}.')
        return _check_path("voice", values.get("voice"), base)
    if not isinstance(speakers, dict) or not all(isinstance(name, str) for name in speakers.values()):
        raise OptionError(f'speakers must be faces and voices, such as {{"1": "anna.wav"}}: it is {speakers!r}.')
    if turns is not None:
        voice = _check_path("voice", values.get("voice"), base)
        return voices_from_turns(voice, _check_path("turns", turns, base), speakers)
    if "voice" in values:
        raise OptionError("voice and speakers contradict each other: give one of them, or turns as well.")
    return speakers_from({face: _check_path("speakers", voice, base) for face, voice in speakers.items()})


def _fingerprint(path: Path) -> tuple[str, int, int]:
    """Return a file's path, size and modification time."""
    try:
        state = path.stat()
    except OSError as error:
        raise MediaError(f"{path} cannot be opened ({error.strerror}); check the name and the permissions") from error
    return os.path.realpath(path), state.st_size, state.st_mtime_ns


def _check_value(name: str, value: Any, base: Path) -> Any:
    """Return an option's value in its type; `TalkOptions` checks ranges. Raises OptionError."""
    kind = _KINDS[name]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind.type is Path and kind.many:
        return tuple(_check_path(name, one, base) for one in (value if isinstance(value, list) else [value]))
    if kind.type is Path:
        return _check_path(name, value, base)
    if kind.type is bool:
        valid, expected = isinstance(value, bool), "true or false"
    elif kind.many:
        several = value if isinstance(value, list) else [value]
        valid = all(isinstance(one, (int, float)) and abs(one) < 1e6 and not isinstance(one, bool) for one in several)
        expected = "a number of degrees, or several"
    elif kind.type is float:
        valid, expected = number, "a number"
    elif kind.type is int:
        valid, expected = number and value % 1 == 0, "a whole number"
        value = int(value) if valid else value
    else:
        valid, expected = isinstance(value, str), "text"
    if not valid:
        raise OptionError(f"{name} must be {expected}: it is {value!r}.")
    return value


def _check_path(name: str, given: Any, base: Path) -> Path:
    if given is None:
        raise OptionError(f"{name} is missing.")
    if not isinstance(given, str) or not given.strip():
        raise OptionError(f"{name} must be the name of a file: it is {given!r}.")
    try:
        if b"\0" in os.fsencode(given):
            raise ValueError
    except ValueError as error:
        raise OptionError(f"{name} has characters that file names cannot have: it is {given!r}.") from error
    return base / given
