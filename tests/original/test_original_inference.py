"""`inference.py` of the 2024 original, with a fake `Talker`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liveportrait_talker.errors import OptionError
from liveportrait_talker.media import VideoWriter
from liveportrait_talker.options.talk import TalkOptions
from liveportrait_talker.original import inference
from liveportrait_talker.pipelines import talk as pipeline
from sounds import syllables, write_wav

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "examples" / "config.yaml"
AS_ORIGINAL = TalkOptions(
    renderer="neural",
    driver="learned",
    head_style="classic",
    blink=True,
    gaze="still",
    normalize_lip=False,
    precision="fp32",
    batch_size=2,
    fps=25.0,
)


class Recorder:
    """A fake `Talker` that records its arguments and writes a placeholder for the video."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.error: BaseException | None = None

    def __call__(self, renderer: object = None, driver: object = None, *, weights: Any = None) -> Recorder:
        self.weights = dict(weights)
        return self

    def save(self, source, voice, out, options, *, on_progress, overwrite=False):
        self.runs.append({"source": source, "voice": voice, "out": out, "options": options, "overwrite": overwrite})
        on_progress("drawing", 1, 1)
        if self.error is not None:
            raise self.error
        assert not out.exists() and out.parent.is_dir()
        out.write_bytes(b"video")
        return pipeline.TalkReport(
            path=out,
            renderer="neural",
            renderer_reason="as asked for",
            driver="learned",
            driver_reason="as asked for",
            frames=20,
            fps=25,
            size=(64, 64),
            elapsed_seconds=1.0,
            seed=0,
            options=options,
        )

    @property
    def options(self) -> TalkOptions:
        return self.runs[-1]["options"]


