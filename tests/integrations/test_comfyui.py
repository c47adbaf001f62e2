"""The ComfyUI nodes: every node and every example workflow, run as ComfyUI does (`comfy_host`)."""

from __future__ import annotations

import json
import resource
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import comfy_host
import numpy as np
import pytest
from PIL import Image

import hostile
from liveportrait_talker import MediaError, Talker, TalkerError, TalkOptions, examples
from liveportrait_talker.media import open_footage, read_waveform
from sounds import write_wav

torch = pytest.importorskip("torch", reason="ComfyUI's values are tensors: PyTorch is not installed")

WORKFLOWS = sorted((comfy_host.PACK / "example_workflows").glob("*.json"))
SECONDS = 0.6


@pytest.fixture(scope="session")
def host(tmp_path_factory) -> Any:
    return comfy_host.start(tmp_path_factory.mktemp("comfyui"))


@pytest.fixture(scope="session")
def media(tmp_path_factory) -> SimpleNamespace:
    """A small portrait and a short voice."""
    folder = tmp_path_factory.mktemp("media")
    Image.fromarray(open_footage(examples.PORTRAIT, max_side=256)[0]).save(folder / "portrait.png")
    voice = read_waveform(examples.VOICE, sample_rate=24_000)
    write_wav(folder / "voice.wav", voice.samples[4800 : 4800 + round(SECONDS * 24_000)], 24_000)
    return SimpleNamespace(portrait=folder / "portrait.png", voice=folder / "voice.wav", folder=folder)


@pytest.fixture(autouse=True)
def short_examples(media, monkeypatch):
    monkeypatch.setattr(examples, "PORTRAIT", media.portrait)
    monkeypatch.setattr(examples, "VOICE", media.voice)


@pytest.fixture
def picture(media) -> Any:
    """The portrait as IMAGE (1, 256, 256, 3)."""
    return torch.from_numpy(np.asarray(Image.open(media.portrait))[None].copy()).float() / 255


@pytest.fixture
def voice(media) -> dict[str, Any]:
    """The voice as AUDIO."""
    return {
        "waveform": torch.from_numpy(read_waveform(media.voice, sample_rate=24_000).samples.copy())[None, None],
        "sample_rate": 24_000,
    }


def execute(host, node: str, **values: Any) -> list[Any]:
    """Execute one node with values in place of links, its widgets at their defaults, and return its outputs."""
    given = {name: default for name, default in comfy_host.widgets_of(host.inputs_of(node)) if name is not None}
    result = host.own[node].execute(**given | values)
    return list(result.args)


def part_of(host, name: str) -> Any:
    """Return a module of the pack."""
    return sys.modules[f"{host.pack.__name__}.{name}"]


def made_in(base: Path) -> set[Path]:
    """Return all files but ComfyUI's previews."""
    return {
        path
        for path in base.rglob("*")
        if path.is_file() and "preview" not in path.name and "ComfyUI_temp" not in path.name
    }


def frames_of(path: Path | str) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_nodes_are_complete(host):
    assert set(host.own) == {
        "TalkerLoadPortrait",
        "TalkerExampleVoice",
        "TalkerTalk",
        "TalkerSpeakers",
        "TalkerFaces",
        "TalkerAnimate",
        "TalkerExpression",
        "TalkerMotion",
        "TalkerMixMotion",
        "TalkerSaveMotion",
        "TalkerLoadMotion",
    }
    for node in host.own.values():
        schema = node.define_schema()
        assert schema.category == "LivePortraitTalker" and schema.description.endswith(".") and schema.display_name


