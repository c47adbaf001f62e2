"""A journal of finished units of work that survives a kill at any moment, and the sorted list made of it at the end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import MediaError, WeightsError
from .locks import only_one
from .partial_files import is_full

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

DONE = "done"
"""Status of work that need not be done again."""
FAILED = "failed"
"""Status of work that would fail again; it is tried anew only when asked for."""
LATER = "later"
"""Status of work that failed by circumstances; the next run tries it again."""

Entry = dict[str, Any]
"""A JSON object with `status` (`done`, `failed`, `later`) and, where it is not done, `reason`."""


class Journal:
    """Key → entry, one line of JSON for each unit of work, used in a `with`.

    `add` returns when the line is on the disk. A line that a kill has torn is dropped when the journal is opened again,
    and its work counts as not done. Of two lines with one key the later holds. One process at a time has it; within
    that process it is for one thread.

    Raises:
        MediaError: another run has the journal, it cannot be written, or the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        """What is finished so far; change it with `add` alone."""
        self._hold = contextlib.ExitStack()

    def __enter__(self) -> Journal:
        with contextlib.ExitStack() as hold:
            try:
                hold.enter_context(only_one(self.path, sleep=self._refuse))
                self._file: IO[bytes] = hold.enter_context(self.path.open("a+b", buffering=0))
                self._end = self._read()
            except WeightsError as error:  # the lock's own sentence is about weights
                raise self._unwritable(error.__cause__ or error) from error
            except OSError as error:
                raise self._unwritable(error) from error
            self._hold = hold.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._hold.close()

    def add(self, key: str, entry: Entry) -> None:
        """Keep an entry for good. Raises MediaError where it cannot be written; the journal stays whole then."""
        if not isinstance(entry.get("status"), str):
            raise ValueError(f"an entry needs a status, got {entry}")
        line = _line({"key": key, "entry": entry})
        try:
            if self._file.write(line) != len(line):
                raise OSError(28, "No space left on device")  # a full disk may take a part of a line
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise self._unwritable(error) from error
        self._end += len(line)
        self.entries[key] = json.loads(line)["entry"]  # as the next run will read it, and nobody else's object

    def _read(self) -> int:
        """Read all whole lines and cut off a torn one. Returns the size."""
        self._file.seek(0)
        content = self._file.read()
        self.entries, end = _parsed(content, self.path)
        if end < len(content):
            self._file.truncate(end)
        return end

    def _refuse(self, seconds: float) -> None:
        raise MediaError(f"another run is working on {self.path.parent}: wait for it, or name another folder.")

    def _unwritable(self, error: BaseException) -> MediaError:
        if isinstance(error, Exception) and is_full(error):
            return full_disk()
        text = getattr(error, "strerror", None) or str(error)
        return MediaError(f"{self.path} cannot be written ({text}): name another folder.")


def read_entries(path: Path) -> dict[str, Entry]:
    """The entries of a journal as it is now, without taking it; none where there is no journal."""
    try:
        return _parsed(path.read_bytes(), path)[0]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror}).") from error


def _parsed(content: bytes, path: Path) -> tuple[dict[str, Entry], int]:
    """Entries, and the number of bytes that are whole lines."""
    end = content.rfind(b"\n") + 1
    entries: dict[str, Entry] = {}
    broken = 0
    for line in content[:end].splitlines():
        try:
            item = json.loads(line)
            key, entry = item["key"], item["entry"]
            if not isinstance(key, str) or not isinstance(entry["status"], str):
                raise ValueError("not an entry")
            entries[key] = entry
        except (ValueError, KeyError, TypeError):
            broken += 1
    if broken:
        log.warning("%s has %d lines that cannot be read; their work is done again", path, broken)
    return entries, end


def write_sorted(path: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write one line of JSON for each entry, `key` included, in the order of the keys.

    The same entries give the same bytes, whenever and in whatever order they were made. The file is there whole or as
    it was before. Raises MediaError where it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            for key in sorted(entries):
                file.write(_line({"key": key, **entries[key]}))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if is_full(error):
            raise full_disk() from error
        raise MediaError(f"{path} cannot be written ({error.strerror}): name another folder.") from error


def sync_folder(folder: Path) -> None:
    """Make new names in a folder last through a power cut, where the system can do that."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def full_disk() -> MediaError:
    """The error that says the disk is full and what to do."""
    return MediaError("the disk is full; make room and run the same command again: it goes on where it stopped.")


def _line(item: Mapping[str, Any]) -> bytes:
    return json.dumps(item, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode() + b"\n"
