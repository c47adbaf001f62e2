"""A crash-safe journal of finished work, and the sorted JSON lines file made from it at the end."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import MediaError, WeightsError
from .locks import file_lock
from .partial_files import write_error

if TYPE_CHECKING:
    from types import TracebackType

log = logging.getLogger(__name__)

DONE = "done"
"""Status of finished work."""
FAILED = "failed"
"""Status of work that would fail again; it is retried only on request."""
LATER = "later"
"""Status of work that failed for a temporary reason; the next run retries it."""

Entry = dict[str, Any]
"""A JSON object with `status` (`done`, `failed`, `later`) and, where it is not done, `reason`."""


class Journal:
    """A mapping key → entry in a file of JSON lines, one for each unit of work; a context manager.

    `add` returns after the line has reached the disk. An incomplete last line is truncated when the journal is opened,
    and its work counts as not done. The last line of a key is valid. The file is locked against other processes; the
    object is not thread-safe.

    Args:
        path: the file.
        is_entry: returns whether a stored entry has the fields that the caller reads; others count as unreadable.

    Raises:
        MediaError: another run uses the journal, it cannot be written, or the disk is full.
    """

    def __init__(self, path: Path, is_entry: Callable[[Entry], bool] = bool) -> None:
        self.path, self._is_entry = path, is_entry
        self.entries: dict[str, Entry] = {}
        """Read-only; change it with `add`."""
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> Journal:
        with contextlib.ExitStack() as resources:
            try:
                resources.enter_context(file_lock(self.path, sleep=self._refuse))
                self._file: IO[bytes] = resources.enter_context(self.path.open("a+b", buffering=0))
                self._end = self._read()
            except WeightsError as error:  # of `file_lock`, whose message is about weights
                cause = error.__cause__
                raise write_error(self.path, cause if isinstance(cause, OSError) else error) from error
            except OSError as error:
                raise write_error(self.path, error) from error
            self._resources = resources.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._resources.close()

    def add(self, key: str, entry: Entry) -> None:
        """Append an entry. Raises MediaError where it cannot be written; the file is then as before."""
        if not isinstance(entry.get("status"), str):
            raise ValueError(f"an entry needs a status, got {entry}")
        line = _line({"key": key, "entry": entry})
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "No space left on device")  # a short write
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise write_error(self.path, error) from error
        self._end += len(line)
        self.entries[key] = json.loads(line)["entry"]  # a copy, as the next run will read it

    def _read(self) -> int:
        """Read all complete lines and truncate an incomplete one. Return the file's size."""
        self._file.seek(0)
        content = self._file.read()
        self.entries, end = _parse(content, self.path, self._is_entry)
        if end < len(content):
            self._file.truncate(end)
        return end

    def _refuse(self, seconds: float) -> None:
        raise MediaError(f"another run is using {self.path.parent}: wait for it, or choose another folder.")


def read_entries(path: Path, is_entry: Callable[[Entry], bool] = bool) -> dict[str, Entry]:
    """Return the entries of a journal, see `Journal`, without locking it; none where there is no journal."""
    try:
        return _parse(path.read_bytes(), path, is_entry)[0]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror}).") from error


def _parse(content: bytes, path: Path, is_entry: Callable[[Entry], bool]) -> tuple[dict[str, Entry], int]:
    """Return the entries and the number of bytes in complete lines."""
    end = content.rfind(b"\n") + 1
    entries: dict[str, Entry] = {}
    broken = 0
    for line in content[:end].splitlines():
        try:
            item = json.loads(line)
            key, entry = item["key"], item["entry"]
            if not isinstance(key, str) or entry["status"] not in (DONE, FAILED, LATER) or not is_entry(entry):
                raise ValueError("not an entry")
            entries[key] = entry
        except (ValueError, KeyError, TypeError, RecursionError):
            broken += 1
    if broken:
        log.warning("%s has %d unreadable lines; their work is done again", path, broken)
    return entries, end


def write_sorted(path: Path, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write one line of JSON for each entry, `key` included, sorted by key, replacing the file atomically.

    The bytes depend on the entries alone, not on their order. Raises MediaError where the file cannot be written.
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
        raise write_error(path, error) from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, where the system supports it."""
    with contextlib.suppress(OSError):  # Windows cannot open folders
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _line(item: Mapping[str, Any]) -> bytes:
    return json.dumps(item, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode() + b"\n"
