"""The head by the voice: the original's poses, the meter's signs, what a portrait bears, any length and rate."""

from __future__ import annotations

import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from liveportrait_talker.driving.sadtalker import driver, head  # noqa: E402
from liveportrait_talker.driving.sadtalker.head import (  # noqa: E402
    COMFORTABLE,
    audio_head,
    motion_of,
    shift_per_unit,
    voice_pose,
    within_comfort,
)
from liveportrait_talker.driving.sadtalker.networks import SadTalker  # noqa: E402
from liveportrait_talker.driving.sadtalker.smoothing import smooth_pose  # noqa: E402
from liveportrait_talker.errors import WeightsError  # noqa: E402
from liveportrait_talker.face.tracked import TrackedFace, TrackedSource  # noqa: E402
from liveportrait_talker.media import Footage  # noqa: E402
from liveportrait_talker.media.waveform import Waveform  # noqa: E402
from liveportrait_talker.pipelines.networks import build_network  # noqa: E402
from liveportrait_talker.render.embedded.model import face_model  # noqa: E402
from liveportrait_talker.weights import importing  # noqa: E402

RATE = 16_000
OWN = np.array([*np.zeros(64), 0.05, -0.1, 0.02, 0.1, 0.2, 0.3], np.float32)
FACE = TrackedFace(face_model().mean_face * (1, -1, -1) * 40 + 150)
PICTURE = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)
SOURCE = TrackedSource(Footage.from_array("p", PICTURE), (FACE,))
SHIFT_PER_UNIT = 0.2


class Drawn:
    """Stands for a generator: gives what the original drew."""

    def __init__(self, latents):
        self._latents = latents

    def standard_normal(self, shape, dtype):
        return self._latents[: shape[1]][None].astype(dtype)


@pytest.fixture
def installed(monkeypatch, network, golden):
    """Synthetic weights stand for installed ones, OWN for the source."""
    salt = golden("sadtalker_audio2pose").salt
    monkeypatch.setattr(importing, "load_network", lambda name, build, **given: network(name, salt))
    monkeypatch.setattr(head, "source_coefficients", lambda net, source: OWN)


@pytest.fixture
def speech(golden):
    """The goldens' voice."""
    return golden("talker_chain")["wav"]


def networks() -> SadTalker:
    return SadTalker(device="cpu")


def noise(seconds: float) -> Waveform:
    rng = np.random.default_rng(3)
    return Waveform(rng.normal(0, 0.1, max(1, round(seconds * RATE))).astype(np.float32), RATE)


def turned(*angles_deg):
    """Rz(c) Ry(b) Rx(a) for (a, b, c) in degrees, each turn right-handed: x right, y up, z to the camera."""
    (sa, sb, sc), (ca, cb, cc) = np.sin(np.radians(angles_deg)), np.cos(np.radians(angles_deg))
    about_x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    about_z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


# ------------------------------------------------------------------ the original's numbers
@pytest.mark.parametrize(("clip", "frames"), [("full", 52), ("chunks", 33), ("twelve", 12), ("short", 10)])
@pytest.mark.parametrize("at_once", [5, 64])
def test_voice_to_pose(golden, network, speech, close, monkeypatch, clip, frames, at_once):
    """Shorter clips of the goldens are cut from the windows, not from the sound: at the end they hear beyond it."""
    z = golden("sadtalker_audio2pose")
    monkeypatch.setattr(driver, "FRAMES_AT_ONCE", at_once)
    voice = Waveform(speech[: 52 * 640], RATE)
    whole = driver.voice_windows

    def cut(sound):
        yield from torch.cat(list(whole(sound)))[:frames].split(at_once)

    monkeypatch.setattr(head, "voice_windows", cut)
    net = network("sadtalker_audio2pose", z.salt)
    pose = voice_pose(net, voice, z["ref_coeff"][64:], Drawn(z[f"{clip}.z"]), style=0)
    close(pose, z[f"{clip}.pose_raw"], of_largest=1e-5)
    close(smooth_pose(pose), z[f"{clip}.coeffs70_smoothed"][:, 64:], of_largest=1e-5)


