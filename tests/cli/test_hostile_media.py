"""Hostile files through the real command line: one sentence, little memory, and Ctrl-C at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hostile
from shared import DATA

PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.png"
CASES = DATA / "cases" / "security"
# Prints the largest memory of a command's processes in KB, and its exit status.
LAUNCHER = (
    "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:])\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, done.returncode)"
)


def generate(source: Path, voice: Path, folder: Path) -> tuple[str, int, float]:
    """Return the errors, the exit status and the memory in MB of `generate`."""
    command = [sys.executable, "-m", "liveportrait_talker", "generate", source, voice, "-o", folder / "out.mp4"]
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, *map(str, command)], capture_output=True, text=True, timeout=120, check=True
    )
    memory, status = done.stdout.split()
    return done.stderr, int(status), int(memory) / 1024


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile.write_voice(tmp_path_factory.mktemp("voice") / "voice.wav")


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the development media in ../shared")
@pytest.mark.parametrize(
    "name",
    [
        "jp2_10900.jp2",
        "mp4_elst_5000.mp4",
        "mp4_overlap_1M.mp4",
        "png_64x1800000.png",
        "tiff_I_10900.tif",
        "webp_lossless_16383.webp",
    ],
)
def test_files_of_the_audit(name: str, voice: Path, tmp_path: Path):
    errors, status, memory = generate(CASES / name, voice, tmp_path)
    assert status == 2
    assert [line for line in errors.splitlines() if line.startswith("error:")] == [errors.splitlines()[-1]]
    assert name in errors
    assert memory < 1200  # 1 GB above the idle process
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile.write_endless_aac(tmp_path_factory.mktemp("endless") / "hours.aac")


@pytest.mark.slow
def test_a_voice_that_takes_minutes(endless: Path, tmp_path: Path):
    errors, status, memory = generate(PORTRAIT, endless, tmp_path)
    assert status == 2
    assert errors.startswith("error: hours.aac takes too long to open")
    assert memory < 1200


@pytest.mark.skipif(sys.platform == "win32", reason="uses signals")
def test_ctrl_c_while_a_file_is_opened(endless: Path, tmp_path: Path):
    command = [sys.executable, "-m", "liveportrait_talker", "generate", PORTRAIT, endless, "-o", tmp_path / "a.mp4"]
    process = subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True)
    time.sleep(3)  # it is reading the voice, in a child process
    children = _children(process.pid)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "stopped; nothing was left behind."
    assert not list(tmp_path.iterdir())
    assert children
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if parent == pid:
                found.append(int(entry.name))
    return found