def test_the_registry_reads_the_project():
    tomllib = pytest.importorskip("tomllib", reason="new in Python 3.11")
    project = tomllib.loads((comfy_host.PACK / "pyproject.toml").read_text())
    assert "comfyui" not in project["project"]["name"].lower()
    assert project["project"]["dependencies"] == ["liveportrait-talker"]
    assert {"PublisherId", "DisplayName"} <= project["tool"]["comfy"].keys()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow(path, host):
    """As the page stores it, and the same in the API format: on a fresh install, without a download."""
    workflow = json.loads(path.read_text())
    prompt = comfy_host.to_api(workflow, host)
    stored = json.loads((path.parent / "api" / path.name).read_text())
    plain = {name: {key: node[key] for key in ("class_type", "inputs")} for name, node in stored.items()}
    assert prompt == plain
    outcome = host.run(prompt)
    assert outcome.error is None
    saved = [each for shown in outcome.shown.values() for each in shown.get("images", ()) if each["type"] == "output"]
    assert saved
    for each in saved:
        file = host.base / "output" / each["subfolder"] / each["filename"]
        if file.suffix == ".mp4":
            with av.open(str(file)) as container:
                assert container.streams.audio or "background" in path.stem
            pictures = frames_of(file)
            start = 3.65 if path.stem == "speakers" else 0
            assert len(pictures) == round((start + SECONDS) * 25)
            assert any((one != pictures[0]).any() for one in pictures)
        else:
            assert Image.open(file).size == (256, 256)


def test_every_node_is_in_a_workflow(host):
    """All but the one that loads what another has saved."""
    used = {node["type"] for path in WORKFLOWS for node in json.loads(path.read_text())["nodes"]}
    assert set(host.own) - used == {"TalkerLoadMotion"}


def test_talk_gives_a_video_file(host, media, voice, picture):
    before = made_in(host.base)
    video, images, mask = execute(host, "TalkerTalk", source=picture, voice=voice)
    path = Path(video.get_stream_source())
    assert made_in(host.base) - before == {path}  # and nothing that the node read
    expected = list(Talker().frames(media.portrait, media.voice))
    drawn = frames_of(path)
    assert len(drawn) == len(expected)
    assert np.abs(np.asarray(drawn, np.float32) - expected).mean() < 4  # H.264, and subsampled colours
    assert "turn on frames" in images.message and "turn on frames" in mask.message


def test_talk_gives_frames_on_demand(host, media, voice, picture):
    _, images, mask = execute(host, "TalkerTalk", source=picture, voice=voice, frames=True)
    expected = np.stack(list(Talker().frames(media.portrait, media.voice)))
    assert np.array_equal((images * 255).round().byte().numpy(), expected)
    assert mask.shape == images.shape[:3] and (mask == 1).all()
    assert images.dtype == mask.dtype == torch.float32


def test_the_mask_is_the_person(host, voice, picture):
    video, images, mask = execute(
        host, "TalkerTalk", source=picture, voice=voice, frames=True, background="transparent", fps=5
    )
    assert video.get_stream_source().endswith(".webm") and len(images) == 3
    assert mask[0, 128, 128] == 1 and mask[0, 5, 5] == 0


def test_sources_of_every_type(host, media, voice, picture):
    portrait, image, _ = execute(host, "TalkerLoadPortrait")
    assert torch.equal(image, picture)
    makes = {}
    for name, source in {"portrait": portrait, "image": picture, "frames": picture.repeat(4, 1, 1, 1)}.items():
        video, images, _ = execute(host, "TalkerTalk", source=source, voice=voice, frames=True)
        makes[name] = images
    assert torch.equal(makes["portrait"], makes["image"])  # to the bit: the picture reaches us unchanged
    assert len(makes["frames"]) == len(makes["image"])
    again, images, _ = execute(host, "TalkerTalk", source=video, voice=voice, frames=True)
    assert len(images) == len(makes["image"])
    driven = execute(host, "TalkerAnimate", source=portrait, driving=again)[0]
    assert len(frames_of(driven.get_stream_source())) == len(images)


def test_a_batch_of_frames_is_read_without_loss(host, media, picture, tmp_path):
    files = part_of(host, "files")
    frames = torch.cat([picture, picture.flip(2), (picture * 0.5 * 255).round() / 255])
    path = files.source_file(frames, tmp_path, fps=12.5)
    with open_footage(path) as footage:
        assert footage.fps == 12.5
        assert np.array_equal(np.stack([footage[k] for k in range(3)]), (frames * 255).round().byte().numpy())


