"""Tests in a separate process: signals, a full disk, memory, stderr."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clips import number_image, number_in, tone, write_sound

import liveportrait_talker
from liveportrait_talker.media import VideoWriter, open_footage, read_waveform

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and limits")

# Arguments: output, voice, frames, seconds to sleep before each frame, largest file in bytes or 0.
WRITE = """
import resource, sys, time
from pathlib import Path
import numpy as np
from liveportrait_talker.errors import MediaError
from liveportrait_talker.media import VideoWriter, read_waveform

output, voice, count, pause, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
noise = np.random.default_rng(0).integers(0, 255, (8, 96, 128, 3), np.uint8)
try:
    with VideoWriter(Path(output), size=(128, 96), fps=25, voice=Path(voice), frame_count=int(count),
                     comment="c", title="t") as video:
        for k in range(int(count)):
            time.sleep(float(pause))
            video.write(noise[k % 8])
            print(k, flush=True)
except MediaError as error:
    print(error)
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(130)
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def start_writer(
    output: Path, voice: Path, frames: int, *, pause: float = 0.0, limit: int = 0
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITE, str(output), str(voice), str(frames), str(pause), str(limit)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return write_sound(tmp_path / "voice.wav", tone(65.0, 16_000)[None], 16_000)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_process_leaves_no_video(tmp_path: Path, voice: Path, sent: signal.Signals) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    process = start_writer(folder / "a.mp4", voice, 100_000, pause=0.01)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "30":
        assert process.poll() is None
    assert [entry.name.startswith(".a.") for entry in folder.iterdir()] == [True]
    process.send_signal(sent)
    output, errors = process.communicate(timeout=20)
    left = [entry.name for entry in folder.iterdir()]
    if sent == signal.SIGINT:
        assert (process.returncode, left, errors) == (130, [], "")
        assert "interrupted" in output
    else:  # the partial file remains, under its hidden name
        assert "a.mp4" not in left
        assert all(name.startswith(".a.") and name.endswith(".part.mp4") for name in left)


@pytest.mark.parametrize("limit", [3_000, 100_000, 400_000])
def test_full_disk_is_reported_and_leaves_no_file(tmp_path: Path, voice: Path, limit: int) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    process = start_writer(folder / "a.mp4", voice, 50, limit=limit)
    output, errors = process.communicate(timeout=30)
    assert f"the disk is full, so {folder / 'a.mp4'} could not be completed; free some space" in output
    assert not list(folder.iterdir())
    assert (process.returncode, errors) == (0, "")


def test_memory_does_not_grow_with_length(tmp_path: Path, voice: Path) -> None:
    peaks = {}
    for seconds in (5, 60):
        started = time.perf_counter()
        output, errors = start_writer(tmp_path / f"{seconds}.mp4", voice, 25 * seconds).communicate(timeout=60)
        assert errors == ""
        peaks[seconds] = int(output.split()[-1]) / 1024
        print(f"{seconds} s: peak {peaks[seconds]:.0f} MB, {time.perf_counter() - started:.1f} s")
    assert peaks[60] < 1.10 * peaks[5]


STARTERS = ("system", "popen", "startfile", "exec", "spawn", "posix_spawn", "fork")  # prefixes of functions of os


def test_package_starts_no_other_program() -> None:
    """docs/earlier_systems.md, defect 50: no shell, so no injection by file names."""
    files = [*Path(liveportrait_talker.__file__).parent.rglob("*.py"), Path(__file__).parents[2] / "inference.py"]
    assert len(files) > 50
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                names = [f"{node.value.id}.{node.attr}"]
            for name in names:
                first, _, rest = name.partition(".")
                # The page's worker, and the child process that opens untrusted files: our own interpreter, no shell.
                allowed = (first, file.name) in (
                    ("multiprocessing", "worker.py"),
                    ("subprocess", "limited_process.py"),
                )
                assert allowed or first not in ("subprocess", "pty", "multiprocessing"), f"{file}: {name}"
                assert not (first == "os" and rest.startswith(STARTERS)), f"{file}: {name}"


@pytest.mark.parametrize(
    "name", ["a b", "$(touch pwned)", "a;touch pwned;", "'\"`touch pwned`", "-y", "&& touch pwned"]
)
def test_special_characters_in_file_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """docs/earlier_systems.md, defect 50: spaces, quotes and commands in a path."""
    monkeypatch.chdir(tmp_path)
    folder = Path(name)
    folder.mkdir()
    voice = write_sound(folder / f"{name}.wav", tone(0.5, 16_000)[None], 16_000)
    out = folder / f"{name}.mp4"
    with VideoWriter(out, size=(96, 64), fps=25, voice=voice, frame_count=12, comment="c", title="t") as video:
        for k in range(12):
            video.write(number_image(k))
    with open_footage(out) as footage:
        assert number_in(footage[11]) == 11
    assert read_waveform(out).duration_seconds == pytest.approx(0.5, abs=0.03)
    assert [path.name for path in tmp_path.iterdir()] == [name]
