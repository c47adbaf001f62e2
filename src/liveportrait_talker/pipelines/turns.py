"""Lists of who speaks when, as diarisation writes them: RTTM, CSV or JSON.

RTTM: lines `SPEAKER file channel start duration <NA> <NA> name …`. CSV: a header with start, end and speaker. JSON: a
list of {"start": seconds, "end": seconds, "speaker": name}, or such a list as "segments" of an object (WhisperX).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import MediaError, OptionError
from ..options.speakers import Speakers, SpeakerVoice, Turns, speakers_from

_LARGEST_FILE = 16 * 2**20  # bytes


def read_turns(path: Path) -> dict[str, Turns]:
    """Return speaker → the times of a list, in order. Raises MediaError for a file that is no such list."""
    if not path.is_file():
        raise MediaError(f"there is no list of turns {path}.")
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise MediaError(f"{path} is too large for a list of turns: at most 16 MB are read.")
        text = path.read_text(encoding="utf-8-sig")
        turns: dict[str, list[tuple[float, float]]] = {}
        for name, start, end in _parse(text, path.suffix.lower()):
            turns.setdefault(name, []).append((start, end))
        if not turns:
            raise ValueError("it holds no turn")
        voices = {name: SpeakerVoice(path, turns=tuple(sorted(times))) for name, times in turns.items()}
    except OSError as error:
        raise MediaError(f"cannot read the list of turns {path}: {error.strerror or error}.") from error
    except (
        *(ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError),
        *(csv.Error, OptionError),
    ) as error:
        raise MediaError(
            f"{path} is no list of turns: it must be RTTM, or CSV or JSON with start, end (seconds) and speaker."
        ) from error
    return {name: voice.turns or () for name, voice in voices.items()}


def voices_from_turns(voice: Path | str, turns: Path | str, faces: Mapping[Any, str]) -> Speakers:
    """Return the speakers of one recording in which several people speak.

    Args:
        voice: the recording.
        turns: list of who speaks when.
        faces: face → name of the speaker in the list.

    Raises:
        MediaError: the list cannot be read.
        OptionError: it does not name a speaker.
    """
    times = read_turns(Path(turns))
    for name in faces.values():
        if name not in times:
            known = ", ".join(sorted(times))
            raise OptionError(f"{Path(turns).name} names no speaker {name!r}: there are {known}.")
    return speakers_from([(face, SpeakerVoice(Path(voice), turns=times[name])) for face, name in faces.items()])


def _parse(text: str, suffix: str) -> Iterator[tuple[str, float, float]]:
    """Yield (speaker, start, end) in seconds."""
    if suffix == ".json":
        content = json.loads(text)
        yield from _rows(content["segments"] if isinstance(content, dict) else content)
    elif suffix == ".csv":
        first = text.split("\n", 1)[0]
        yield from _rows(csv.DictReader(text.splitlines(), delimiter=max(",;\t", key=first.count)))
    else:
        for line in text.splitlines():
            words = line.split()
            if words and words[0] == "SPEAKER":
                start = float(words[3])
                yield words[7], start, start + float(words[4])


def _rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, float, float]]:
    for row in rows:
        if row.get("speaker") not in (None, ""):  # of a stretch that was given to nobody
            yield str(row["speaker"]).strip(), float(row["start"]), float(row["end"])
