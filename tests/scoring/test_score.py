"""`score` on whole files: faults are found, figures are those of the shared tools, and bad input is refused."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from liveportrait_talker import ScoreOptions, Talker, TalkOptions, score_video
from liveportrait_talker.cli.main import main
from liveportrait_talker.errors import MediaError, NoFaceError
from liveportrait_talker.examples import PORTRAIT, VOICE
from liveportrait_talker.face.mouth_offsets import subtract_source_mouth
from liveportrait_talker.media import VideoWriter, read_waveform
from liveportrait_talker.scoring.figures import FIGURES, human_ranges
from measuring import decode
from shared import DATA, load_tool, needs_shared
from sounds import write_wav

SIDE, FPS = 256, 25.0
MEDIAPIPE_FIGURES = Path(__file__).with_name("mediapipe_figures.json")


class ShutMouth:
    """A driver that does not move the mouth."""

    def drive(self, voice, source, fps):
        return subtract_source_mouth(np.zeros((voice.frame_count(fps), 5)), source, fps)


def write_video(path: Path, frames, voice: Path | None) -> Path:
    height, width = frames[0].shape[:2]
    with VideoWriter(
        path, size=(width, height), fps=FPS, voice=voice, frame_count=len(frames), crf=14, title="", comment=""
    ) as video:
        for frame in frames:
            video.write(frame)
    return path


@pytest.fixture(scope="module")
def voice(tmp_path_factory) -> Path:
    """9.6 s of speech."""
    samples = np.tile(read_waveform(VOICE).samples, 2)[: round(9.6 * 16_000)]
    return write_wav(tmp_path_factory.mktemp("voice") / "voice.wav", samples)


@pytest.fixture(scope="module")
def talking(tmp_path_factory, voice) -> Path:
    """The example portrait, drawn by the embedded renderer."""
    out = tmp_path_factory.mktemp("talking") / "talking.mp4"
    Talker().save(PORTRAIT, voice, out, TalkOptions(renderer="embedded", max_size=SIDE))
    return out


@pytest.fixture(scope="module")
def talking_score(talking):
    return score_video(talking)


def names_of(score) -> set[str]:
    return {finding.figure.name for finding in score.findings}


def test_a_talking_portrait_has_no_gross_fault(talking_score):
    assert abs(talking_score.figures["offset_ms"]) <= 40 and talking_score.figures["offset_error_ms"] <= 20
    assert not names_of(talking_score) & {"offset_ms", "sound_r", "aperture_range", "blink_gap_s", "shake_pct"}
    assert talking_score.not_measured == {}
    assert {figure.name for figure in FIGURES if figure.is_judged} == set(human_ranges())


def test_moved_sound_is_found(talking, voice, tmp_path):
    late = np.pad(read_waveform(voice).samples, (round(0.08 * 16_000), 0))
    frames, _ = decode(talking)
    score = score_video(write_video(tmp_path / "moved.mp4", frames, write_wav(tmp_path / "late.wav", late)))
    assert score.figures["offset_ms"] == pytest.approx(-80, abs=35)
    assert "ahead of the sound" in score.verdict


def test_added_jitter_is_found(talking, voice, tmp_path):
    rng, (frames, _) = np.random.default_rng(0), decode(talking)
    iod = 0.24 * SIDE
    moves = rng.normal(0, 0.015 * iod, (len(frames), 2))
    shaken = [
        cv2.warpAffine(frame, np.array([[1, 0, x], [0, 1, y]]), (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
        for frame, (x, y) in zip(frames, moves, strict=True)
    ]
    score = score_video(write_video(tmp_path / "shaken.mp4", shaken, voice))
    assert "shakes from frame to frame" in score.verdict


def test_a_frozen_mouth_and_open_eyes_are_found(voice, tmp_path):
    out = tmp_path / "frozen.mp4"
    options = TalkOptions(renderer="embedded", max_size=SIDE, blink=False)
    Talker(driver=ShutMouth()).save(PORTRAIT, voice, out, options)
    score = score_video(out)
    assert {"aperture_range", "blink_gap_s", "blinks_per_min"} <= names_of(score)
    assert "mouth hardly moves" in score.verdict and "blink" in score.verdict


def test_table_json_and_plot(talking, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cut = write_video(tmp_path / "silent.mp4", decode(talking)[0][:50], None)
    assert main(["score", str(cut), "--source", str(PORTRAIT), "--plot", "curves.png"]) == 0
    table = capsys.readouterr().out
    assert "human" in table and "there is no sound" in table and "Doughty 2001" in table and "plot: curves.png" in table
    assert cv2.imread("curves.png").shape[1] == 1200
    assert main(["score", str(cut), str(cut), "--truth", str(talking), "--json"]) == 0
    reports = json.loads(capsys.readouterr().out)["videos"]
    assert len(reports) == 2
    figures = reports[0]["figures"]
    assert figures["r_aperture0"]["value"] > 0.99 and figures["mouth_ssim"]["value"] > 0.9
    assert figures["shake_pct"]["inside"] and figures["shake_pct"]["human"]["source"]
    assert reports[0]["not_measured"]["offset_ms"] == "there is no sound"


def test_without_a_face_nothing_of_it_is_measured(tmp_path, voice):
    picture = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    score = score_video(write_video(tmp_path / "noise.mp4", [picture] * 30, voice))
    assert score.verdict.startswith("No face was found")
    assert score.not_measured["aperture_range"] == "no face was found" and names_of(score) == {"valid_pct"}
    assert {"border_psnr_db", "av_diff_ms", "valid_pct"} == set(score.figures)


def test_mistakes_are_told_in_one_sentence(talking, tmp_path, capsys):
    silent = write_video(tmp_path / "short.mp4", decode(talking)[0][:5], None)
    with pytest.raises(MediaError, match="is a picture"):
        score_video(PORTRAIT)
    with pytest.raises(NoFaceError, match="--face 3 does not exist"):
        score_video(silent, options=ScoreOptions(face=3))
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    nobody = write_video(tmp_path / "nobody.mp4", [noise] * 5, None)
    with pytest.raises(NoFaceError, match="nobody"):
        score_video(silent, source=nobody)
    with pytest.raises(NoFaceError, match="nobody"):
        score_video(silent, truth=nobody)
    plot = tmp_path / "plot.txt"
    for words in (["missing.mp4"], [str(silent), "--plot", str(plot)], [str(PORTRAIT)]):
        assert main(["score", *words]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not plot.exists()


def test_frames_are_taken_at_their_own_times(tmp_path, talking):
    """A video of uneven frame rate has the same motion as the even one."""
    frames, _ = decode(talking)
    uneven = tmp_path / "uneven.mp4"
    kept = [k for k in range(100) if k % 7 != 3]
    with av.open(str(uneven), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = SIDE, SIDE, "yuv420p", Fraction(1, 25)
        stream.codec_context.time_base = Fraction(1, 25)
        for k in kept:
            frame = av.VideoFrame.from_ndarray(frames[k], format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    even = score_video(write_video(tmp_path / "even.mp4", frames[:100], None))
    score = score_video(uneven)
    assert len(score.tracks) == 100
    assert np.abs(score.tracks.rotation_deg - even.tracks.rotation_deg).max() < 1.0
    assert score.figures["pose_speed"] == pytest.approx(even.figures["pose_speed"], rel=0.1)


@needs_shared
def test_figures_are_those_of_the_shared_tools():
    """The same landmarks, so that only the definitions are compared."""
    video, truth = (DATA / "talking" / f"grid_{name}.mp4" for name in ("bbaf2n", "lbbc2a"))
    score = score_video(video, truth=truth, source=video)
    expected = load_tool("sync_score").score(str(video), ref=str(truth), source=str(video))
    look = load_tool("mouth_look")
    pair = look.compare(look.clip(truth), look.clip(video))
    del pair["r_aperture"]  # on other frames than that of sync_score
    expected |= {key: value for key, value in pair.items() if value is not None}
    compared = set(expected) & set(score.figures) - {"av_diff_ms"}  # which counts the padding of AAC
    assert compared >= {"r_width", "blinks_per_min", "jitter_pct", "face_ncc_p05", "mouth_ssim", "teeth_dL"}
    # Frames are decoded with their own colour matrix here, and hulls are not rounded to 4 px.
    loose = {"inner_dE": 0.5, "teeth_dL": 1.2, "teeth_da": 1.2, "teeth_db": 1.2, "lag_ms": 10.1, "r_width": 0.02}
    wrong = {
        name: (score.figures[name], expected[name])
        for name in compared
        if score.figures[name] != pytest.approx(expected[name], rel=0.03, abs=loose.get(name, 0.01))
    }
    assert not wrong


@needs_shared
@pytest.mark.parametrize("clip", ["talking/grid_bbaf2n", "talking/vox_jamie"])
def test_figures_are_those_of_mediapipe(clip):
    """Stored: figures by ../shared/tools/sync_score.py with MediaPipe 0.10.21's landmarks."""
    expected = json.loads(MEDIAPIPE_FIGURES.read_text())[clip]
    figures = score_video(DATA / f"{clip}.mp4").figures
    wrong = {
        name: (figures[name], value)
        for name, value in expected.items()
        if figures[name] != pytest.approx(value, rel=0.05, abs=0.01)
    }
    assert not wrong
