"""The command line: complete runs, messages and exit codes."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from liveportrait_talker import TalkOptions
from liveportrait_talker.cli import main
from liveportrait_talker.cli.flags import add_options, options_from
from liveportrait_talker.media import VideoWriter
from shared import DATA, needs_shared
from sounds import syllables, write_wav

ROOT = Path(__file__).parents[2]
PORTRAIT = ROOT / "examples" / "portrait.png"


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("voice") / "voice.wav", syllables(0.8))


def count_frames(path: Path) -> int:
    with av.open(str(path)) as file:
        return sum(1 for _ in file.decode(video=0))


def run(*words: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "liveportrait_talker", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=240)


def error_of(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command that must fail with exit status 2, and return its error message, one line."""
    assert main([str(w) for w in words]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert "Traceback" not in lines[0]
    return lines[0]


def test_help_loads_no_heavy_library():
    code = (
        "import sys, liveportrait_talker.cli as c\n"
        "try: c.main(['generate', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'cv2', 'numba', 'av', 'torch', 'tqdm', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for flag in (
        "--head-pose",
        "--still",
        "--ref-head-pose",
        "--ref-frames-from-zero",
        "--no-crop",
        "--pupil-x",
        "--seed",
        "--background keep|COLOR|FILE|transparent",
    ):
        assert flag in done.stdout


def test_generate_writes_the_reported_video(tmp_path, voice):
    done = run("generate", PORTRAIT, voice, "-o", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert "embedded renderer" in done.stdout and str(tmp_path / "out.mp4") in done.stdout
    assert os.listdir(tmp_path) == ["out.mp4"]
    with av.open(str(tmp_path / "out.mp4")) as file:
        video, sound = file.streams.video[0], file.streams.audio[0]
        assert (video.codec_context.name, sound.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height) == (768, 768)
        assert "AI-generated" in file.metadata["comment"] and "AI-generated" in file.metadata["title"]
        assert "embedded renderer" in file.metadata["comment"]
        assert sum(1 for _ in file.decode(video)) == 20


def test_json_report(tmp_path, voice, capsys):
    out = tmp_path / "a.mp4"
    assert main(["generate", str(PORTRAIT), str(voice), "-o", str(out), "--json", "--quiet", "--seed", "5"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["renderer"] == "embedded" and report["frames"] == 20 and report["seed"] == 5
    assert report["path"] == str(out) and report["options"]["seed"] == 5
    assert report["video_seconds"] == pytest.approx(0.8)


def test_seed_determines_the_video(tmp_path, voice):
    videos = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        out = tmp_path / f"{name}.mp4"
        words = ["generate", str(PORTRAIT), str(voice), "-o", str(out), "--quiet", "--seed", str(seed)]
        assert main([*words, "--max-size", "320", "--no-credentials"]) == 0
        videos.append(out.read_bytes())
    assert videos[0] == videos[1] != videos[2]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--still", "--head-pose", "synthetic"], "contradict"),
        (["--head-pose", "reference"], "--ref-head-pose"),
        (["--ref-frames-from-zero"], "--ref-head-pose"),
        (["--still", "--ref-head-pose", "x.mp4"], "contradict"),
        (["--crop", "--no-crop"], "contradict"),
        (["--head-pose", "source"], "video"),
        (["--head-pose", "sideways"], "synthetic, still, reference, source"),
        (["--pupil-x", "40"], "-15 … 15"),
        (["--head-motion", "3"], "0 … 2"),
        (["--still", "--head-style", "classic"], "--head-style"),
        (["--face", "7"], "--face 7"),
    ],
)
def test_invalid_options_are_one_line_errors(capsys, tmp_path, voice, flags, expected):
    assert expected in error_of(capsys, "generate", PORTRAIT, voice, "-o", tmp_path / "o.mp4", *flags)
    assert not list(tmp_path.iterdir())


def test_unwritable_outputs_are_refused(capsys, tmp_path, voice):
    existing = tmp_path / "existing.mp4"
    existing.write_bytes(b"mine")
    assert "--overwrite" in error_of(capsys, "generate", PORTRAIT, voice, "-o", existing)
    assert existing.read_bytes() == b"mine"
    assert "mkdir" in error_of(capsys, "generate", PORTRAIT, voice, "-o", tmp_path / "no" / "o.mp4")
    assert "missing.png" in error_of(capsys, "generate", tmp_path / "missing.png", voice, "-o", tmp_path / "o.mp4")
    assert main(["generate", str(PORTRAIT), str(voice), "-o", str(existing), "--overwrite", "--quiet"]) == 0
    assert count_frames(existing) == 20


def test_debug_prints_the_traceback(capsys, tmp_path, voice):
    words = ["generate", str(tmp_path / "none.png"), str(voice), "-o", str(tmp_path / "o.mp4")]
    assert main([*words, "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_run_removes_its_files(tmp_path, how):
    voice = write_wav(tmp_path / "long.wav", syllables(60))
    command = [
        sys.executable,
        "-m",
        "liveportrait_talker",
        "generate",
        PORTRAIT,
        voice,
        "-o",
        tmp_path / "out" / "o.mp4",
    ]
    (tmp_path / "out").mkdir()
    with subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while not list((tmp_path / "out").iterdir()) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(how)
        try:
            _, errors = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()  # leaving the block waits for the process
            raise
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert not list((tmp_path / "out").iterdir())


UNUSUAL_SOURCES = [
    "two_faces.jpg",
    "rgb_16bit.png",
    "gray.png",
    "palette.png",
    "rgba.png",
    "cmyk.jpg",
    "exif_rotated.jpg",
    "animated.gif",
    "portrait.webp",
    "portrait.avif",
    "portrait.heic",
    "odd_321x241.png",
    "huge_8000x6000.jpg",
    "odd_321x241.mp4",
    "rotated_by_metadata.mp4",
    "variable_rate.mp4",
    "truncated.mp4",
]
INVALID_SOURCES = [
    "empty.png",
    "truncated.png",
    "text_renamed.jpg",
    "no_face.jpg",
    "one_pixel.png",
    "audio_only.mp4",
    "no_face.mp4",
    "truncated_no_index.mp4",
    "u8.wav",
]


@needs_shared
@pytest.mark.parametrize("name", UNUSUAL_SOURCES)
def test_unusual_sources_are_accepted(tmp_path, voice, name):
    out = tmp_path / "o.mp4"
    words = [] if name.endswith((".mp4", ".gif")) else ["--fps", "5"]  # few frames of still images
    assert main(["generate", str(DATA / "bad" / name), str(voice), "-o", str(out), "--quiet", *words]) == 0
    assert os.listdir(tmp_path) == ["o.mp4"]
    with av.open(str(out)) as file:
        frames = [f.to_ndarray(format="rgb24") for f in file.decode(video=0)]
        rate = float(file.streams.video[0].average_rate)
    assert len(frames) / rate == pytest.approx(0.8, abs=1 / rate)
    assert max(p.std() for p in frames) > 10
    if name == "exif_rotated.jpg":
        assert frames[0].shape[0] > frames[0].shape[1]
    if name == "huge_8000x6000.jpg":
        assert frames[0].shape == (1920, 2560, 3)


@needs_shared
@pytest.mark.parametrize("name", INVALID_SOURCES)
def test_invalid_sources_are_one_line_errors(capsys, tmp_path, voice, name):
    assert name in error_of(capsys, "generate", DATA / "bad" / name, voice, "-o", tmp_path / "o.mp4")
    assert not list(tmp_path.iterdir())


@needs_shared
@pytest.mark.parametrize("name", ["zero_samples.wav", "20ms.wav", "no_audio.mp4", "empty.png", "gray.png"])
def test_invalid_voices_are_one_line_errors(capsys, tmp_path, name):
    assert name in error_of(capsys, "generate", PORTRAIT, DATA / "bad" / name, "-o", tmp_path / "o.mp4")
    assert not list(tmp_path.iterdir())


@needs_shared
@pytest.mark.parametrize(
    "name", ["u8.wav", "s24.wav", "stereo_48k.mp3", "silence_2s.wav", "nan_float.wav", "audio_only.mp4"]
)
def test_unusual_voices_are_accepted(tmp_path, name):
    out = tmp_path / "o.mp4"
    assert main(["generate", str(PORTRAIT), str(DATA / "bad" / name), "-o", str(out), "--quiet", "--fps", "10"]) == 0
    with av.open(str(out)) as file:
        assert file.streams.audio
        assert all(np.isfinite(f.to_ndarray()).all() for f in file.decode(audio=0))


@needs_shared
def test_face_number_selects_a_face(tmp_path, voice):
    moved = []
    for face in (1, 2):
        out = tmp_path / f"{face}.mp4"
        words = ["generate", str(DATA / "bad" / "two_faces.jpg"), str(voice), "-o", str(out), "--face", str(face)]
        assert main([*words, "--quiet", "--still", "--quality", "5"]) == 0
        with av.open(str(out)) as file:
            frames = np.stack([f.to_ndarray(format="gray") for f in file.decode(video=0)]).astype(float)
        change = frames.std(axis=0)
        moved.append((change[:, :450].mean(), change[:, 450:].mean()))
    assert moved[0][0] > 3 * moved[0][1]  # the larger face is on the left
    assert moved[1][1] > 3 * moved[1][0]


def test_doctor_lists_renderers(capsys):
    assert main(["doctor"]) == 0
    assert "renderer embedded: ready" in capsys.readouterr().out


def test_bench_reports_stages(capsys):
    assert main(["bench", str(PORTRAIT), "--frames", "30", "--json", "--quiet"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["frames"] == 30 and table["frames_per_second"] > 0
    assert {s["name"] for s in table["stages"]} >= {"find the face", "voice to mouth", "draw", "encode"}


def test_version_is_printed():
    from liveportrait_talker import __version__

    done = run("--version")
    assert re.fullmatch(rf"liveportrait-talker {re.escape(__version__)}\n", done.stdout)


@pytest.mark.parametrize("seconds", [None, 0.2])
def test_source_without_a_face_is_a_one_line_error(capsys, tmp_path, voice, seconds):
    """An image and a video. docs/earlier_systems.md, defects 1 and 78."""
    grey = np.full((120, 160, 3), 130, np.uint8)
    if seconds is None:
        source = tmp_path / "wall.png"
        Image.fromarray(grey).save(source)
    else:
        source = tmp_path / "wall.mp4"
        with VideoWriter(source, size=(160, 120), fps=25, voice=None, frame_count=5, title="", comment="") as video:
            for _ in range(5):
                video.write(grey)
    message = error_of(capsys, "generate", source, voice, "-o", tmp_path / "o.mp4")
    assert f"no face found in {source.name} (160×120)" in message
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_missing_arguments_are_named(capsys):
    """docs/earlier_systems.md, defect 15."""
    with pytest.raises(SystemExit) as caught:
        main(["generate"])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and "SOURCE" in message and message.count("\n") == 1
    assert "VOICE" in error_of(capsys, "generate", "face.png")


def test_voice_is_accepted_after_options(capsys, tmp_path):
    """argparse alone accepts positional arguments only in one group."""
    voice = tmp_path / "nothing.wav"
    assert "nothing.wav" in error_of(capsys, "generate", PORTRAIT, "-o", tmp_path / "o.mp4", "--fps", "25", voice)
    assert "contradict" in error_of(capsys, "generate", PORTRAIT, "--text", "hello", voice)
    with pytest.raises(SystemExit, match="2"):
        main(["generate", str(PORTRAIT), "-o", "o.mp4", "one.wav", "two.wav"])
    assert "unrecognized arguments: one.wav two.wav;" in capsys.readouterr().err


def test_default_output_name_has_both_stems(tmp_path, voice, monkeypatch):
    """Also, the image keeps its size and its edges. docs/earlier_systems.md, defects 45 and 55."""
    monkeypatch.chdir(tmp_path)
    image = np.pad(np.asarray(Image.open(PORTRAIT).convert("RGB").resize((256, 256))), ((0, 0), (40, 60), (0, 0)))
    Image.fromarray(image).save("a.b.png")
    shutil.copy(voice, "c.d.wav")
    assert main(["generate", "a.b.png", "c.d.wav", "--quiet", "--fps", "5", "--renderer", "embedded"]) == 0
    with av.open("a.b_c.d.mp4") as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert [frame.shape for frame in frames] == [image.shape] * 4
    assert all(np.abs(frame[:, [5, -5]].astype(int) - image[:, [5, -5]]).mean() < 4 for frame in frames)


def test_command_line_defaults_equal_those_of_the_library():
    parser = argparse.ArgumentParser()
    add_options(parser, TalkOptions)
    assert options_from(TalkOptions, parser.parse_args([])) == TalkOptions()
    words = ["--mouth-from", "a.png", "b.mp4", "--teeth-brightness", "-0.5", "--mouth-from", "c.png"]
    given = TalkOptions(mouth_from=("a.png", "b.mp4", "c.png"), teeth_brightness=-0.5)
    assert options_from(TalkOptions, parser.parse_args(words)) == given
    assert options_from(TalkOptions, parser.parse_args([])) == TalkOptions(), "the default is not extended"


def test_table_of_the_neural_benchmark(capsys):
    """The arithmetic; tests/test_readme.py runs the command."""
    from liveportrait_talker.cli.bench.neural import NeuralTable

    table = NeuralTable(
        device="cpu",
        plain="fp32",
        fast="bf16",
        path="not compiled",
        batch_size=1,
        warm_up_s=1.0,
        plain_ms={"W": 2000.0, "G": 4000.0, "F": 400.0, "M": 100.0, "frame": 6000.0},
        fast_ms={"W": 500.0, "G": 1000.0, "frame": 1500.0},
        ceiling_gflops={"fp32": 200.0, "bf16": 1645.0},
        copy_gbps=30.0,
        peak_mb=2000.0,
    )
    assert (table.ratio, table.share_of_ceiling) == (4, pytest.approx(0.5, rel=1e-3))
    assert table.as_json()["ratio"] == 4
    assert re.search(r"^frame +1234 +6000 ms +1500 ms +4\.00$", str(table), re.M)
    assert "bench needs a PICTURE" in error_of(capsys, "bench")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--live", "--renderer", "neural"], "needs a PICTURE"),
        (["--live"], "needs a PICTURE"),
        (["a.png", "--renderer", "hybrid"], "add --live"),
    ],
)
def test_bench_refuses_in_one_sentence(words, reason, capsys):
    from liveportrait_talker.cli.main import main as run

    assert run(["bench", *words]) == 2
    assert reason in capsys.readouterr().err