@pytest.mark.parametrize(("channels", "rate", "batch"), [(1, 8000, 1), (2, 44_100, 1), (6, 48_000, 1), (1, 22_050, 3)])
def test_sound_of_any_rate_and_number_of_channels(host, media, tmp_path, channels, rate, batch):
    files = part_of(host, "files")
    samples = read_waveform(media.voice, sample_rate=rate).samples
    waveform = torch.from_numpy(samples.copy())[None, None].repeat(batch, channels, 1)
    waveform[1:] = 0
    path = files.sound_file({"waveform": waveform, "sample_rate": rate}, tmp_path)
    back = read_waveform(path, sample_rate=rate).samples
    assert len(back) == len(samples)
    np.testing.assert_allclose(back / np.abs(back).max(), samples / np.abs(samples).max(), atol=1e-3)


def test_a_sound_of_several_pieces(host, tmp_path):
    files = part_of(host, "files")
    waveform = torch.linspace(-1, 1, (1 << 20) + 77)[None, None].double()
    path = files.sound_file({"waveform": waveform, "sample_rate": 48_000}, tmp_path)
    back = read_waveform(path, sample_rate=48_000).samples
    np.testing.assert_allclose(back, waveform[0, 0], atol=1e-4)


@pytest.mark.parametrize("sound", [None, {"waveform": torch.zeros(1, 1, 0), "sample_rate": 16_000}])
def test_no_sound(host, picture, sound):
    with pytest.raises(MediaError, match="the voice is empty"):
        execute(host, "TalkerTalk", source=picture, voice=sound)


def test_sliders_at_rest_give_the_image_back(host, picture):
    noise = torch.rand(2, 40, 30, 3)  # no face is needed, nor bytes
    image, mask, _ = execute(host, "TalkerExpression", picture=noise)
    assert image is noise and mask.shape == (2, 40, 30)
    portrait = execute(host, "TalkerLoadPortrait")[0]
    assert torch.equal(execute(host, "TalkerExpression", picture=portrait)[0], picture)


def test_sliders_move_the_face(host, picture, monkeypatch):
    smiling = execute(host, "TalkerExpression", picture=picture, smile=1.0)[0]
    assert (smiling != picture).any() and torch.equal(smiling[:, :20], picture[:, :20])
    engine = part_of(host, "run").engine("Editor")
    monkeypatch.setattr(engine, "open", lambda *_, **__: pytest.fail("the portrait was open already"))
    assert (execute(host, "TalkerExpression", picture=picture, smile=0.5)[0] != smiling).any()


def test_an_expression_is_held_while_the_face_speaks(host, media, voice, picture):
    """By the sliders of Expression, and by name; the head stays with the speech."""
    posed = {"smile": 0.5, "eyebrow": 6.0, "blink": -4.0, "rotate_yaw": 9.0}
    sliders = execute(host, "TalkerExpression", picture=picture, **posed)[2]
    given = {"sliders": sliders, "expression": "sad", "expression_amount": 0.4, "liveliness": 0.0, "frames": True}
    images = execute(host, "TalkerTalk", source=picture, voice=voice, **given)[1]
    options = TalkOptions(smile=0.5, eyebrow=6.0, eye_opening=-4.0, expression="sad:0.4", liveliness=0.0)
    expected = np.stack(list(Talker().frames(media.portrait, media.voice, options)))
    assert np.array_equal((images * 255).round().byte().numpy(), expected)


def test_expression_of_several_pictures(host, picture):
    mirrored = picture.flip(2)
    both = execute(host, "TalkerExpression", picture=torch.cat([picture, mirrored]), aaa=60.0)[0]
    assert torch.equal(both[1:], execute(host, "TalkerExpression", picture=mirrored, aaa=60.0)[0])


def prompt_of(host, media, **talk: Any) -> comfy_host.Prompt:
    prompt = json.loads((comfy_host.PACK / "example_workflows" / "api" / "talk.json").read_text())
    prompt["3"]["inputs"] |= talk
    return prompt


