"""Selection of renderer and driver."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from liveportrait_talker import (
    Animator,
    EditOptions,
    Editor,
    MediaError,
    OptionError,
    Talker,
    TalkOptions,
    WeightsError,
)
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.crop import FaceCrop
from liveportrait_talker.face.measurements import measure_faces
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import open_footage
from liveportrait_talker.motion.template import Template, save_template
from liveportrait_talker.options.applicability import flags_without_effect
from liveportrait_talker.pipelines import engines as engines_module
from liveportrait_talker.pipelines.engines import (
    HEAD_POSE_NETWORKS,
    LIP_NETWORKS,
    RENDERER_NETWORKS,
    EngineChoice,
    Engines,
    missing_parts,
)
from liveportrait_talker.pipelines.networks import neural_networks
from liveportrait_talker.render.protocol import FaceFrame
from liveportrait_talker.weights import registry, store
from liveportrait_talker.weights.integrity import write_receipt
from sounds import syllables, write_wav


@pytest.fixture(autouse=True)
def empty_store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LPT_MODELS", str(tmp_path / "store"))
    monkeypatch.setattr(engines_module, "find_spec", lambda name: object())  # torch is installed
    return tmp_path / "store"


@pytest.fixture
def install(empty_store):
    def write(*networks: str) -> None:
        for name in networks:
            store.converted_path(name).parent.mkdir(parents=True, exist_ok=True)
            store.converted_path(name).touch()

    return write


def test_lists_cover_all_networks():
    assert set(RENDERER_NETWORKS) | set(LIP_NETWORKS) | set(HEAD_POSE_NETWORKS) == set(neural_networks())


def test_auto_selects_neural_if_all_weights_are_installed(install):
    choice = Engines().choose_renderer(TalkOptions())
    assert choice.name == "embedded"
    assert "its weights are not in" in choice.reason and "models download liveportrait;" in choice.reason
    install(*RENDERER_NETWORKS[:-1])
    choice = Engines().choose_renderer(TalkOptions())
    assert choice.name == "embedded" and "the weights of retarget_lip are not in" in choice.reason
    assert "models download liveportrait/stitching_retargeting_module;" in choice.reason
    install(RENDERER_NETWORKS[-1])
    assert Engines().choose_renderer(TalkOptions()) == EngineChoice("neural", "its weights are installed")
    assert Engines().choose_renderer(TalkOptions(renderer="embedded")).name == "embedded"


def test_neural_without_weights_names_the_download_command(install, monkeypatch):
    with pytest.raises(WeightsError, match=r"neural renderer cannot run: .*models download liveportrait;"):
        Engines().choose_renderer(TalkOptions(renderer="neural"))
    install(*RENDERER_NETWORKS)
    assert Engines().choose_renderer(TalkOptions(renderer="neural")).name == "neural"
    monkeypatch.setattr(engines_module, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"PyTorch is not installed \(pip install 'liveportrait-talker\[neural\]'\)"):
        Engines().choose_renderer(TalkOptions(renderer="neural"))
    assert "PyTorch is not installed" in Engines().choose_renderer(TalkOptions()).reason


def test_download_commands_name_the_missing_files(install):
    for absent in (
        RENDERER_NETWORKS,
        LIP_NETWORKS,
        RENDERER_NETWORKS[2:4],
        ("mappingnet",),
        ("sadtalker_audio2pose", "stitching"),
    ):
        text = missing_parts(absent, {})
        assert text is not None
        names = text.split("models download ")[1].split(";")[0].split()
        fetched = {network for file in registry.select(names) for network in file.networks}
        assert set(absent) <= fetched
        assert {registry.holding(n).name for n in absent} == {f.name for f in registry.select(names)}


def test_given_weights_count_as_installed(tmp_path):
    own = {name: tmp_path / name for name in RENDERER_NETWORKS}
    assert Engines(own).choose_renderer(TalkOptions()).name == "neural"


def test_default_driver_depends_on_the_renderer(install):
    assert Engines().choose_driver(TalkOptions(), "embedded").name == "signal"
    choice = Engines().choose_driver(TalkOptions(), "neural")
    assert choice.name == "signal" and "download sadtalker/v0.0.2-256 talker/mappingnet;" in choice.reason
    with pytest.raises(WeightsError, match="learned driver cannot run"):
        Engines().choose_driver(TalkOptions(driver="learned"), "embedded")
    install(*LIP_NETWORKS)
    assert Engines().choose_driver(TalkOptions(), "neural").name == "learned"
    assert Engines().choose_driver(TalkOptions(), "embedded").name == "signal"
    assert Engines().choose_driver(TalkOptions(driver="learned"), "embedded").name == "learned"
    assert Engines().choose_driver(TalkOptions(driver="signal"), "neural").name == "signal"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"renderer": "embedded", "stitching": False}, "--no-stitching is about the neural renderer"),
        ({"renderer": "embedded", "precision": "bf16"}, "--precision is about"),
        ({"driver": "signal", "neutral_mouth": "first"}, "--neutral-mouth is about the learned driver"),
        ({"renderer": "neural", "mouth_from": ["a.png"]}, "--mouth-from is about the embedded renderer: leave it out"),
        ({"renderer": "neural", "teeth_brightness": 0.5}, "--teeth-brightness is about the embedded renderer"),
        ({"teeth_brightness": 1.5}, "--teeth-brightness 1.5 is out of range"),
        ({"mouth_from": ["a.png", 3]}, "is not the name of a file"),
        ({"renderer": "opengl"}, "--renderer opengl is not known"),
        ({"pose_style": 3}, "--head-pose audio"),
        ({"head_pose": "audio", "pose_style": 46}, "0 … 45"),
        ({"yaw": (0.0, 50.0)}, "--yaw 50.0 is out of range"),
        ({"roll": ()}, "--roll needs at least one"),
        ({"ref_blink": "a.mp4", "blink": False}, "--ref-blink and --no-blink contradict"),
        ({"ref_blink": "a.mp4", "blink_rate": 3.0}, "--ref-blink and --blink-rate contradict"),
        ({"window_rows": 24}, "25 … 99"),
        ({"crop_to_face": False, "crop_vx": 0.1}, "--crop-vx and --no-crop contradict"),
        ({"yaw": "10"}, "--yaw '10' is not a number of degrees"),
        ({"pitch": ("a",)}, "is not a number of degrees"),
        ({"roll": [None]}, "is not a number of degrees"),
        ({"fps": "5"}, "--fps '5' is not a number"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        TalkOptions(**options)


def test_options_without_effect_are_logged(tmp_path, caplog):
    assert flags_without_effect(TalkOptions(driving_multiplier=1.2, crop_scale=2.0), "embedded", "signal") == [
        "--driving-multiplier",
        "--crop-scale",
    ]
    assert flags_without_effect(TalkOptions(crop_scale=2.0, crop=True), "embedded", "signal") == []
    assert flags_without_effect(TalkOptions(stitching=False), "neural", "signal") == []
    mouth = TalkOptions(mouth_from=("a.png",), teeth_brightness=0.5)
    assert flags_without_effect(mouth, "neural", "signal") == ["--mouth-from", "--teeth-brightness"]
    assert flags_without_effect(mouth, "embedded", "signal") == []
    learned = TalkOptions(neutral_mouth="first", window_rows=29, driving_smooth_observation_variance=1e-4)
    assert len(flags_without_effect(learned, "neural", "signal")) == 3 and not flags_without_effect(
        learned, "embedded", "learned"
    )
    classic = TalkOptions(head_style="classic", driving_smooth_observation_variance=1e-4)
    assert flags_without_effect(classic, "embedded", "signal") == []
    assert flags_without_effect(TalkOptions(device="cpu"), "embedded", "signal") == ["--device"]
    assert flags_without_effect(TalkOptions(device="cpu"), "embedded", "learned") == []
    voice = write_wav(tmp_path / "voice.wav", syllables(1))
    next(Talker().frames(PORTRAIT, voice, TalkOptions(stitching=False)))
    assert "--no-stitching: no effect with the embedded renderer and the signal driver." in caplog.text


def test_given_engine_and_engine_option_contradict(tmp_path):
    class Custom:
        name = "custom"

        def drive(self, voice, source, fps): ...

        def prepare(self, source): ...

    with pytest.raises(OptionError, match="contradict"):
        next(
            Talker(driver=Custom()).frames(
                PORTRAIT, write_wav(tmp_path / "v.wav", syllables(1)), TalkOptions(driver="signal")
            )
        )
    with pytest.raises(OptionError, match="contradict"):
        next(
            Talker(renderer=Custom()).frames(
                PORTRAIT, write_wav(tmp_path / "v.wav", syllables(1)), TalkOptions(renderer="neural")
            )
        )


def test_head_pose_from_audio_needs_its_weights(tmp_path):
    with pytest.raises(WeightsError, match="--head-pose audio cannot run: its weights are not in"):
        next(Talker().frames(PORTRAIT, write_wav(tmp_path / "v.wav", syllables(1)), TalkOptions(head_pose="audio")))


def test_corrupt_weights_are_reported_before_tracking(install, empty_store, tmp_path, monkeypatch):
    pytest.importorskip("torch")

    def fail(*given, **more):
        raise AssertionError("the face was tracked")

    monkeypatch.setattr("liveportrait_talker.pipelines.run.track", fail)
    install(*RENDERER_NETWORKS, *LIP_NETWORKS)  # empty files
    voice = write_wav(tmp_path / "voice.wav", syllables(0.3))
    for options, name in (
        ({}, RENDERER_NETWORKS[0]),
        ({"renderer": "embedded", "driver": "learned"}, LIP_NETWORKS[0]),
    ):
        with pytest.raises(WeightsError, match=rf"{name}\.safetensors is (corrupt|cut short|empty)"):
            next(Talker().frames(PORTRAIT, voice, TalkOptions(device="cpu", **options)))


def test_networks_are_reused(monkeypatch):
    torch = pytest.importorskip("torch")
    from liveportrait_talker.render.neural import liveportrait
    from liveportrait_talker.weights import importing

    loaded: list[str] = []

    def load(name, build, **given):
        loaded.append(name)
        return torch.nn.Identity()

    monkeypatch.setattr(importing, "load_network", load)
    monkeypatch.setattr(importing, "metadata", lambda name: {})
    monkeypatch.setattr(liveportrait, "load_network", load)
    engines = Engines()
    neural, learned = EngineChoice("neural", ""), EngineChoice("learned", "")
    for settings, given in (({}, {}), ({"batch_size": 2}, {"neutral_mouth": "first", "window_rows": 29})):
        options = TalkOptions(device="cpu", precision="fp32", **given)
        renderer, driver = engines.renderer(neural, options, settings), engines.driver(learned, options)
        assert sorted(loaded) == sorted((*RENDERER_NETWORKS, *LIP_NETWORKS))
    assert renderer.settings.batch_size == 2 and "first" in repr(driver)
    cpu = TalkOptions(device="cpu")
    networks = engines.sadtalker(cpu).load(HEAD_POSE_NETWORKS)
    assert sorted(loaded) == sorted(neural_networks()) and engines.sadtalker(cpu) is networks
    assert engines.sadtalker(TalkOptions(device="auto")) is not networks, "only one set is kept in memory"
    assert engines.sadtalker(cpu) is not networks


def test_truncated_weights_do_not_count_as_installed(install):
    install(*RENDERER_NETWORKS)
    path = store.converted_path("warping_module")
    path.write_bytes(b"0123456789")
    write_receipt(path, sha256="0" * 64, origin="test", trust="own")
    assert Engines().choose_renderer(TalkOptions()).name == "neural"
    path.write_bytes(b"01234")
    choice = Engines().choose_renderer(TalkOptions())
    assert choice.name == "embedded" and "the weights of warping_module are not" in choice.reason


@pytest.mark.parametrize(
    ("old", "new"), [("no_stitching", "stitching"), ("no_normalize_lip", "normalize_lip"), ("no_crop", "crop_to_face")]
)
def test_negated_option_names_are_deprecated(old, new):
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}, its opposite"):
        options = TalkOptions(**{old: True})
    assert options == TalkOptions(**{new: False})
    with pytest.warns(DeprecationWarning, match=f"{old} is now {new}"):
        assert getattr(options, old) is True
    with pytest.warns(DeprecationWarning):
        assert dataclasses.replace(TalkOptions(), **{old: True}) == options
    with pytest.raises(OptionError, match=f"give {new} alone"):
        TalkOptions(**{old: False, new: False})
    with pytest.warns(DeprecationWarning), pytest.raises(OptionError, match="not True or False"):
        TalkOptions(**{old: "false"})


class FlatRenderer:
    """A custom renderer: a square whose grey level depends on the opening of the mouth."""

    name = "flat"

    def prepare(self, source):
        self.source = source
        return self

    def frames(self, track):
        for k, index in enumerate(self.source.frame_indices(len(track), track.fps)):
            level = int(np.clip(128 + 400 * track.mouth.values[k, 0], 0, 255))
            yield FaceFrame(np.full((8, 8, 3), level, np.uint8), None, FaceCrop.window(0, 0, 8, 8), int(index))


def test_custom_renderer_in_each_pipeline(tmp_path):
    voice = write_wav(tmp_path / "voice.wav", syllables(1))
    talking = list(Talker(FlatRenderer()).frames(PORTRAIT, voice))
    levels = [int(image[0, 0, 0]) for image in talking]
    assert len(set(levels)) > 5 and (talking[0][20:, 20:] == talking[-1][20:, 20:]).all()
    following = list(Animator(renderer=FlatRenderer()).frames(PORTRAIT, PORTRAIT))
    assert len(following) == 1
    session = Editor(renderer=FlatRenderer()).open(PORTRAIT)
    assert session.renderer == "flat"
    opened, closed = (int(session.draw(EditOptions(aaa=aaa))[0, 0, 0]) for aaa in (60, -30))
    assert opened > 128 > closed


def test_a_given_renderer_that_cannot_follow_a_template_refuses_it(tmp_path):
    """A template of landmarks alone, and a renderer that reads driving clips by its own networks."""

    class Reading(FlatRenderer):
        name = "neural"

        def read_driving(self, driving, *, fps, crop, on_step): ...

    with open_footage(PORTRAIT, max_side=256) as footage:
        template = Template(None, measure_faces(track(footage)))
    save_template(template, tmp_path / "landmarks.npz")
    with pytest.raises(MediaError, match="which the neural renderer cannot follow"):
        next(Animator(renderer=Reading()).frames(PORTRAIT, tmp_path / "landmarks.npz"))
