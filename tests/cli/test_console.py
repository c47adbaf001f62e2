"""Terminal output: its content, its encoding, and streams that cannot be written."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from liveportrait_talker import examples
from liveportrait_talker.cli import console
from liveportrait_talker.cli.main import main
from liveportrait_talker.examples import PORTRAIT
from sounds import syllables, write_wav

COMMAND = [sys.executable, "-m", "liveportrait_talker"]


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "voice.wav", syllables(0.4))


def generate_command(voice: Path, out: str, *more: str) -> list[str]:
    return [*COMMAND, "generate", str(PORTRAIT), str(voice), "-o", out, "--still", *more]


def test_unencodable_characters_are_escaped(tmp_path, voice):
    """The report must not fail on Windows' cp1252, which has no Japanese."""
    done = subprocess.run(
        generate_command(voice, "日本.mp4"),
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "日本.mp4").is_file()
    assert rb"\u65e5\u672c.mp4: 10 frames" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp932"])
@pytest.mark.parametrize("words", [["--help"], ["generate", "--help"], ["doctor"]])
def test_help_works_in_any_encoding(words, encoding):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run([*COMMAND, *words], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout and not done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_stdout_does_not_fail_the_run(tmp_path, voice):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            generate_command(voice, "a.mp4"), cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 0 and (tmp_path / "a.mp4").is_file()
    assert "note: the report could not be printed (No space left on device)." in done.stderr
    assert all(line.startswith("note: ") for line in done.stderr.splitlines())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("more", [(), ("--debug",)])
def test_full_stderr_keeps_the_exit_code(tmp_path, voice, more):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            generate_command(voice, "nowhere/a.mp4", *more),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=full,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
def test_closed_streams_do_not_fail_the_run(tmp_path, voice, closed):
    redirection = {"stdout": ">&-", "stderr": "2>&-", "both": ">&- 2>&-"}[closed]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *generate_command(voice, "a.mp4")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and (tmp_path / "a.mp4").is_file()
    assert all(line.startswith(("note: ", "a.mp4: ")) for line in (done.stdout + done.stderr).splitlines())


def test_terminal_shows_only_progress_bars_and_own_lines(tmp_path, voice):
    control, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        generate_command(voice, "a.mp4"),
        cwd=tmp_path,
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    try:
        while piece := os.read(control, 65536):
            shown += piece
    except OSError:  # Linux: the other end is closed
        pass
    os.close(control)
    assert process.wait() == 0
    lines = [line for line in shown.decode().replace("\r", "\n").split("\n") if line.strip("\x1b[A ")]
    assert any(line.startswith("drawing |") and "10/10" in line for line in lines)
    expected = ("drawing |", "finding the face |", "note: ", "a.mp4: 10 frames")
    assert not [line for line in lines if not line.startswith(expected)]


def test_demo_writes_a_video_and_copies_the_examples(tmp_path, voice, monkeypatch, capsys):
    """With a shorter voice; tests/test_install.py runs it in full."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(examples, "VOICE", voice)
    assert main(["demo", "--examples", "mine"]) == 0
    assert {"portrait.png", "voice.wav", "jobs.csv", "config.yaml", "keys.json"} <= {
        file.name for file in (tmp_path / "mine").iterdir()
    }
    assert "demo.mp4: 10 frames" in capsys.readouterr().out
    assert main(["demo"]) == 2 and "demo.mp4 exists already" in capsys.readouterr().err


def test_a_line_tells_the_time_that_is_left(monkeypatch, capsys):
    clock = iter([0.0, 40.0])
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with console.Bars(quiet=False) as bars:
        bars("drawing", 0, 100)
        bars("drawing", 25, 100)
    assert capsys.readouterr().err == "drawing: 25 of 100, about 2 min left\n"


@pytest.mark.parametrize("closed", ["stdout", "stderr", "both"])
def test_the_numbers_of_closed_streams_are_not_given_to_files(tmp_path, closed):
    """What a library prints would otherwise be written into the file."""
    code = (
        "import sys; from liveportrait_talker.cli import main; main(['models', 'list']);"
        "file = open('numbers', 'w'); print(file.fileno(), sys.stdout.write('a'), sys.stderr.write('b'), file=file)"
    )
    redirection = {"stdout": ">&-", "stderr": "2>&-", "both": ">&- 2>&-"}[closed]
    command = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-c", code]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert (tmp_path / "numbers").read_text().split() == ["3", "1", "1"]


HOSTILE = "a\x1b]0;title\x07\x9b31m\u202egpj\r\n\x7f\u2066.mp4"


def is_tame(text: str) -> bool:
    return not set(text) & set("\x1b\x07\x9b\u202e\r\x7f\u2066")


def test_names_cannot_control_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", HOSTILE, "voice.wav"]) == 2
    shown = capsys.readouterr().err
    assert is_tame(shown) and shown.count("\n") == 1
    assert r"a\x1b]0;title\x07\x9b31m\u202egpj\r\n\x7f\u2066" in shown
    with pytest.raises(SystemExit):
        main(["generate", "a.png", "b.wav", HOSTILE, HOSTILE])
    assert is_tame(capsys.readouterr().err)


def test_a_batch_cannot_control_the_terminal(tmp_path, capsys):
    voice = write_wav(tmp_path / "voice.wav", syllables(0.4))
    job = {"source": str(PORTRAIT), "voice": str(voice), "out": HOSTILE, "id": HOSTILE}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(job) + "\n" + json.dumps(job | {"source": HOSTILE}) + "\n")
    for more in ([], ["--debug"], ["--quiet"]):
        main(["batch", str(tmp_path / "jobs.jsonl"), "--out", str(tmp_path / "out"), "--dry-run", *more])
        shown = capsys.readouterr()
        assert is_tame(shown.out) and is_tame(shown.err)
        assert shown.out.count("\n") in (0, 3)


def test_a_traceback_keeps_its_lines(capsys):
    assert main(["generate", "no.png", "no.wav", "--debug"]) == 2
    assert capsys.readouterr().err.count("\n") > 3