def test_segments_are_drawn_in_pieces_too(network, monkeypatch):
    from liveportrait_talker.driving.sadtalker.nets import audio2pose

    net, sound = network("sadtalker_audio2pose", ""), noise(4.5)
    whole = voice_pose(net, sound, OWN[64:], np.random.default_rng(0), style=7)
    monkeypatch.setattr(audio2pose, "_SEGMENTS_AT_ONCE", 2)
    pieces = voice_pose(net, sound, OWN[64:], np.random.default_rng(0), style=7)
    np.testing.assert_allclose(pieces, whole, atol=1e-5 * np.abs(whole).max())


# ------------------------------------------------------------------ signs and units
@pytest.mark.parametrize("pose_deg", [(4.0, 0.0, 0.0), (0.0, 6.0, 0.0), (0.0, 0.0, 5.0), (-7.0, 8.0, 3.0)])
def test_angles_are_the_meters(pose_deg):
    """The same turn of the head, told by the model's angles and by the meter's."""
    poses = np.zeros((2, 6))
    poses[1, :3] = np.radians(pose_deg)
    pitch, yaw, roll = motion_of(poses, SHIFT_PER_UNIT)[1, :3]
    np.testing.assert_allclose(turned(-pitch, yaw, roll), turned(*pose_deg), atol=1e-12)
    nose, crown = turned(*pose_deg) @ (0, 0, 1), turned(*pose_deg) @ (0, 1, 0)
    if pitch and not yaw:
        assert np.sign(nose[1]) == np.sign(pitch), "pitch + is nose up"
    if yaw and not pitch:
        assert np.sign(nose[0]) == np.sign(yaw), "yaw + is nose to the picture's right"
    if roll and not pitch:
        assert np.sign(crown[0]) == -np.sign(roll), "roll + is counter-clockwise in the picture"


def test_shift_and_scale_are_the_cameras():
    """A pinhole at z = 10, 102 px a unit at z = 0, sees what the track says, for small moves about the axis."""
    px_per_unit, crop_px = 102.0, 102.0 / SHIFT_PER_UNIT

    def seen(pose, point):
        x, y, z = np.asarray(point) + pose[3:]
        return np.array([x, -y]) * px_per_unit * 10.0 / (10.0 - z)

    poses = np.zeros((2, 6))
    poses[1, 3:] = (0.1, 0.2, 0.0)
    motion = motion_of(poses, SHIFT_PER_UNIT)[1]
    np.testing.assert_allclose(motion[3:5] * crop_px, seen(poses[1], (0, 0, 0)) - seen(poses[0], (0, 0, 0)))
    assert motion[3] > 0 > motion[4], "right and up: y is down"
    assert motion[5] == 0

    poses[:, 3:] = (0.0, 0.0, 0.2), (0.0, 0.0, 0.5)
    scale = 1.0 + motion_of(poses, SHIFT_PER_UNIT)[1, 5]
    np.testing.assert_allclose(seen(poses[0], (0.3, 0.4, 0)) * scale, seen(poses[1], (0.3, 0.4, 0)))
    assert scale > 1, "nearer is larger"


def test_what_is_no_pose_stays_finite():
    poses = np.zeros((3, 6))
    poses[1:, 5] = 10.0, 1000.0
    assert np.isfinite(motion_of(poses, SHIFT_PER_UNIT)).all()


