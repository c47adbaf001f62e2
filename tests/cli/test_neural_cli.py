"""The command line with the neural renderer and synthetic weights.

The images are noise, so the tests check which frames are made, by which engine and where in the image. A frame takes
seconds, so most runs have noise drawn without the networks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

pytest.importorskip("torch")

from liveportrait_talker import Talker, TalkOptions
from liveportrait_talker.cli.main import main
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.liveportrait_crop import portrait_crop
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import open_footage
from liveportrait_talker.render.neural.liveportrait import LivePortrait
from liveportrait_talker.system.devices import has_bf16
from liveportrait_talker.weights.importing import load_network
from sounds import syllables, write_wav

pytestmark = pytest.mark.slow  # the networks at full size
FAST = ("--fps", "2")  # two frames for a voice of 1 s
LOAD = LivePortrait.load


@pytest.fixture(autouse=True)
def installed(store, shared_networks, monkeypatch) -> None:
    monkeypatch.setenv("LPT_MODELS", str(store))


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("media")
    image = open_footage(PORTRAIT, max_side=320)[0]
    clip = folder / "clip.mp4"
    with av.open(str(clip), "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuv420p"
        for k in range(10):
            shifted = np.roll(image, k % 5, axis=1)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(shifted, format="rgb24")))
        file.mux(stream.encode(None))
    return {"clip": clip, "voice": write_wav(folder / "voice.wav", syllables(1))}


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def generate(capsys: pytest.CaptureFixture[str], out: Path, *words: object) -> dict[str, Any]:
    """Run the command, check the video and return the report."""
    assert main(["generate", *map(str, words), "-o", str(out), "--json", *FAST]) == 0
    report = json.loads(capsys.readouterr().out)
    with av.open(str(out)) as file:
        assert (
            "AI-generated" in file.metadata["title"] and f"({report['renderer']} renderer)" in file.metadata["comment"]
        )
    assert len(decode(out)) == report["frames"] == 2
    return report


@pytest.mark.parametrize(
    "mode",
    [
        [],
        ["--still", "--no-blink", "--gaze", "still"],
        ["--head-style", "classic", "--neutral-mouth", "first", "--window-rows", "29"],
        ["--head-pose", "audio", "--pose-style", "45"],
        ["--ref-head-pose", "CLIP", "--ref-blink", "CLIP", "--ref-frames-from-zero"],
        ["--yaw", "0", "15", "--pitch", "-5", "--roll", "3", "--driver", "signal"],
        ["--crop", "--crop-scale", "2.6", "--crop-vx", "0.05", "--crop-vy", "-0.1"],
        ["--no-crop", "--no-stitching", "--driving-multiplier", "0.8", "--no-normalize-lip", "--batch-size", "2"],
    ],
    ids=lambda mode: " ".join(mode)[:40] or "default",
)
def test_option_combinations_for_an_image(media, tmp_path, capsys, mode, request):
    if mode:
        request.getfixturevalue("draw_noise")
    words = [media["clip"] if word == "CLIP" else word for word in mode]
    report = generate(capsys, tmp_path / "out.mp4", PORTRAIT, media["voice"], *words, "--max-size", "400")
    assert (report["renderer"], report["renderer_reason"]) == ("neural", "its weights are installed")
    assert report["driver"] == ("signal" if "signal" in mode else "learned")
    assert report["size"] == ([512, 512] if "--crop" in mode else [400, 400])
    frames = [frame.astype(int) for frame in decode(tmp_path / "out.mp4")]
    source = open_footage(PORTRAIT, max_side=400)[0].astype(int)
    if "--crop" not in mode and "--no-crop" not in mode:
        crop = portrait_crop(track(open_footage(PORTRAIT, max_side=400)).faces[0].landmarks)
        yy, xx = np.mgrid[:400, :400]
        at = np.stack([xx, yy, np.ones_like(xx)], axis=-1) @ crop.to_crop.T
        outside = (at[..., :2] < -8).any(axis=-1) | (at[..., :2] > 520).any(axis=-1)
        assert outside.any() and np.abs(frames[1] - source)[outside].mean() < 4  # unchanged except for encoding
        assert np.abs(frames[1] - source)[~outside].mean() > 20  # noise from the networks


def test_video_source(media, tmp_path, capsys, draw_noise):
    for words in ([], ["--ref-head-pose", PORTRAIT, "--blink"]):
        report = generate(capsys, tmp_path / "out.mp4", media["clip"], media["voice"], "--overwrite", *words)
        assert report["renderer"] == "neural" and report["driver"] == "learned"


def test_embedded_renderer_with_the_learned_driver(media, tmp_path, capsys):
    words = ("--renderer", "embedded", "--driver", "learned", "--max-size", "300")
    assert main(["generate", str(PORTRAIT), str(media["voice"]), "-o", str(tmp_path / "a.mp4"), "--json", *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["renderer"], report["driver"], report["frames"]) == ("embedded", "learned", 25)


def test_seed_determines_the_keypoints(media, monkeypatch):
    """The networks are replaced by an image of their input, the keypoints."""

    def draw_keypoints(networks, features, source, driving):
        shades = np.abs(np.asarray(driving).reshape(len(driving), -1) * 1e4).astype(np.int64) % 256
        rows = np.stack([np.resize(row, 512) for row in shades])
        return np.repeat(np.repeat(rows[:, :, None, None], 512, axis=2), 3, axis=3).astype(np.uint8)

    monkeypatch.setattr("liveportrait_talker.render.neural.liveportrait.LivePortrait.draw", draw_keypoints)

    talker = Talker()

    def frames(seed: int) -> list[np.ndarray]:
        options = TalkOptions(fps=2, max_size=300, seed=seed, head_pose="audio")
        return list(talker.frames(PORTRAIT, media["voice"], options))

    one, again, other = frames(1), frames(1), frames(2)
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[1], other[1])


@pytest.mark.skipif(not has_bf16(), reason="this CPU has no bf16; emulation takes minutes")
def test_bf16_is_close_to_fp32(media):
    """PSNR ≥ 40 dB of the cropped face."""
    frame = {}
    for precision in ("fp32", "bf16"):
        options = TalkOptions(fps=1, crop=True, precision=precision)
        (frame[precision],) = Talker().frames(PORTRAIT, media["voice"], options)
    error = np.square(frame["fp32"].astype(float) - frame["bf16"]).mean()
    assert 10 * np.log10(255**2 / error) >= 40


def test_given_weights_replace_the_installed_ones(media, released, draw_noise, monkeypatch, tmp_path):
    monkeypatch.setenv("LPT_MODELS", str(tmp_path / "empty"))
    base, mlps = released / "liveportrait" / "base_models", released / "liveportrait" / "retargeting_models"
    weights = {
        name: base / f"{name}.pth"
        for name in ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator")
    }
    weights |= dict.fromkeys(("stitching", "retarget_eye", "retarget_lip"), mlps / "stitching_retargeting_module.pth")
    options = TalkOptions(fps=1, max_size=300, renderer="neural")
    networks, loaded = "liveportrait_talker.render.neural.liveportrait", {}

    def load(name, build, *, file):
        loaded[name] = file
        return load_network(name, build, file=file)

    monkeypatch.setattr(f"{networks}.load_network", load)
    monkeypatch.setattr(f"{networks}.build_fast_network", lambda net, *_: net)  # takes ten seconds
    monkeypatch.setattr(f"{networks}.LivePortrait.load", LOAD)
    assert len(list(Talker(weights=weights).frames(PORTRAIT, media["voice"], options))) == 1
    assert loaded == weights


MEMORY = """
import resource, sys
import numpy as np
from liveportrait_talker import Talker, TalkOptions
from liveportrait_talker.render.neural.liveportrait import LivePortrait
# Everything but the two networks that draw runs for each frame. Their memory would hide a growth.
def draw_nothing(self, features, source, driving):
    return np.full((len(driving), 512, 512, 3), 128, np.uint8)
LivePortrait.draw = draw_nothing
LivePortrait.load = lambda self: self
source, voice = sys.argv[1:]
frames = sum(1 for _ in Talker().frames(source, voice, TalkOptions(fps=10, max_size=300, head_pose="audio")))
print(frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_voice(tmp_path):
    """The peak for a voice of 20 s is at most 1.10 times that for 5 s."""
    peak = {}
    for seconds in (5, 20):
        voice = write_wav(tmp_path / f"{seconds}.wav", syllables(seconds))
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, str(PORTRAIT), str(voice)], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        frames, peak[seconds] = map(int, done.stdout.split())
        assert frames == 10 * seconds
    assert peak[20] <= 1.10 * peak[5]