def test_errors_are_one_sentence(host, media):
    Image.new("RGB", (64, 64)).save(host.base / "input" / "grey.png")
    before = made_in(host.base)
    for picture, values, message in (
        ("grey.png", {}, "grey.png"),
        ("example portrait", {"face": 7}, "face"),
        ("example portrait", {"background": "sky.png"}, "background takes a colour"),
        ("example portrait", {"renderer": "neural"}, "neural renderer cannot run"),
        ("missing.png", {}, "there is no picture missing.png"),
        ("../secret.png", {}, "../secret.png is not in ComfyUI's input folder"),
    ):
        prompt = prompt_of(host, media, **values)
        prompt["1"]["inputs"]["picture"] = picture
        said = host.run(prompt).error
        assert said is not None and message in said and "\n" not in said and "--" not in said and "Error" not in said
    assert made_in(host.base) == before


def test_hostile_files_are_opened_in_a_child_process(host, media):
    """A list of edits makes FFmpeg take gigabytes for a small file."""
    hostile.write_mp4(host.base / "input" / "film.jpg", edits=20_000, samples=1000)
    prompt = prompt_of(host, media)
    prompt["1"]["inputs"]["picture"] = "film.jpg"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = host.run(prompt).error
    assert said is not None and "film.jpg" in said and "\n" not in said
    film = hostile.write_mp4(host.base / "input" / "film.mp4", edits=20_000, samples=1000)
    files = part_of(host, "files")
    with pytest.raises(MediaError, match=r"film\.mp4"):
        files.source_file(files.InputImpl.VideoFromFile(str(film)), host.base / "temp" / "films")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_progress_and_interruption(host, media, monkeypatch):
    steps = host.record_progress(monkeypatch)
    assert host.run(prompt_of(host, media, seed=11)).error is None
    assert (round(SECONDS * 25), round(SECONDS * 25)) in steps
    before = made_in(host.base)
    drawn = []
    module = part_of(host, "run")
    check = module.comfy.model_management.throw_exception_if_processing_interrupted

    def interrupt_at_the_third_frame() -> None:
        drawn.append(steps[-1] if steps else (0, 0))
        if drawn[-1] == (3, round(SECONDS * 25)):
            host.interrupt()
        check()

    steps.clear()
    monkeypatch.setattr(
        module.comfy.model_management, "throw_exception_if_processing_interrupted", interrupt_at_the_third_frame
    )
    outcome = host.run(prompt_of(host, media, seed=12))
    assert outcome.interrupted and outcome.error is None
    assert drawn[-1] == (3, round(SECONDS * 25))
    assert made_in(host.base) == before


def test_weights_are_found_in_the_models_folder(host, monkeypatch, tmp_path):
    from liveportrait_talker.weights import store

    module, own = part_of(host, "run"), tmp_path / "models"
    monkeypatch.setenv("LPT_MODELS", "")  # is restored
    monkeypatch.setenv("LPT_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_LPT_MODELS", None)
    folder = host.base / "models" / "liveportrait_talker"
    module.engine("Talker")
    assert store.root() == folder  # where there are none at all: messages name ComfyUI's folder
    (own / "liveportrait").mkdir(parents=True)
    module.engine("Talker")
    assert store.root() == own
    (folder / "liveportrait").mkdir(parents=True)
    module.engine("Talker")
    assert store.root() == folder
    monkeypatch.setattr(module, "_LPT_MODELS", "elsewhere")
    monkeypatch.setenv("LPT_MODELS", "elsewhere")
    module.engine("Talker")
    assert store.root() == Path("elsewhere")
    (folder / "liveportrait").rmdir()


@pytest.fixture(scope="session")
def two(media) -> Any:
    """Two people in one IMAGE."""
    one = torch.from_numpy(np.asarray(Image.open(media.portrait))[None].copy()).float() / 255
    return torch.cat([one, one.flip(2)], dim=2)


def test_each_voice_moves_its_own_face(host, two, voice):
    silence = voice | {"waveform": torch.zeros_like(voice["waveform"])}
    given = {"source": two, "face_1": "left", "face_2": "right", "still": True, "frames": True, "blink": "off"}
    given["gaze"] = "still"
    for voices, moves in (({"voice_1": voice, "voice_2": silence}, 0), ({"voice_1": silence, "voice_2": voice}, 1)):
        _, images, _ = execute(host, "TalkerSpeakers", **given, **voices)
        change = [float((half - half[:1]).abs().mean()) for half in images.split(256, dim=2)]
        assert change[moves] > 3 * change[1 - moves]


