"""The commands in README.md and docs/usage.md work."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from liveportrait_talker import examples
from liveportrait_talker.cli.main import main
from liveportrait_talker.media import open_footage, read_waveform
from liveportrait_talker.weights import download, registry
from sounds import write_wav

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
USAGE = (ROOT / "docs" / "usage.md").read_text()
LIVE = (ROOT / "docs" / "live.md").read_text()
VERBS = "generate|faces|demo|doctor|bench|models|animate|edit|batch|score|label|dataset|train|evaluate|export"
ALL_COMMANDS = list(
    dict.fromkeys(
        match.group(1).strip()
        for match in re.finditer(rf"(?:^    |`)(liveportrait-talker (?:{VERBS})[^`\n]*)", README + USAGE, re.M)
    )
)
WITH_WEIGHTS = [
    c
    for c in ALL_COMMANDS
    if re.search(r"generate .*--renderer neural|--head-pose audio|--driver learned|models (import|list|verify)", c)
    and "--mapping" not in c
]
TRAINING = [c for c in ALL_COMMANDS if re.search(r"dataset|--mapping|talker (train|evaluate|export) ", c)]
DOWNLOADS = [c for c in ALL_COMMANDS if "models download" in c]
COMMANDS = [c for c in ALL_COMMANDS if not c.endswith("--help") and c not in WITH_WEIGHTS + DOWNLOADS + TRAINING]
MADE_BY = {file: c for c in reversed(COMMANDS) for file in re.findall(r"(?:-o|--save-template) (\S+)", c)}


def write_small_examples(folder: Path, seconds: float) -> Path:
    """Write the examples to `folder` with a portrait of 320 px and `seconds` of the voice, and return it."""
    folder.mkdir()
    Image.fromarray(open_footage(examples.PORTRAIT, max_side=320)[0]).save(folder / "portrait.png")
    start = round(0.2 * 16_000)  # the first word
    write_wav(folder / "voice.wav", read_waveform(examples.VOICE).samples[start : start + round(seconds * 16_000)])
    examples.copy_examples(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("readme")
    write_small_examples(place / "examples", seconds=1.2)
    return place


@pytest.fixture(scope="module")
def folder_with_weights(tmp_path_factory, released, store) -> Path:
    """Released weights and the examples, with a short voice because each frame takes seconds."""
    place = tmp_path_factory.mktemp("readme_neural")
    write_small_examples(place / "examples", seconds=0.2)
    (place / "weights").symlink_to(released)
    return place


def test_readme_commands_are_found():
    assert len(COMMANDS) >= 15
    assert len(WITH_WEIGHTS) >= 8 and len(DOWNLOADS) >= 1
    for flag in ("--still", "--ref-head-pose", "--pupil-x", "--crop", "--json", "--seed"):
        assert any(flag in c for c in COMMANDS)


def run(command: str) -> int:
    """Run a command, and before it those that make its inputs, unless they are there."""
    words = shlex.split(command)[1:]
    for before, word in pairwise(words):
        if before not in ("-o", "--save-template") and word in MADE_BY and not Path(word).exists():
            assert run(MADE_BY[word]) == 0
    if words[0] == "bench" and "neural" not in words:  # a shorter measurement
        words += ["--frames", "30"]
    return main([*words, "--overwrite"] if "-o" in words else words)


def time_once(call, where) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@pytest.mark.parametrize(
    "command",
    [pytest.param(c, marks=pytest.mark.slow if "bench --renderer neural" in c else ()) for c in COMMANDS],
)
def test_readme_command(command, folder, monkeypatch, capsys):
    if "talker label" in command:
        pytest.importorskip("c2pa", reason="c2pa-python is not installed (the extra c2pa)")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LPT_CACHE", str(folder / "cache"))
    # For `demo`; tests/test_install.py runs it in full.
    monkeypatch.setattr(examples, "PORTRAIT", folder / "examples" / "portrait.png")
    monkeypatch.setattr(examples, "VOICE", folder / "examples" / "voice.wav")
    monkeypatch.setattr("liveportrait_talker.cli.bench.neural._seconds", time_once)
    assert run(command) == 0, capsys.readouterr().err
    for file in re.findall(r"-o (\S+)", command):
        assert (folder / file).stat().st_size > 10_000


@pytest.mark.parametrize("command", WITH_WEIGHTS)
def test_readme_command_with_weights(command, folder_with_weights, store, draw_noise, monkeypatch, capsys):
    monkeypatch.chdir(folder_with_weights)
    monkeypatch.setenv("LPT_MODELS", str(store))
    words = shlex.split(command)[1:]
    assert main([*words, *(["--json"] if "generate" in words else [])]) == 0, capsys.readouterr().err
    if "generate" in words:
        report = json.loads(capsys.readouterr().out)
        assert report["renderer"] == ("embedded" if "embedded" in words else "neural")
        assert report["driver"] == ("signal" if "signal" in words else "learned")


@pytest.mark.parametrize("command", DOWNLOADS)
def test_readme_download(command, monkeypatch, tmp_path, capsys):
    """The requested files; tests/weights/test_download.py tests the transfer."""
    fetched = []
    monkeypatch.setenv("LPT_MODELS", str(tmp_path))
    monkeypatch.setattr(download, "download", lambda name, **_: fetched.append(name) or tmp_path / name)
    monkeypatch.setattr(download, "convert_released", lambda file, **_: ())
    assert main(shlex.split(command)[1:]) == 0
    group = "" if "--all" in command else "liveportrait"
    assert fetched == [file.name for file in registry.FILES if file.name.startswith(group)]


@pytest.mark.slow
def test_training_commands_in_order(tmp_path, store, draw_noise, monkeypatch, capsys):
    """Download from a local host → extract → train → evaluate → export → generate."""
    pytest.importorskip("yt_dlp")
    pytest.importorskip("lightning")
    sys.path[:0] = [str(ROOT / "tests" / "training")]
    from extracting import metadata_text, talking_video
    from training_videos import hosting

    from liveportrait_talker.training.metadata import split_of

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LPT_MODELS", str(store))
    write_small_examples(tmp_path / "examples", seconds=1.2)
    video = talking_video(tmp_path / "source.mp4", seconds=0.8, seed=1).read_bytes()
    names = [f"id{k:05d}" for k in range(200)]
    held_out = next(name for name in names if split_of(name, 0, 0.05) == "val")
    speakers = [held_out, *[name for name in names if name != held_out][:2]]
    for speaker in speakers:
        folder = tmp_path / "vox2_dev" / "txt" / speaker / speaker
        folder.mkdir(parents=True)
        (folder / "00001.txt").write_text(metadata_text(14, first=2))
    assert len(TRAINING) == 7
    with hosting() as host:
        for speaker in speakers:
            host.answers[speaker] = video
        for command in TRAINING:
            words = shlex.split(command)[1:]
            if "download" in words:
                words += ["--address-template", host.template]
            if "train" in words:
                words += ["--max-epochs", "1", "--device", "cpu"]
            assert main(words) == 0, capsys.readouterr().err
    assert (tmp_path / "held-out.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "mine.mp4").stat().st_size > 10_000
    assert "network" in capsys.readouterr().out


@pytest.mark.slow
def test_readme_command_of_the_original(folder_with_weights, store, draw_noise, monkeypatch, capsys):
    command = re.search(r"^    (python inference\.py .*)$", README, re.M)
    assert command is not None
    monkeypatch.chdir(folder_with_weights)
    monkeypatch.setenv("LPT_MODELS", str(store))
    monkeypatch.setattr(sys, "argv", shlex.split(command.group(1))[1:])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "inference.py"), run_name="__main__")
    assert end.value.code == 0, capsys.readouterr().err
    (video,) = (folder_with_weights / "outputs" / "portrait").glob("voice_*.mp4")
    assert video.stat().st_size > 10_000


def test_python_examples(folder, monkeypatch):
    monkeypatch.chdir(folder)
    blocks = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "integrations" not in block]
    blocks += re.findall(r"```python\n(.*?)```", LIVE, re.S)[:1]
    assert len(blocks) == 3
    for code in blocks:
        exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize(("library", "name"), [("pipecat", "pipecat"), ("livekit.agents", "livekit")])
def test_examples_of_integrations(library, name, folder, monkeypatch):
    """tests/integrations runs the longer ones in docs/agents.md."""
    (code,) = [b for b in re.findall(r"```python\n(.*?)```", README, re.S) if f"integrations.{name}" in b]
    pytest.importorskip(library, reason=f"needs the extra {name}: make companions-test")
    monkeypatch.chdir(folder)
    exec(compile(code, "README.md", "exec"), {})


def test_live_command(folder):
    """The command in docs/live.md listens until Ctrl-C; tests/serving/test_websocket.py talks to it."""
    client = pytest.importorskip("websockets.sync.client")
    (command,) = re.findall(r"^    liveportrait-talker (live .*--websocket)$", LIVE, re.M)
    words = [
        sys.executable,
        "-m",
        "liveportrait_talker",
        *shlex.split(command),
        "--port",
        "0",
        "--renderer",
        "embedded",
    ]
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        lines = iter(server.stderr.readline, "")
        url = next(found[0] for line in lines if (found := re.search(r"ws://[\d.:]+", line)))
        with client.connect(url) as connection:
            assert "fps" in connection.recv()
            assert len(connection.recv()) > 1000
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=60) == 130


def test_live_page_command(folder):
    """The command in README.md and docs/live.md serves a page until Ctrl-C; tests/serving/test_live_page.py uses it."""
    pytest.importorskip("aiortc", reason="aiortc is not installed")
    (command,) = re.findall(r"^    liveportrait-talker (live examples/portrait.png)$", LIVE, re.M)
    assert f"`liveportrait-talker {command}`" in README
    words = [sys.executable, "-m", "liveportrait_talker", *shlex.split(command), "--no-open", "--port", "0"]
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        lines = iter(server.stderr.readline, "")
        url = next(found[0] for line in lines if (found := re.search(r"http://[\d.:]+/", line)))
        with urllib.request.urlopen(url) as page:
            assert b"AI-generated" in page.read()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0


def test_readme_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make (demo|test|setup)\b", README):
        assert re.search(rf"^{target}:", makefile, re.M)
