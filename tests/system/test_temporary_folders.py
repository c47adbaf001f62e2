"""Temporary folders, also of processes that were killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from liveportrait_talker.system.temporary_folders import TemporaryFolder

PREFIX = "lpt-test-"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_it_is_private_and_removed(temporary: Path):
    with TemporaryFolder(PREFIX) as folder:
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "voice.wav").write_bytes(b"voice")
    assert not list(temporary.iterdir())


def test_the_folder_of_a_killed_process_is_removed_and_no_other(temporary: Path):
    code = (
        "import os, signal, tempfile; from liveportrait_talker.system.temporary_folders import TemporaryFolder\n"
        f"tempfile.tempdir = {str(temporary)!r}; folder = TemporaryFolder({PREFIX!r})\n"
        "(folder.path / 'portrait.png').write_bytes(b'face'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    (left,) = temporary.iterdir()
    assert (left / "portrait.png").exists()
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_bytes(b"of another program")
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    (temporary / f"{PREFIX}new").mkdir()  # as it is before its lock exists
    old = temporary / f"{PREFIX}old"
    old.mkdir()
    os.utime(old, (time.time() - 3600,) * 2)
    with TemporaryFolder(PREFIX) as mine, TemporaryFolder(PREFIX) as second:
        assert mine.exists()
        assert second.exists()
        assert not left.exists()
        assert not old.exists()
        assert (elsewhere / "file").exists()
        assert (temporary / f"{PREFIX}new").exists()


def test_a_folder_that_is_being_made_is_left_alone(temporary: Path):
    """Another process has made its lock file, and has not locked it yet."""
    young = temporary / f"{PREFIX}young"
    young.mkdir()
    (young / ".in-use").touch()
    with TemporaryFolder(PREFIX):
        assert young.exists()
    os.utime(young, (time.time() - 3600,) * 2)
    with TemporaryFolder(PREFIX):
        assert not young.exists()