def test_a_voice_starts_later(host, two, voice):
    given = {"source": two, "voice_1": voice, "voice_2": voice, "face_1": "left", "face_2": "right", "start_2": 1.0}
    video = execute(host, "TalkerSpeakers", **given)[0]
    assert len(frames_of(video.get_stream_source())) == round((1 + SECONDS) * 25)


def test_mistakes_about_speakers(host, two, voice):
    for given, message in (
        ({"voice_2": voice, "face_2": "1"}, "face 1 has two voices"),
        ({"voice_2": None}, "the voice is empty"),
        ({"voice_2": voice, "face_2": "7"}, "7"),
    ):
        with pytest.raises(TalkerError, match=message):
            execute(host, "TalkerSpeakers", source=two, voice_1=voice, **given)


def test_faces_are_numbered(host, two):
    image, count = execute(host, "TalkerFaces", source=two)
    assert count == 2 and image.shape == two.shape and (image != two).any()


def test_motion_is_drawn_as_talk_makes_it(host, media, voice, picture):
    (motion,) = execute(host, "TalkerMotion", voice=voice, source=picture, seed=4)
    _, given, _ = execute(host, "TalkerTalk", source=picture, voice=voice, motion=motion, frames=True)
    _, made, _ = execute(host, "TalkerTalk", source=picture, voice=voice, seed=4, frames=True)
    assert (given - made).abs().max() < 3 / 255


def test_motion_is_saved_loaded_and_mixed(host, voice):
    (one,) = execute(host, "TalkerMotion", voice=voice)
    (two,) = execute(host, "TalkerMotion", voice=voice, seed=2, head_motion=2.0)
    (mixed,) = execute(host, "TalkerMixMotion", motion_a=one, motion_b=two, head=1.0, eyes=0.0, mouth=0.0)
    assert np.array_equal(mixed.track.head.rotation_deg, two.track.head.rotation_deg)
    assert np.array_equal(mixed.track.blink, one.track.blink)
    assert np.array_equal(mixed.track.mouth.values, one.track.mouth.values)
    host.own["TalkerSaveMotion"].execute(motion=mixed, filename_prefix="motion/mixed")
    (name,) = (each for each in dict(options_of(host))["file"] if "mixed" in each)
    (back,) = execute(host, "TalkerLoadMotion", file=name)
    assert np.array_equal(back.track.head.rotation_deg, mixed.track.head.rotation_deg)


def options_of(host) -> list[tuple[str, list[str]]]:
    return [(each.id, each.options) for each in host.own["TalkerLoadMotion"].define_schema().inputs]


def test_trimmed_videos_are_copied(host, media, voice, picture, tmp_path):
    """A VIDEO may be a part of its file, or cropped; one that is whole is read where it is."""
    files = part_of(host, "files")
    video = execute(host, "TalkerTalk", source=picture, voice=voice)[0]
    assert files.source_file(video, tmp_path / "whole") == Path(video.get_stream_source())
    video.get_active_trim_window = lambda: (0.2, 0.2)
    assert files.source_file(video, tmp_path / "part").parent == tmp_path / "part"


def test_video_from_components(host, media, voice, picture):
    latest = sys.modules["comfy_api.latest"]
    components = latest.Types.VideoComponents(images=picture.repeat(5, 1, 1, 1), audio=None, frame_rate=Fraction(25))
    video = latest.InputImpl.VideoFromComponents(components)
    made = execute(host, "TalkerTalk", source=video, voice=voice, fps=0)[0]
    assert len(frames_of(made.get_stream_source())) == round(SECONDS * 25)


def test_options_are_those_of_the_package(host):
    given = {name: more for name, _, more in host.inputs_of("TalkerTalk")}
    for name in ("expression_scale", "quality", "seed"):
        assert given[name]["default"] == getattr(TalkOptions(), name)
