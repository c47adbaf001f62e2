"""`--mouth-from` and `--teeth-brightness`: what they change in the picture, and files that are of no use."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from liveportrait_talker import EditOptions, Editor, Talker, TalkOptions
from liveportrait_talker.cli import main
from liveportrait_talker.errors import MediaError, NoFaceError
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, VideoWriter
from liveportrait_talker.options.edit import EditSetup
from liveportrait_talker.pipelines import mouths
from shared import needs_shared, portrait
from sounds import syllables, write_wav

WIDE = EditOptions(aaa=60)
_INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)


def draw(edit: EditOptions = WIDE, source: Path = PORTRAIT, **setup) -> np.ndarray:
    return Editor().open(source, setup=EditSetup("embedded", max_size=384, **setup)).draw(edit)


def inside(image: np.ndarray) -> np.ndarray:
    """Return where an image shows the inside of the mouth, (H, W) bool."""
    points = track(Footage.from_array("drawn", image)).faces[0].landmarks[:, :2]
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(points[list(_INNER_LIPS)]).astype(int)], 1)
    return mask.astype(bool)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of the example portrait: the mouth shut, the mouth open with blue teeth; clips of either."""
    place = tmp_path_factory.mktemp("mouths")
    shut, blue = draw(EditOptions(aaa=-30)), draw()
    blue[inside(blue)] //= np.array([3, 1, 1], np.uint8)
    Image.fromarray(shut).save(place / "shut.png")
    Image.fromarray(blue).save(place / "blue.png")
    Image.fromarray(blue).resize((160, 160)).save(place / "small.png")
    Image.new("RGB", (320, 320), "grey").save(place / "grey.png")
    for name, images in (("shut", [shut] * 8), ("blue", [shut, *[blue] * 5, shut, shut])):
        with VideoWriter(
            place / f"{name}.mp4", size=(384, 384), fps=25, voice=None, frame_count=8, title="", comment=""
        ) as writer:
            for image in images:
                writer.write(image)
    return place


@pytest.mark.parametrize(("name", "least"), [("blue.png", 40), ("blue.mp4", 25)])  # a video's landmarks are smoothed
def test_the_inside_of_the_mouth_takes_the_colours_of_the_file(folder: Path, name: str, least: float):
    plain, given = draw(source=folder / "shut.png"), draw(source=folder / "shut.png", mouth_from=(folder / name,))
    changed, lips = given.astype(int) - plain, inside(plain)
    assert changed[lips][:, 0].mean() < -least and abs(changed[lips][:, 2].mean()) < 25  # teeth without red
    around = cv2.dilate(lips.astype(np.uint8), np.ones((15, 15))).astype(bool)
    assert np.abs(changed[~around]).max() <= 1


def test_teeth_brightness():
    plain = draw()
    lips = inside(plain)
    values = (-1.0, -0.5, 0.0, 0.5, 1.0)
    light = [np.percentile(draw(teeth_brightness=value)[lips].mean(axis=1), 80) for value in values]
    assert np.diff(light).min() > 3
    assert (draw(teeth_brightness=0.0) == plain).all()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shut.png", "the mouth in shut.png is shut: --mouth-from needs a picture or a video in which the lips"),
        ("shut.mp4", "the mouth in all frames of shut.mp4 is shut: "),
        ("small.png", "the face in small.png is too small (38 px between the eyes): --mouth-from needs"),
        ("grey.png", "no face found in grey.png (320×320): give a picture"),
        ("none.png", "none.png does not exist"),
    ],
)
def test_a_file_of_no_use_is_refused(folder: Path, name: str, sentence: str):
    with pytest.raises((MediaError, NoFaceError)) as refused:
        draw(mouth_from=(folder / "blue.png", folder / name))
    assert sentence in str(refused.value)


def test_a_refusal_on_the_command_line(folder: Path, tmp_path: Path, capsys):
    words = ["edit", PORTRAIT, "-o", tmp_path / "out.png", "--aaa", 60, "--mouth-from", folder / "shut.png"]
    assert main([str(word) for word in words]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "the mouth in shut.png is shut" in errors[0]
    assert not list(tmp_path.iterdir())


@needs_shared
def test_a_face_turned_aside_is_refused():
    with pytest.raises(NoFaceError, match=r"turned_painting.jpg is turned aside by 3\d°: .* turned by 25° at most"):
        draw(mouth_from=(portrait("turned_painting"),))


def test_the_start_of_a_long_video_is_examined(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mouths, "MAX_SECONDS", 0.04)
    with pytest.raises(NoFaceError, match=r"the mouth in the first 0.04 s of blue.mp4 is shut"):
        draw(mouth_from=(folder / "blue.mp4",))


def test_files_are_read_once_while_they_stay_the_same(folder: Path, tmp_path: Path):
    video, link = tmp_path / "mouth.mp4", tmp_path / "link.mp4"
    video.write_bytes((folder / "blue.mp4").read_bytes())
    link.hardlink_to(video)
    read, editor = [], Editor()

    def opened(path: Path, **setup) -> list[str]:
        read.clear()
        editor.open(
            PORTRAIT,
            setup=EditSetup("embedded", mouth_from=(path,), **setup),
            on_progress=lambda stage, done, total: read.append(stage),
        )
        return sorted(set(read))

    assert opened(video) == ["reading mouth.mp4"]
    assert opened(video, max_size=300) == opened(link) == []  # the page's jobs read links to one upload
    os.utime(video, (1, 1))
    assert opened(video) == ["reading mouth.mp4"]


def test_the_output_may_not_be_one_of_the_files(folder: Path, tmp_path: Path):
    own = tmp_path / "own.mp4"
    own.write_bytes((folder / "blue.mp4").read_bytes())
    voice = write_wav(tmp_path / "voice.wav", syllables(0.2))
    with pytest.raises(MediaError, match="is one of the inputs"):
        Talker().save(PORTRAIT, voice, own, TalkOptions(mouth_from=[str(own)]), overwrite=True)
    picture = tmp_path / "own.png"
    picture.write_bytes((folder / "blue.png").read_bytes())
    with pytest.raises(MediaError, match="is one of the inputs"):
        Editor().save(PORTRAIT, picture, WIDE, setup=EditSetup(mouth_from=(picture,)), overwrite=True)
    assert own.stat().st_size == (folder / "blue.mp4").stat().st_size
