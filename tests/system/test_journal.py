"""The journal: crash safety, locking, deterministic sorted output."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from liveportrait_talker.errors import MediaError
from liveportrait_talker.system.journal import DONE, FAILED, Journal, read_entries, write_sorted


def test_added_entries_are_read_again(tmp_path):
    path = tmp_path / "new" / "a.journal"
    with Journal(path) as journal:
        assert journal.entries == {}
        journal.add("b", {"status": FAILED, "reason": "gone"})
        journal.add("ä\n", {"status": DONE, "clips": [1, 2]})
        journal.add("b", {"status": DONE})
        inside = dict(journal.entries)
    with Journal(path) as journal:
        assert journal.entries == inside == {"b": {"status": DONE}, "ä\n": {"status": DONE, "clips": [1, 2]}}
    assert read_entries(path) == inside
    assert read_entries(tmp_path / "none") == {}


def test_a_truncated_journal_keeps_its_complete_lines(tmp_path):
    path = tmp_path / "a.journal"
    with Journal(path) as journal:
        for number in range(3):
            journal.add(f"k{number}", {"status": DONE, "n": number})
    content = path.read_bytes()
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        with Journal(path) as journal:
            whole = content[:size].count(b"\n")
            assert sorted(journal.entries) == [f"k{n}" for n in range(whole)]
            journal.add("next", {"status": DONE})
        assert set(read_entries(path)) == {f"k{n}" for n in range(whole)} | {"next"}


def test_unreadable_lines_are_dropped_with_a_warning(tmp_path, caplog):
    path = tmp_path / "a.journal"
    good = b'{"entry":{"status":"done"},"key":"%d"}\n'
    path.write_bytes(good % 1 + b"\0\0\0\n[]\n" + b'{"entry":{},"key":"x"}\n' + good % 2)
    with Journal(path) as journal:
        assert set(journal.entries) == {"1", "2"}
    assert "3 unreadable lines" in caplog.text


def test_a_journal_is_locked_against_other_runs(tmp_path):
    path = tmp_path / "a.journal"
    code = f"from pathlib import Path\nfrom liveportrait_talker.system.journal import Journal\nJournal(Path({str(path)!r})).__enter__()"
    with Journal(path), pytest.raises(MediaError, match="another run"):
        Journal(path).__enter__()
    with Journal(path):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another run is using" in done.stderr
    with Journal(path):
        pass


def test_a_full_disk_leaves_complete_lines(tmp_path, monkeypatch):
    path = tmp_path / "a.journal"

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(path) as journal:
        journal.add("a", {"status": DONE})
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)  # where delayed allocation tells it
            with pytest.raises(MediaError, match="disk is full"):
                journal.add("b", {"status": DONE})
        assert set(journal.entries) == {"a"}
        journal.add("c", {"status": DONE})
    assert set(read_entries(path)) == {"a", "c"}


def test_an_unwritable_path_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="cannot be written"):
        Journal(tmp_path / "file" / "a.journal").__enter__()


def test_the_sorted_file_is_atomic_and_deterministic(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    entries = {"b": {"status": DONE, "n": 1}, "a": {"status": FAILED, "reason": "x"}}
    write_sorted(path, entries)
    first = path.read_bytes()
    write_sorted(path, dict(reversed(entries.items())))
    assert path.read_bytes() == first
    assert [json.loads(line)["key"] for line in first.splitlines()] == ["a", "b"]

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MediaError, match="disk is full"):
        write_sorted(path, {})
    assert path.read_bytes() == first and not list(tmp_path.glob(".*"))


def test_lines_that_are_no_entries_count_as_unreadable(tmp_path, caplog):
    path = tmp_path / "a.journal"
    good = b'{"key":"a","entry":{"status":"done","frames":5}}'
    wrong = [
        b"[" * 100_000,
        b'{"key":"b","entry":{"status":"done","frames":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"key":"b","entry":{"status":"done","frames":' + b"9" * 5000 + b"}}",
        b'{"key":"b","entry":{"status":"sleeping"}}',
        b'{"key":["b"],"entry":{"status":"done"}}',
        b'{"key":"b","entry":["done"]}',
        b'{"key":"b","entry":{"status":"done","frames":"many"}}',
        b"\xff",
        b"null",
    ]
    path.write_bytes(b"\n".join([*wrong, good, b""]))

    def is_entry(entry):
        return isinstance(entry["frames"], int)

    assert set(read_entries(path, is_entry)) == {"a"}
    assert f"{len(wrong)} unreadable lines" in caplog.text
    with Journal(path, is_entry) as journal:
        assert set(journal.entries) == {"a"}