@pytest.fixture
def talker(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(pipeline, "Talker", recorder)
    return recorder


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a picture, a voice and a video."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "portrait.png", "face.png")
    write_wav(tmp_path / "voice.wav", syllables(0.4))
    write_video(tmp_path / "clip.mp4")
    return tmp_path


def write_video(path: Path) -> None:
    with VideoWriter(
        path, size=(64, 64), fps=30.0, voice=None, frame_count=3, title="a clip", comment="a clip"
    ) as writer:
        for shade in (60, 120, 180):
            writer.write(np.full((64, 64, 3), shade, np.uint8))


def call(*words: object, config: Path = CONFIG, source: object = "face.png", audio: object = "voice.wav") -> int:
    inputs = ["--config_path", config, "--source_path", source, "--audio_path", audio]
    return inference.main([str(word) for word in (*inputs, *words)])


def config_with(workdir: Path, text: str) -> Path:
    path = workdir / "config.yaml"
    path.write_text(f"inference: {text}\n")
    return path


def changed(**values: Any) -> TalkOptions:
    """Return the options of the original's defaults, changed by `values`."""
    return TalkOptions(**{name: getattr(AS_ORIGINAL, name) for name in AS_ORIGINAL.__dataclass_fields__} | values)


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the single error line of standard error."""
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error:")]
    assert len(errors) == 1 and "Traceback" not in "".join(lines)
    return errors[0]


def test_a_picture(talker, workdir, capsys):
    assert call("--save_path", "results") == 0
    assert talker.options == AS_ORIGINAL
    assert talker.weights == {}
    (run,) = talker.runs
    assert (run["source"], run["voice"], run["overwrite"]) == (Path("face.png"), Path("voice.wav"), False)
    printed = capsys.readouterr()
    assert str(run["out"]) in printed.out and "error" not in printed.err


def test_a_video_keeps_its_head_motion_and_blinks(talker, workdir):
    assert call(source="clip.mp4") == 0
    assert talker.options == changed(head_style="natural", blink=None)


@pytest.mark.parametrize(
    ("words", "source", "expected"),
    [
        (["--still"], "face.png", {"still": True, "head_style": "natural"}),
        (["--still"], "clip.mp4", {"still": True, "head_style": "natural", "blink": None}),
        (
            ["--ref_head_pose_path", "clip.mp4"],
            "face.png",
            {"ref_head_pose": Path("clip.mp4"), "head_style": "natural"},
        ),
        (
            ["--ref_head_pose_path", "clip.mp4", "--ref_frames_from_zero"],
            "clip.mp4",
            {
                "ref_head_pose": Path("clip.mp4"),
                "ref_frames_from_zero": True,
                "head_style": "natural",
                "blink": None,
            },
        ),
        (["--pupil_x", "7.5", "--pupil_y", "-3"], "face.png", {"pupil_x": 7.5, "pupil_y": -3.0}),
        (["--pupil_x=-1e1"], "face.png", {"pupil_x": -10.0}),
        (["--no_crop"], "face.png", {"crop_to_face": False}),
    ],
)
def test_flags(words, source, expected, talker, workdir):
    assert call(*words, source=source) == 0
    assert talker.options == changed(**expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{device: cpu}", {"device": "cpu"}),
        ("{device: cuda}", {"device": "cuda"}),
        ("{device: mps}", {"device": "mps"}),
        ("{device: auto}", {}),
        ("{fps: 30}", {"fps": 30.0}),
        ("{batch_size: 8}", {"batch_size": 8}),
        ("{preprocess: {use_blink: false}}", {"blink": False}),
        ("{audio2coeff: {flag_pose: true}}", {"head_pose": "audio", "head_style": "natural"}),
        ("{map2lp: {semantic_radius: 13}}", {"window_rows": 26}),
        (
            "{lp_render: {driving_smooth_observation_variance: 2e-4}}",
            {"driving_smooth_observation_variance": 2e-4},
        ),
        ("{lp_render: {driving_multiplier: 0.8}}", {"driving_multiplier": 0.8}),
        ("{lp_render: {liveportrait_cfg: {flag_use_half_precision: true}}}", {"precision": "auto"}),
    ],
)
def test_configuration(text, expected, talker, workdir):
    assert call(config=config_with(workdir, text)) == 0
    assert talker.options == changed(**expected)


def test_frame_rate_and_blinks_of_a_video(talker, workdir):
    assert call(config=config_with(workdir, "{fps: 30, preprocess: {use_blink: false}}"), source="clip.mp4") == 0
    assert (talker.options.fps, talker.options.blink) == (30.0, False)


@pytest.mark.parametrize(
    ("words", "source"),
    [(["--still"], "face.png"), (["--ref_head_pose_path", "clip.mp4"], "face.png"), ([], "clip.mp4")],
)
def test_flag_pose_without_effect_gives_a_note(words, source, talker, workdir, capsys):
    assert call(*words, config=config_with(workdir, "{audio2coeff: {flag_pose: true}}"), source=source) == 0
    assert talker.options.head_pose is None
    assert "note: inference.audio2coeff.flag_pose" in capsys.readouterr().err


def test_weights_reach_the_talker(talker, workdir):
    (workdir / "own.pt").touch()
    text = "{sadtalker_checkpoint_path: own.pt, lp_render: {checkpoint_S: ./own.pt}}"
    assert call(config=config_with(workdir, text)) == 0
    networks = "sadtalker_audio2exp sadtalker_audio2pose sadtalker_face_3drecon stitching retarget_eye retarget_lip"
    assert talker.weights == dict.fromkeys(networks.split(), Path("own.pt"))


@pytest.mark.parametrize(
    ("source", "audio", "folder", "start"),
    [
        ("face.png", "voice.wav", "face", "voice"),
        ("a.b.png", "c.d.wav", "a.b", "c.d"),
        ("my face.png", "my voice 'x' $(ls).wav", "my face", "my voice 'x' $(ls)"),
        ("ünï.PNG", "声.wav", "ünï", "声"),
        ("face", "voice", "face", "voice"),
        ("...png", "voice.wav", "...png", "voice"),
    ],
)
def test_output_names(source, audio, folder, start, talker, workdir):
    Path(workdir / "face.png").rename(workdir / source)
    Path(workdir / "voice.wav").rename(workdir / audio)
    before = datetime.now().replace(microsecond=0)
    assert call("--save_path", "my results/deep", source=source, audio=audio) == 0
    out = talker.runs[0]["out"]
    assert out.parent == Path("my results/deep") / folder
    match = re.fullmatch(re.escape(start) + r"_(\d{8}-\d{6})\.mp4", out.name)
    assert match and before <= datetime.strptime(match[1], "%d%m%Y-%H%M%S") <= datetime.now()
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_results_go_to_outputs_by_default(talker, workdir):
    assert call() == 0
    assert talker.runs[0]["out"].parent == Path("outputs/face")


def freeze(monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Frozen:
            return cls(2024, 12, 31, 23, 59, 1)

    monkeypatch.setattr(inference, "datetime", Frozen)


def test_existing_names_get_a_number(talker, workdir, monkeypatch):
    freeze(monkeypatch)
    assert [call() for _ in range(3)] == [0, 0, 0]
    names = [run["out"].name for run in talker.runs]
    assert names == [f"voice_31122024-235901{end}.mp4" for end in ("", "_2", "_3")]
    assert sorted(path.name for path in (workdir / "outputs" / "face").iterdir()) == sorted(names)


def test_concurrent_runs_use_different_names(workdir, monkeypatch):
    freeze(monkeypatch)
    barrier, names = threading.Barrier(4), []

    def one() -> None:
        with inference._output(Path("outputs"), Path("face.png"), Path("voice.wav")) as out:
            barrier.wait(timeout=20)
            names.append(out)
            barrier.wait(timeout=20)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 4


@pytest.mark.parametrize("error", [OptionError("no"), KeyboardInterrupt(), RuntimeError("no")])
def test_a_failed_run_leaves_no_files(error, talker, workdir, capsys):
    talker.error = error
    before = sorted(workdir.iterdir())
    code = call("--save_path", "results/deep")
    assert code == {OptionError: 2, KeyboardInterrupt: 130, RuntimeError: 1}[type(error)]
    assert sorted(workdir.iterdir()) == before
    assert "Traceback" not in capsys.readouterr().err


def test_a_failed_run_keeps_existing_folders(talker, workdir):
    (workdir / "outputs" / "face").mkdir(parents=True)
    talker.error = OptionError("no")
    assert call() == 2
    assert (workdir / "outputs" / "face").is_dir()


def test_debug_shows_the_traceback(talker, workdir, capsys):
    talker.error = RuntimeError("no")
    assert call("--debug") == 1
    assert "Traceback" in capsys.readouterr().err


def test_quiet(talker, workdir, capsys):
    assert call("--quiet", config=config_with(workdir, "{preprocess: {liveportrait_input_shape: 256}}")) == 0
    assert capsys.readouterr() == ("", "")


def test_a_key_without_effect_gives_a_note(talker, workdir, capsys):
    assert call(config=config_with(workdir, "{preprocess: {liveportrait_input_shape: 256}}")) == 0
    assert "note: without effect in config.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text", "sentence"),
    [
        (["--still", "--ref_head_pose_path", "clip.mp4"], "{}", "--ref_head_pose_path and --still contradict"),
        (["--pupil_x", "16"], "{}", "--pupil_x 16.0 is out of range: give -15 … 15"),
        (["--pupil_y", "nan"], "{}", "--pupil_y nan is out of range"),
        ([], "{device: tpu}", "inference.device tpu is not known: choose one of auto"),
        ([], "{fps: 0}", "inference.fps 0.0 is out of range"),
        ([], "{batch_size: 0}", "inference.batch_size 0 is out of range"),
        ([], "{map2lp: {semantic_radius: 5}}", "2 × inference.map2lp.semantic_radius 10 is out of range"),
        ([], "{lp_render: {driving_multiplier: 9}}", "inference.lp_render.driving_multiplier 9.0 is out of range"),
        ([], "{preprocess: {speech_rate: 8000}}", "inference.preprocess.speech_rate in config.yaml is 8000"),
        ([], "{fsp: 25}", "did you mean inference.fps?"),
        ([], "{map2lp: {mappingnet_model_path: ./nothing.pt}}", "nothing.pt"),
        (["--save_path", "face.png"], "{}", "give another --save_path"),
    ],
)
def test_errors_use_the_names_of_this_command(words, text, sentence, talker, workdir, capsys):
    assert call(*words, config=config_with(workdir, text)) == 2
    assert sentence in error_line(capsys)
    assert not talker.runs


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"source": "nothing.png"}, "nothing.png does not exist"),
        ({"source": "voice.wav"}, "voice.wav"),
        ({"config": Path("nothing.yaml")}, "there is no file nothing.yaml"),
    ],
)
def test_missing_inputs(inputs, sentence, talker, workdir, capsys):
    before = sorted(workdir.iterdir())
    assert call(**inputs) == 2
    assert sentence in error_line(capsys)
    assert not talker.runs and sorted(workdir.iterdir()) == before


def test_flags_in_errors_are_translated(talker, workdir, capsys):
    talker.error = OptionError("device cuda is not here: give --device auto.")
    assert call() == 2
    assert "give inference.device auto." in error_line(capsys)


@pytest.mark.parametrize("flag", ["--config_path", "--source_path", "--audio_path"])
def test_required_flags(flag, talker, capsys):
    words = ["--config_path", "c", "--source_path", "s", "--audio_path", "a"]
    at = words.index(flag)
    with pytest.raises(SystemExit) as caught:
        inference.main(words[:at] + words[at + 2 :])
    assert caught.value.code == 2
    assert flag in error_line(capsys)


@pytest.mark.parametrize("words", [["--pupil_x", "left"], ["--pupil_x"], ["--stil_l"], ["face.png"]])
def test_invalid_flags(words, talker, workdir, capsys):
    with pytest.raises(SystemExit) as caught:
        call(*words)
    assert caught.value.code == 2
    error_line(capsys)


def test_help():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['inference.py', '--help']\n"
        "try: runpy.run_path('inference.py', run_name='__main__')\n"
        "except SystemExit as caught: assert not caught.code\n"
        "heavy = {'cv2', 'numba', 'av', 'torch', 'tqdm', 'omegaconf'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    flags = (
        "config_path source_path audio_path save_path no_crop still pupil_x pupil_y ref_head_pose_path "
        "ref_frames_from_zero"
    )
    for flag in flags.split():
        assert f"--{flag}" in done.stdout


def test_the_script_reports_an_error(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "inference.py"),
            "--config_path",
            "none.yaml",
            "--source_path",
            "a",
            "--audio_path",
            "b",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no file none.yaml") and "Traceback" not in done.stderr
