"""The learned driver: goldens, neutral mouth, length and frame rate, memory, weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from liveportrait_talker.driving.protocol import MouthDriver  # noqa: E402
from liveportrait_talker.driving.sadtalker import driver as module  # noqa: E402
from liveportrait_talker.driving.sadtalker import head  # noqa: E402
from liveportrait_talker.driving.sadtalker.driver import (  # noqa: E402
    LearnedDriver,
    LipNetworks,
    first_frame_with_face,
    predict_lips,
    source_coefficients,
)
from liveportrait_talker.driving.sadtalker.head import audio_head  # noqa: E402
from liveportrait_talker.driving.sadtalker.networks import BUILDERS, SadTalker  # noqa: E402
from liveportrait_talker.errors import WeightsError  # noqa: E402
from liveportrait_talker.face.tracked import TrackedFace, TrackedSource  # noqa: E402
from liveportrait_talker.media import Footage  # noqa: E402
from liveportrait_talker.media.waveform import Waveform  # noqa: E402
from liveportrait_talker.options.talk import TalkOptions  # noqa: E402
from liveportrait_talker.render.embedded.model import face_model  # noqa: E402
from liveportrait_talker.weights import importing  # noqa: E402
from liveportrait_talker.weights.conversion import WINDOW_ROWS  # noqa: E402

RATE = 16_000
OWN = np.random.default_rng(0).normal(size=70).astype(np.float32)
FACE = TrackedFace(face_model().mean_face * (1, -1, -1) * 40 + 150)
PICTURE = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)
SOURCE = TrackedSource(Footage.from_array("p", PICTURE), (FACE,))


@pytest.fixture(scope="module")
def chain(golden):
    return golden("talker_chain")


@pytest.fixture
def networks(network, chain):
    return LipNetworks(network("sadtalker_audio2exp", chain.salt), network("mappingnet", chain.salt), rows=28)


@pytest.fixture
def voice(chain):
    """The voice of the goldens: 52 whole frames."""
    return Waveform(chain["wav"][: 52 * 640], RATE)


@pytest.fixture
def installed(monkeypatch, network, chain):
    """Replace installed weights by synthetic ones and the source coefficients by OWN; list the (network, file) loaded."""
    loads = []

    def loaded(name, build, *, file=None, device="cpu"):
        loads.append((name, file))
        return network(name, chain.salt)

    monkeypatch.setattr(importing, "load_network", loaded)
    monkeypatch.setattr(importing, "metadata", lambda name: {"rows": "28"})
    for reader in (module, head):
        monkeypatch.setattr(reader, "source_coefficients", lambda net, source: OWN)
    return loads


def learned(weights=None, **choices) -> LearnedDriver:
    return LearnedDriver(SadTalker(weights=weights, device="cpu"), **choices)


def noise(seconds: float) -> Waveform:
    rng = np.random.default_rng(3)
    return Waveform(rng.normal(0, 0.1, max(1, round(seconds * RATE))).astype(np.float32), RATE)


# ------------------------------------------------------------------ goldens
def test_lips_of_a_voice(chain, networks, voice, close):
    offsets = predict_lips(networks, voice, chain["coeffs70"][:64])
    close(offsets.reshape(-1, 18), chain["lip_exp"], of_largest=1e-5)


def test_driver_with_the_settings_of_2024(chain, installed, monkeypatch, voice, close):
    """Offsets from the first frame, almost no smoothing, as for stills then."""
    monkeypatch.setattr(module, "source_coefficients", lambda net, source: chain["coeffs70"])
    driver: MouthDriver = learned(neutral_mouth="first", smooth_variance=1e-15)
    lips = driver.drive(voice, SOURCE, 25.0)
    close(lips.offsets.reshape(-1, 18), chain["lip_exp"] - chain["lip_exp"][0], of_largest=1e-5)


@pytest.mark.parametrize(("rows", "expected"), [(28, "exp_inference28"), (29, "exp_training29")])
@pytest.mark.parametrize("at_once", [10, 64])
def test_both_window_lengths(golden, network, voice, close, monkeypatch, rows, expected, at_once):
    """With a network in place of audio2exp that returns the coefficients of the goldens, part by part."""
    z = golden("sadtalker_mappingnet")
    rest = [torch.from_numpy(z["coeffs"])]

    class GoldenExpression(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, mels, source, blink):
            part, rest[0] = rest[0].split([len(mels), len(rest[0]) - len(mels)])
            return part

    monkeypatch.setattr(module, "FRAMES_AT_ONCE", at_once)
    offsets = predict_lips(LipNetworks(GoldenExpression(), network("mappingnet", z.salt), rows), voice, OWN[:64])
    close(offsets.reshape(-1, 18), z[expected], of_largest=1e-5)


def test_source_coefficients(chain, network, monkeypatch, close):
    aligned = chain.image(str(chain["image_seed"]), 224, 224)
    monkeypatch.setattr(module, "align_face", lambda image, landmarks: aligned)
    close(
        source_coefficients(network("sadtalker_face_3drecon", chain.salt), SOURCE), chain["coeffs70"], of_largest=1e-5
    )


# ------------------------------------------------------------------ the source
def test_a_video_is_measured_where_the_face_first_shows(network):
    net = network("sadtalker_face_3drecon", "")
    empty = np.zeros_like(PICTURE)
    frames = Footage.from_frames("v", [empty, empty, PICTURE, empty], 25)
    video = TrackedSource(frames, (FACE,) * 4, (False, False, True, True))
    assert first_frame_with_face(video) == 2
    np.testing.assert_array_equal(source_coefficients(net, video), source_coefficients(net, SOURCE))


def test_only_the_expression_of_the_source_is_used(installed, monkeypatch, voice):
    """The pose never reaches the lip networks (docs/earlier_systems.md, defect 25)."""
    lips = learned().drive(voice, SOURCE, 25.0)
    turned = np.concatenate([OWN[:64], OWN[64:] + 5.0])
    monkeypatch.setattr(module, "source_coefficients", lambda net, source: turned)
    np.testing.assert_array_equal(learned().drive(voice, SOURCE, 25.0).offsets, lips.offsets)


# ------------------------------------------------------------------ neutral mouth
def test_silence_rests(installed, chain):
    silence = Waveform(np.zeros(2 * RATE, np.float32), RATE)
    lips = learned().drive(silence, SOURCE, 25.0)
    assert lips.offsets.shape == (50, 6, 3)
    assert np.abs(lips.offsets).max() <= 1e-5 * np.abs(chain["lip_exp"]).max()


def test_the_two_neutral_mouths_differ_by_a_constant(installed, voice):
    estimate, first = (learned(neutral_mouth=rest).drive(voice, SOURCE, 25.0).offsets for rest in ("estimate", "first"))
    np.testing.assert_allclose(first - estimate, np.broadcast_to((first - estimate)[:1], first.shape), atol=1e-4)
    assert np.abs(first - estimate)[0].max() > 0.1


def test_the_start_of_a_clip_does_not_change_its_rest(installed, voice):
    """docs/earlier_systems.md, defect 22."""
    late = Waveform(np.concatenate([np.zeros(RATE, np.float32), voice.samples]), RATE)
    driver = learned()
    at_once, later = (driver.drive(sound, SOURCE, 25.0).offsets for sound in (voice, late))
    np.testing.assert_allclose(later[25 + 20 :], at_once[20:], atol=1e-4)


def test_smoothing_is_the_same_for_stills_and_videos(installed, voice):
    """docs/earlier_systems.md, defect 23."""
    video = TrackedSource(Footage.from_frames("v", [PICTURE] * 2, 25), (FACE,) * 2)
    driver = learned(smooth_variance=1e-4)
    smooth = driver.drive(voice, SOURCE, 25.0).offsets
    np.testing.assert_array_equal(driver.drive(voice, video, 25.0).offsets, smooth)
    rough = learned().drive(voice, SOURCE, 25.0).offsets
    assert np.abs(np.diff(smooth, axis=0)).mean() < 0.8 * np.abs(np.diff(rough, axis=0)).mean()


# ------------------------------------------------------------------ length, rate, memory
@pytest.mark.parametrize("seconds", [1 / RATE, 0.01, 0.1, 1.0])
@pytest.mark.parametrize("fps", [12.5, 25.0, 29.97, 60.0])
def test_any_length_at_any_rate(installed, seconds, fps):
    """docs/earlier_systems.md, defects 18 and 32."""
    sound = noise(seconds)
    assert len(learned().drive(sound, SOURCE, fps)) == sound.frame_count(fps)


def test_time_does_not_depend_on_the_frame_rate(installed, voice):
    driver = learned()
    usual, double = (driver.drive(voice, SOURCE, fps).offsets for fps in (25.0, 50.0))
    np.testing.assert_array_equal(double[::2][:52], usual)


def test_long_voices_are_processed_in_batches(networks, voice, monkeypatch, close):
    """docs/earlier_systems.md, defect 30."""
    whole = predict_lips(networks, voice, OWN[:64])
    largest: dict[str, int] = {}

    def note(name):
        return lambda net, given: largest.update({name: max(largest.get(name, 0), len(given[0]))})

    hooks = [getattr(networks, n).register_forward_pre_hook(note(n)) for n in ("audio2exp", "mappingnet")]
    monkeypatch.setattr(module, "FRAMES_AT_ONCE", 7)
    pieces = predict_lips(networks, voice, OWN[:64])
    for hook in hooks:
        hook.remove()
    assert largest == {"audio2exp": 7, "mappingnet": 7}
    close(pieces, whole, of_largest=1e-5)


def test_no_gradients(network, voice):
    """docs/earlier_systems.md, defect 30, with a trainable network."""
    recorded = []

    class Learning(torch.nn.Linear):
        def forward(self, mels, source, blink):
            recorded.append(super().forward(blink))
            return recorded[-1]

    predict_lips(LipNetworks(Learning(1, 64), network("mappingnet", "")), voice, OWN[:64])
    assert [out.requires_grad for out in recorded] == [False]


def test_another_sample_rate_is_refused(networks):
    with pytest.raises(ValueError, match="16000"):
        predict_lips(networks, Waveform(np.zeros(100, np.float32), 8000), OWN[:64])


# ------------------------------------------------------------------ weights and arguments
def test_networks_are_loaded_once_when_used(installed, voice):
    networks = SadTalker(device="cpu")
    driver = LearnedDriver(networks)
    assert not installed
    driver.drive(noise(0.1), SOURCE, 25.0)
    driver.drive(noise(0.1), SOURCE, 25.0)
    names = ["sadtalker_audio2exp", "mappingnet", "sadtalker_face_3drecon"]
    assert sorted(installed) == sorted((name, None) for name in names)
    LearnedDriver(networks, neutral_mouth="first", window_rows=29).drive(noise(0.1), SOURCE, 25.0)
    audio_head(networks, noise(0.1), SOURCE, 25.0, np.random.default_rng(0), style=0)
    audio_head(networks, noise(0.1), SOURCE, 25.0, np.random.default_rng(0), style=0)
    assert sorted(name for name, _ in installed) == sorted(BUILDERS), "the head uses the same networks"


def test_lips_and_head_share_the_mel_rows(installed, monkeypatch):
    computed = []
    mel_spectrogram = module.mel.mel_spectrogram
    monkeypatch.setattr(
        module.mel, "mel_spectrogram", lambda *given: computed.append(given[0]) or mel_spectrogram(*given)
    )
    monkeypatch.setattr(module, "_mel_rows", type(module._mel_rows)())
    networks = SadTalker(device="cpu")
    voices = [noise(0.3), noise(0.3)]
    for voice in voices:
        LearnedDriver(networks).drive(voice, SOURCE, 25.0)
        audio_head(networks, voice, SOURCE, 25.0, np.random.default_rng(0), style=0)
    assert [sound for sound in computed if sound is not module._SILENCE] == voices
    voices.clear()
    computed.clear()
    del voice
    assert list(module._mel_rows) == [module._SILENCE], "freed with the voice"


def test_loading_finds_wrong_files(installed, tmp_path):
    networks = SadTalker(device="cpu")
    assert networks.load(["mappingnet", "mappingnet"]).load(["mappingnet"]) is networks
    assert installed == [("mappingnet", None)] and networks.window_rows == 28
    own = tmp_path / "mine.safetensors"
    save_file({"x": torch.zeros(1)}, own, metadata={"rows": "1"})
    with pytest.raises(WeightsError, match=r"mine\.safetensors.*'1' rows: 25 … 99"):
        SadTalker(weights={"mappingnet": own}, device="cpu").load(["mappingnet"])


def test_own_files_state_their_window_length(installed, tmp_path, voice):
    own = tmp_path / "mine.safetensors"
    save_file({"x": torch.zeros(1)}, own, metadata={"rows": "29"})
    lips = learned(weights={"mappingnet": own}).drive(voice, SOURCE, 25.0).offsets
    assert ("mappingnet", own) in installed
    wanted, other = (learned(window_rows=rows).drive(voice, SOURCE, 25.0).offsets for rows in (29, 28))
    np.testing.assert_array_equal(lips, wanted)
    assert np.abs(lips - other).max() > 1e-3
    given = learned(weights={"mappingnet": str(own)}, window_rows=28)
    np.testing.assert_array_equal(given.drive(voice, SOURCE, 25.0).offsets, other)


@pytest.mark.parametrize("rows", ["24", "100", "many", "-30", "²", "3²", "", "٣٠", "9" * 5000])
def test_a_file_with_wrong_rows_is_named(installed, tmp_path, rows):
    own = tmp_path / "mine.safetensors"
    save_file({"x": torch.zeros(1)}, own, metadata={"rows": rows})
    with pytest.raises(WeightsError, match=rf"mine\.safetensors.*'{rows[:79]}"):
        learned(weights={"mappingnet": own}).drive(noise(0.1), SOURCE, 25.0)


def test_missing_weights_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("LPT_MODELS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"not installed.*liveportrait-talker models"):
        learned().drive(noise(0.1), SOURCE, 25.0)


def test_arguments_are_checked_at_construction():
    with pytest.raises(WeightsError, match=r"no network 'mapping_net'.*mappingnet"):
        SadTalker(weights={"mapping_net": "x.pt"}, device="cpu")
    with pytest.raises(ValueError, match=r"estimate, first"):
        learned(neutral_mouth="median")
    for rows in (24, 100):
        with pytest.raises(ValueError, match="25…99"):
            learned(window_rows=rows)


def test_the_range_of_window_rows_is_that_of_the_option():
    (option,) = (field for field in dataclasses.fields(TalkOptions) if field.name == "window_rows")
    assert (option.metadata["low"], option.metadata["high"]) == (WINDOW_ROWS[0], WINDOW_ROWS[-1])
    for rows in (WINDOW_ROWS[0], WINDOW_ROWS[-1]):
        assert TalkOptions(window_rows=rows).window_rows == rows
