"""A portrait follows another face, drawn by the embedded renderer: through the command line, and measured."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest
from PIL import Image

from liveportrait_talker.cli.main import main
from liveportrait_talker.errors import MediaError, OptionError
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.measurements import measure_faces
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from liveportrait_talker.motion.template import Template, load_template, save_template
from liveportrait_talker.pipelines.animate import AnimateOptions, Animator
from liveportrait_talker.pipelines.driving_clip import open_driving
from shared import DATA, meter, needs_shared, portrait

EMBEDDED = ("--renderer", "embedded", "--max-size", "384")


def correlation(a, b) -> float:
    n = min(len(a), len(b))
    fine = np.isfinite(a[:n]) & np.isfinite(b[:n])
    return float(np.corrcoef(a[:n][fine], b[:n][fine])[0, 1])


def read_back(frames) -> dict[str, np.ndarray]:
    seen = measure_faces(track(Footage.from_frames("made", frames, 25.0)))
    pitch, yaw, _ = seen.rotation_deg.T
    return {"pitch": pitch, "yaw": yaw, "aperture": seen.mouth[:, 0], "eyes": seen.eye_ratios.mean(axis=1)}


@pytest.fixture(scope="module")
def driven(driver) -> dict[str, np.ndarray]:
    with open_footage(driver) as footage:
        seen = measure_faces(track(footage))
    pitch, yaw, _ = seen.rotation_deg.T
    return {"pitch": pitch, "yaw": yaw, "aperture": seen.mouth[:, 0], "eyes": seen.eye_ratios.mean(axis=1)}


def test_the_command_line(driver, driven, tmp_path, capsys):
    out, kept = tmp_path / "out.mp4", tmp_path / "motion.npz"
    words = ["animate", str(PORTRAIT), str(driver), "-o", str(out), "--save-template", str(kept), *EMBEDDED]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["renderer"], report["frames"], report["fps"]) == ("embedded", 40, 25.0)
    assert report["sound"] is True and report["template"] == str(kept)
    with av.open(str(out)) as file:
        assert "AI-generated" in file.metadata["title"] and "(embedded renderer)" in file.metadata["comment"]
        assert file.streams.audio and float(file.duration) / 1e6 == pytest.approx(1.6, abs=0.1)
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    made = read_back(frames)
    assert correlation(made["yaw"], driven["yaw"]) >= 0.9
    assert correlation(made["pitch"], driven["pitch"]) >= 0.9
    assert correlation(made["aperture"], driven["aperture"]) >= 0.8
    assert correlation(made["eyes"], driven["eyes"]) >= 0.8
    stored = load_template(kept)
    assert stored.networks is None and len(stored) == 40
    assert main([*words]) == 2  # both are there already
    assert "exists already" in capsys.readouterr().err
    # The template does what the video did, in silence.
    assert main(["animate", str(PORTRAIT), str(kept), "-o", str(out), "--overwrite", *EMBEDDED]) == 0
    told = capsys.readouterr().out
    assert "40 frames" in told and "without sound" in told and "embedded renderer" in told
    options = AnimateOptions(renderer="embedded", max_size=384)
    from_video, from_template = (list(Animator().frames(PORTRAIT, d, options)) for d in (driver, kept))
    assert all(np.array_equal(a, b) for a, b in zip(from_video, from_template, strict=True))
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("region", ["all", "exp", "pose", "lip", "eyes"])
def test_every_region_moves_its_own(driver, region):
    options = AnimateOptions(renderer="embedded", max_size=384, animation_region=region)
    made = read_back(list(Animator().frames(PORTRAIT, driver, options)))
    moved = {name: float(np.ptp(values)) for name, values in made.items()}
    print(region, moved)
    assert (moved["yaw"] > 6) == (region in ("all", "pose"))
    assert (moved["aperture"] > 0.04) == (region in ("all", "exp", "lip"))
    assert (moved["eyes"] > 0.1) == (region in ("all", "exp", "eyes"))


def test_the_motion_is_multiplied_and_the_rate_is_chosen(driver):
    def made(**more):
        options = AnimateOptions(renderer="embedded", max_size=384, **more)
        return list(Animator().frames(PORTRAIT, driver, options))

    still = made(driving_multiplier=0.0, fps=5)
    assert len(still) == 8
    picture = open_footage(PORTRAIT, max_side=384)[0]
    assert all(np.array_equal(frame, picture) for frame in still)
    full, half = (float(np.ptp(read_back(made(driving_multiplier=m))["yaw"])) for m in (1.0, 0.5))
    assert half == pytest.approx(0.5 * full, rel=0.35)


def test_the_source_may_be_a_video(driver):
    frames = list(
        Animator().frames(driver, driver, AnimateOptions(renderer="embedded", animation_region="lip", fps=10))
    )
    assert len(frames) == 16 and np.ptp(read_back(frames)["aperture"]) > 0.04


def test_a_picture_that_follows_a_picture(driver, tmp_path, capsys):
    out = tmp_path / "out.png"
    with open_footage(driver) as footage:
        look = tmp_path / "look.png"
        Image.fromarray(footage[5]).save(look)  # the mouth is open
    assert main(["animate", str(PORTRAIT), str(look), "-o", str(out), "--absolute-motion", *EMBEDDED]) == 0
    with Image.open(out) as picture:
        assert picture.size[0] <= 384 and "AI-generated" in picture.text["Comment"]
    assert track(open_footage(out)).faces[0].aperture > 0.05
    assert main(["animate", str(PORTRAIT), str(look), "-o", str(tmp_path / "out.mp4"), *EMBEDDED]) == 2
    assert "rename the output" in capsys.readouterr().err
    assert main(["animate", str(PORTRAIT), str(driver), "-o", str(tmp_path / "clip.png"), *EMBEDDED]) == 2


def test_mistakes_are_told_in_one_sentence(driver, tmp_path, capsys):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    bare = tmp_path / "grey.png"
    Image.new("RGB", (200, 200), (90, 90, 90)).save(bare)
    (tmp_path / "bad.npz").write_bytes(b"PK")
    (tmp_path / "bad.pkl").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    out = tmp_path / "out.mp4"
    for words, said in (
        ([PORTRAIT, tmp_path / "none.mp4"], "does not exist"),
        ([PORTRAIT, text], "cannot be read|can be read"),
        ([PORTRAIT, bare, "--absolute-motion"], "no face found|rename the output"),
        ([bare, driver], "no face found"),
        ([PORTRAIT, tmp_path / "bad.npz"], "not a motion template"),
        ([PORTRAIT, tmp_path / "bad.pkl"], "not read as a motion template"),
        ([PORTRAIT, driver, "--driving-multiplier", "3"], "out of range"),
        ([PORTRAIT, driver, "--animation-region", "nose"], "choose one of"),
        ([PORTRAIT, driver, "--renderer", "embedded", "--no-stitching"], "--no-stitching is about the neural"),
        ([PORTRAIT, driver, "--renderer", "embedded", "--no-crop-driving"], "--no-crop-driving is about the neural"),
        ([PORTRAIT, driver, "--absolute-motion", "--normalize-lip"], "contradict"),
        ([PORTRAIT, driver, "--max-seconds", "0.5"], "the limit is 0.5"),
        ([PORTRAIT, driver, "--save-template", "motion.pkl"], "must end in .npz"),
        ([PORTRAIT, driver, "--save-template", tmp_path / "no" / "t.npz"], "does not exist"),
    ):
        assert main(["animate", *map(str, words), "-o", str(out)]) == 2, words
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert told.startswith("error: ") and any(part in told for part in said.split("|")), (words, told)
        assert not out.exists() and not list(tmp_path.glob(".*"))
    assert main(["animate", str(driver), str(driver), "-o", str(driver), "--overwrite"]) == 2
    assert "would be lost" in capsys.readouterr().err and open_footage(driver).fps == 25.0


def test_stopping_leaves_nothing_behind(driver, tmp_path):
    def stop(stage: str, done: int, total: int) -> None:
        if stage == "drawing" and done == 3:
            raise KeyboardInterrupt

    out, kept = tmp_path / "out.mp4", tmp_path / "motion.npz"
    options = AnimateOptions(renderer="embedded", max_size=384)
    with pytest.raises(KeyboardInterrupt):
        Animator().save(PORTRAIT, driver, out, options, save_template=kept, on_progress=stop)
    assert not list(tmp_path.iterdir())


def test_a_template_for_the_other_renderer_is_refused(tmp_path, capsys, driver):
    with open_footage(driver) as footage:
        landmarks = measure_faces(track(footage.first(3)))
    kept = tmp_path / "landmarks.npz"
    save_template(Template(None, landmarks), kept)
    opened = open_driving(kept, max_pixels=10**8, max_seconds=60)
    assert opened.suits(by_networks=False) and not opened.suits(by_networks=True)
    said = str(opened.refuse("neural"))
    assert "--renderer neural --save-template" in said and "--renderer embedded" in said


def test_options_check_themselves():
    for wrong in ({"fps": 0}, {"quality": "good"}, {"stitching": 1}, {"normalize_lip": None}, {"renderer": "magic"}):
        with pytest.raises(OptionError):
            AnimateOptions(**wrong)
    with pytest.raises(MediaError, match="would be lost"):
        Animator().save(PORTRAIT, PORTRAIT, PORTRAIT, overwrite=True)


@needs_shared
@pytest.mark.parametrize(("who", "clip"), [("frontal_photo", "head_turns")])
def test_the_bar(tmp_path, who, clip):
    """Correlation of pose ≥ 0.9 and of aperture ≥ 0.8."""
    driving, out = DATA / "driving" / f"{clip}.mp4", tmp_path / "out.mp4"
    Animator().save(portrait(who), driving, out, AnimateOptions(renderer="embedded"))
    extract = meter("face_tracks").extract
    wanted, got = extract(str(driving)), extract(str(out))
    found = {name: round(correlation(wanted[name], got[name]), 3) for name in ("yaw", "pitch", "aperture")}
    print(who, clip, found)
    assert found["yaw"] >= 0.9 and found["pitch"] >= 0.9 and found["aperture"] >= 0.8