def test_a_unit_is_as_wide_as_the_standard_face_says():
    """Its eyes stand 0.621 apart; the crop's width counts from the first face, whichever frame is looked at."""
    eyes = FACE.landmarks[[33, 133, 362, 263], :2].reshape(2, 2, 2).mean(axis=1)
    wanted = np.hypot(*(eyes[1] - eyes[0])) / 0.621 / (FACE.crop.scale * FACE.crop.size[0])
    assert shift_per_unit(SOURCE) == pytest.approx(wanted, rel=0.15)
    double = TrackedFace(FACE.landmarks * 2)
    film = Footage.from_frames("v", [np.zeros((600, 600, 3), np.uint8)] * 2, 25)
    late = TrackedSource(film, (FACE, double), (False, True))
    assert shift_per_unit(late) == pytest.approx(2 * shift_per_unit(SOURCE), rel=1e-3)


# ------------------------------------------------------------------ what a portrait bears
def test_small_motion_is_left_alone(caplog):
    motion = 0.99 * COMFORTABLE * np.sin(np.arange(40))[:, None]
    np.testing.assert_array_equal(within_comfort(motion), motion)
    assert not caplog.records


def test_wide_motion_is_made_smaller_as_a_whole(caplog):
    motion = COMFORTABLE * np.array([0.5, 4.0, 0.2, 0.0, 2.0, 1.0]) * np.sin(np.arange(41) / 5)[:, None]
    with caplog.at_level(logging.WARNING):
        less = within_comfort(motion)
    assert "reduced to 25 %" in caplog.text
    assert (np.abs(less) <= COMFORTABLE + 1e-12).all()
    np.testing.assert_allclose(less[:, 1] * 4.0, motion[:, 1], rtol=0.01)
    np.testing.assert_array_equal(less[:, [0, 2]], motion[:, [0, 2]])


@pytest.mark.parametrize("seed", range(3))
def test_the_whole_head_is_bearable(installed, speech, seed):
    """Synthetic weights turn it by radians."""
    track = audio_head(networks(), Waveform(speech, RATE), SOURCE, 25.0, np.random.default_rng(seed), style=0)
    limits = COMFORTABLE + 1e-6
    assert (np.abs(track.rotation_deg) <= limits[:3]).all()
    assert (np.abs(track.shift) <= limits[3:5]).all()
    assert (np.abs(track.scale - 1) <= limits[5]).all()
    assert not track.rotation_deg[0].any() and not track.shift[0].any() and track.scale[0] == 1
    assert np.abs(np.diff(track.rotation_deg, axis=0)).max() > 0.1


# ------------------------------------------------------------------ length, rate, chance
@pytest.mark.parametrize("seconds", [1 / RATE, 0.06, 0.08, 0.12, 1.3])
@pytest.mark.parametrize("fps", [12.5, 25.0, 60.0])
def test_any_length_at_any_rate(installed, seconds, fps):
    """Defect 26: also one, two and three frames."""
    sound = noise(seconds)
    track = audio_head(networks(), sound, SOURCE, fps, np.random.default_rng(0), style=45)
    assert len(track) == sound.frame_count(fps)


def test_chance_and_style_decide(installed):
    def made(seed, style):
        return audio_head(networks(), noise(2.0), SOURCE, 25.0, np.random.default_rng(seed), style=style).rotation_deg

    np.testing.assert_array_equal(made(0, 0), made(0, 0))
    assert np.abs(made(0, 0) - made(1, 0)).max() > 0.01
    assert np.abs(made(0, 0) - made(0, 9)).max() > 0.01


@pytest.mark.parametrize("style", [-1, 46])
def test_there_are_46_styles(style):
    with pytest.raises(ValueError, match="0…45"):
        audio_head(networks(), noise(0.1), SOURCE, 25.0, np.random.default_rng(0), style=style)


def test_missing_weights_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("LPT_MODELS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"not installed.*liveportrait-talker models"):
        audio_head(networks(), noise(0.1), SOURCE, 25.0, np.random.default_rng(0), style=0)


def test_a_second_network_has_the_layers_of_the_first():
    """Defect 28: the original's layer sizes grew with every network that was built."""

    def shapes():
        with torch.device("meta"):
            return {key: value.shape for key, value in build_network("sadtalker_audio2pose").state_dict().items()}

    assert shapes() == shapes()
