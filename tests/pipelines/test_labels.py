"""Outputs of the pipelines: which get content credentials, and what these state."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from liveportrait_talker.errors import OptionError
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.label import library
from liveportrait_talker.media import open_footage
from liveportrait_talker.options.animate import AnimateOptions
from liveportrait_talker.options.edit import EditOptions, EditSetup
from liveportrait_talker.options.talk import TalkOptions
from liveportrait_talker.pipelines import labels
from liveportrait_talker.pipelines.animate import Animator
from liveportrait_talker.pipelines.doctor import report as doctor
from liveportrait_talker.pipelines.edit import Editor
from liveportrait_talker.pipelines.labels import Origin, prepare_label
from liveportrait_talker.pipelines.talk import Talker
from sounds import syllables, write_wav

needs_c2pa = pytest.mark.skipif(
    library.missing_library() is not None, reason=f"no content credentials: {library.missing_library()}"
)
SMALL = {"max_size": 320, "renderer": "embedded"}
NO_CREDENTIALS = "no content credentials"


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inputs") / "Anna_Private_Name.png"
    Image.fromarray(open_footage(PORTRAIT, max_side=320)[0]).save(path)
    return path


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wav(tmp_path_factory.mktemp("voice") / "secret_call.wav", syllables(0.4))


def report_on(path: Path) -> dict[str, Any]:
    from liveportrait_talker.label.verification import verify_file

    return verify_file(str(path))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@needs_c2pa
def test_talking_video_and_its_dubbing(portrait, voice, tmp_path):
    Talker().save(portrait, voice, tmp_path / "first.mp4", TalkOptions(**SMALL, driver="signal"))
    first = report_on(tmp_path / "first.mp4")
    assert (first["state"], first["actions"]) == ("valid", ["c2pa.created"])
    assert first["digital_source_type"] == "compositeSynthetic"
    assert first["ingredients"] == [
        {"title": "source", "relationship": "inputTo", "sha256": digest(portrait)},
        {"title": "voice", "relationship": "inputTo", "sha256": digest(voice)},
    ]
    Talker().save(tmp_path / "first.mp4", voice, tmp_path / "second.mp4", TalkOptions(**SMALL, driver="signal"))
    second = report_on(tmp_path / "second.mp4")
    assert (second["state"], second["actions"]) == ("valid", ["c2pa.opened", "c2pa.edited"])
    assert second["ingredients"][0] == {
        "title": "source",
        "relationship": "parentOf",
        "sha256": digest(tmp_path / "first.mp4"),
    }
    for name in ("first.mp4", "second.mp4"):
        data = (tmp_path / name).read_bytes()
        for private in (b"Anna", b"secret_call", b"first.mp4", str(tmp_path).encode()):
            assert private not in data
    assert sorted(file.name for file in tmp_path.iterdir()) == ["first.mp4", "second.mp4"]


@needs_c2pa
def test_credentials_change_neither_images_nor_sound_nor_metadata(portrait, voice, tmp_path):
    for name, credentials in (("with.mp4", True), ("without.mp4", False)):
        options = TalkOptions(**SMALL, driver="signal", credentials=credentials)
        Talker().save(portrait, voice, tmp_path / name, options)
    packets, comments = [], []
    for name in ("with.mp4", "without.mp4"):
        with av.open(str(tmp_path / name)) as file:
            comments.append(file.metadata["comment"])
            packets.append([(packet.stream.type, packet.pts, bytes(packet)) for packet in file.demux()])
    assert packets[0] == packets[1] and comments[0] == comments[1]
    assert comments[0].startswith("AI-generated")
    assert report_on(tmp_path / "without.mp4")["state"] == "none"


@needs_c2pa
@pytest.mark.parametrize("name", ["edited.png", "edited.jpg", "edited.JPEG", "edited.webp"])
def test_edited_picture(portrait, tmp_path, name):
    sample = portrait.with_name("sample.png")
    sample.write_bytes(portrait.read_bytes())
    edit = EditOptions(smile=1, sample=sample)
    Editor().save(portrait, tmp_path / name, edit, setup=EditSetup(**SMALL))
    report = report_on(tmp_path / name)
    assert (report["state"], report["actions"]) == ("valid", ["c2pa.opened", "c2pa.edited"])
    assert [(each["title"], each["relationship"]) for each in report["ingredients"]] == [
        ("source", "parentOf"),
        ("sample", "inputTo"),
    ]
    with Image.open(tmp_path / name) as image:
        image.load()
        assert "AI-generated" in str(image.info.get("Comment")) + str(image.getexif())
    assert b"Anna" not in (tmp_path / name).read_bytes()


@needs_c2pa
def test_animation_and_its_option_files(portrait, driving_clip, tmp_path):
    background = tmp_path / "wall.png"
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(background)
    options = AnimateOptions(**SMALL, background=str(background), mouth_from=(driving_clip,))
    Animator().save(portrait, driving_clip, tmp_path / "driven.mp4", options)
    report = report_on(tmp_path / "driven.mp4")
    assert (report["state"], report["actions"]) == ("valid", ["c2pa.created"])
    assert {each["title"]: each["sha256"] for each in report["ingredients"]} == {
        "source": digest(portrait),
        "driving": digest(driving_clip),
        "mouth_from": digest(driving_clip),
        "background": digest(background),
    }


@needs_c2pa
@pytest.mark.parametrize(
    ("renderer", "driver", "head_pose", "source_type"),
    [
        ("embedded", "signal", None, "compositeSynthetic"),
        ("embedded", None, None, "compositeSynthetic"),
        ("MyRenderer", "MyDriver", None, "compositeSynthetic"),
        ("neural", "signal", None, "compositeWithTrainedAlgorithmicMedia"),
        ("hybrid", "signal", None, "compositeWithTrainedAlgorithmicMedia"),
        ("embedded", "learned", None, "compositeWithTrainedAlgorithmicMedia"),
        ("embedded", "signal", "audio", "compositeWithTrainedAlgorithmicMedia"),
    ],
)
def test_digital_source_type(portrait, voice, tmp_path, renderer, driver, head_pose, source_type):
    from liveportrait_talker.label.certificates import find_certificate

    path = tmp_path / "file.png"
    path.write_bytes(portrait.read_bytes())
    origin = Origin(portrait, True, {"voice": voice}, driver=driver)
    label = prepare_label(
        find_certificate(),
        TalkOptions(head_pose=head_pose),
        origin,
        title="t",
        description="d",
        renderer=renderer,
        is_image=True,
    )
    label(path)
    assert report_on(path)["digital_source_type"] == source_type


@needs_c2pa
def test_every_voice_is_an_ingredient_once(portrait, voice, tmp_path):
    from liveportrait_talker.label.certificates import find_certificate

    path, other = tmp_path / "file.png", tmp_path / "other.wav"
    path.write_bytes(portrait.read_bytes())
    other.write_bytes(b"other")
    origin = Origin(portrait, True, {"voice": (voice, other, voice)})
    how = {"title": "t", "description": "d", "renderer": "embedded", "is_image": True}
    prepare_label(find_certificate(), TalkOptions(), origin, **how)(path)
    stated = [(each["title"], each["sha256"]) for each in report_on(path)["ingredients"]]
    assert stated == [("source", digest(portrait)), ("voice", digest(voice)), ("voice", digest(other))]


@needs_c2pa
@pytest.mark.parametrize("name", ["cut.webm", "cut_%03d.png", "cut.mov"])
def test_what_holds_no_credentials_says_so(portrait, voice, tmp_path, caplog, name):
    with caplog.at_level("INFO"):
        options = TalkOptions(**SMALL, driver="signal", background="transparent")
        Talker().save(portrait, voice, tmp_path / name, options)
    notes = [message for message in caplog.messages if NO_CREDENTIALS in message]
    assert len(notes) == (0 if name == "cut.mov" else 1)
    states = {report_on(file)["state"] for file in tmp_path.iterdir()}
    assert states == ({"valid"} if name == "cut.mov" else {"none"})


@needs_c2pa
def test_bad_certificate_is_found_before_any_work(portrait, voice, tmp_path, monkeypatch):
    monkeypatch.setenv("LPT_CREDENTIALS", str(tmp_path / "keys"))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "key.pem").write_text("mine")
    steps: list[str] = []
    with pytest.raises(OptionError, match="certificate"):
        Talker().save(portrait, voice, tmp_path / "out.mp4", on_progress=lambda stage, *_: steps.append(stage))
    assert not steps and [file.name for file in tmp_path.iterdir()] == ["keys"]
    Editor().save(portrait, tmp_path / "out.png", setup=EditSetup(**SMALL, credentials=False))


@needs_c2pa
def test_video_is_made_where_no_certificate_can_be_made(portrait, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LPT_CREDENTIALS", str(tmp_path / "file" / "keys"))
    Editor().save(portrait, tmp_path / "out.png", setup=EditSetup(**SMALL))
    assert [message for message in caplog.messages if NO_CREDENTIALS in message]
    assert report_on(tmp_path / "out.png")["state"] == "none"


@needs_c2pa
def test_failed_label_leaves_nothing_behind(portrait, voice, tmp_path, monkeypatch):
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    existing = tmp_path / "out.mp4"
    existing.write_bytes(b"old")
    monkeypatch.setattr("liveportrait_talker.label.signing._sign", fail)
    monkeypatch.setattr(labels, "check_certificate", lambda _: None)
    with pytest.raises(Exception, match="the disk is full"):
        Talker().save(portrait, voice, existing, TalkOptions(**SMALL, driver="signal"), overwrite=True)
    with pytest.raises(Exception, match="No space left"):
        Editor().save(portrait, tmp_path / "out.png", setup=EditSetup(**SMALL))
    assert existing.read_bytes() == b"old" and list(tmp_path.iterdir()) == [existing]


def test_without_the_library_outputs_are_as_before(portrait, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(labels, "missing_library", lambda: "c2pa-python is not installed")
    monkeypatch.setenv("LPT_CREDENTIALS", str(tmp_path / "keys"))
    Editor().save(portrait, tmp_path / "out.png", EditOptions(smile=1), setup=EditSetup(**SMALL))
    assert [file.name for file in tmp_path.iterdir()] == ["out.png"]
    assert not [message for message in caplog.messages if NO_CREDENTIALS in message]


def credentials_line() -> str:
    (line,) = [line for line in doctor()[0] if line.startswith("content credentials")]
    return line


@needs_c2pa
def test_doctor_tells_who_signs(tmp_path, monkeypatch):
    from liveportrait_talker.label.certificates import make_certificate

    folder = tmp_path / "keys"
    monkeypatch.setenv("LPT_CREDENTIALS", str(folder))
    assert "on; the first output makes" in credentials_line() and not folder.exists()
    make_certificate(folder, name="Studio")
    assert f"on, signed with the self-made certificate of Studio in {folder}" in credentials_line()
    (folder / "key.pem").write_text("")
    assert "cannot be made with them" in credentials_line()


def test_doctor_without_the_library(monkeypatch):
    monkeypatch.setattr("liveportrait_talker.pipelines.doctor.missing_library", lambda: "it is not installed")
    assert credentials_line() == "content credentials: off; it is not installed"
