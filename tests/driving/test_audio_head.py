"""Head motion from the voice: goldens, signs and units, limits, length and frame rate."""

from __future__ import annotations

import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from liveportrait_talker.driving.sadtalker import driver, head  # noqa: E402
from liveportrait_talker.driving.sadtalker.head import (  # noqa: E402
    MAX_MOTION,
    audio_head,
    limit_motion,
    predict_pose,
    relative_motion,
    shift_per_unit,
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


class GoldenDraws:
    """A generator that returns the draws of the goldens."""

    def __init__(self, latents):
        self._latents = latents

    def standard_normal(self, shape, dtype):
        return self._latents[: shape[1]][None].astype(dtype)


@pytest.fixture
def installed(monkeypatch, network, golden):
    """Replace installed weights by synthetic ones and the source coefficients by OWN."""
    salt = golden("sadtalker_audio2pose").salt
    monkeypatch.setattr(importing, "load_network", lambda name, build, **given: network(name, salt))
    monkeypatch.setattr(head, "source_coefficients", lambda net, source: OWN)


@pytest.fixture
def speech(golden):
    """The voice of the goldens."""
    return golden("talker_chain")["wav"]


def networks() -> SadTalker:
    return SadTalker(device="cpu")


def noise(seconds: float) -> Waveform:
    rng = np.random.default_rng(3)
    return Waveform(rng.normal(0, 0.1, max(1, round(seconds * RATE))).astype(np.float32), RATE)


def rotation(*angles_deg):
    """Rz(c) Ry(b) Rx(a) for (a, b, c) in degrees, right-handed: x right, y up, z to the camera."""
    (sa, sb, sc), (ca, cb, cc) = np.sin(np.radians(angles_deg)), np.cos(np.radians(angles_deg))
    about_x = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    about_y = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    about_z = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


# ------------------------------------------------------------------ goldens
@pytest.mark.parametrize(("clip", "frames"), [("full", 52), ("chunks", 33), ("twelve", 12), ("short", 10)])
@pytest.mark.parametrize("at_once", [5, 64])
def test_poses_of_a_voice(golden, network, speech, close, monkeypatch, clip, frames, at_once):
    """Shorter clips of the goldens are cut from the windows, not from the sound."""
    z = golden("sadtalker_audio2pose")
    monkeypatch.setattr(driver, "FRAMES_AT_ONCE", at_once)
    voice = Waveform(speech[: 52 * 640], RATE)
    whole = driver.voice_windows

    def cut(sound):
        yield from torch.cat(list(whole(sound)))[:frames].split(at_once)

    monkeypatch.setattr(head, "voice_windows", cut)
    net = network("sadtalker_audio2pose", z.salt)
    pose = predict_pose(net, voice, z["ref_coeff"][64:], GoldenDraws(z[f"{clip}.z"]), style=0)
    close(pose, z[f"{clip}.pose_raw"], of_largest=1e-5)
    close(smooth_pose(pose), z[f"{clip}.coeffs70_smoothed"][:, 64:], of_largest=1e-5)


def test_segments_can_be_decoded_in_parts(network, monkeypatch):
    from liveportrait_talker.driving.sadtalker.nets import audio2pose

    net, sound = network("sadtalker_audio2pose", ""), noise(4.5)
    whole = predict_pose(net, sound, OWN[64:], np.random.default_rng(0), style=7)
    monkeypatch.setattr(audio2pose, "_SEGMENTS_AT_ONCE", 2)
    pieces = predict_pose(net, sound, OWN[64:], np.random.default_rng(0), style=7)
    np.testing.assert_allclose(pieces, whole, atol=1e-5 * np.abs(whole).max())


# ------------------------------------------------------------------ signs and units
@pytest.mark.parametrize("pose_deg", [(4.0, 0.0, 0.0), (0.0, 6.0, 0.0), (0.0, 0.0, 5.0), (-7.0, 8.0, 3.0)])
def test_angles_have_the_signs_of_a_motion_track(pose_deg):
    """The same rotation by the angles of the model and of a `MotionTrack`."""
    poses = np.zeros((2, 6))
    poses[1, :3] = np.radians(pose_deg)
    pitch, yaw, roll = relative_motion(poses, SHIFT_PER_UNIT)[1, :3]
    np.testing.assert_allclose(rotation(-pitch, yaw, roll), rotation(*pose_deg), atol=1e-12)
    nose, crown = rotation(*pose_deg) @ (0, 0, 1), rotation(*pose_deg) @ (0, 1, 0)
    if pitch and not yaw:
        assert np.sign(nose[1]) == np.sign(pitch), "pitch + is nose up"
    if yaw and not pitch:
        assert np.sign(nose[0]) == np.sign(yaw), "yaw + is nose to the image's right"
    if roll and not pitch:
        assert np.sign(crown[0]) == -np.sign(roll), "roll + is counter-clockwise in the image"


def test_shift_and_scale_are_those_of_the_camera():
    """Against a pinhole camera at z = 10 with 102 px per unit at z = 0, for small motion about the axis."""
    px_per_unit, crop_px = 102.0, 102.0 / SHIFT_PER_UNIT

    def project(pose, point):
        x, y, z = np.asarray(point) + pose[3:]
        return np.array([x, -y]) * px_per_unit * 10.0 / (10.0 - z)

    poses = np.zeros((2, 6))
    poses[1, 3:] = (0.1, 0.2, 0.0)
    motion = relative_motion(poses, SHIFT_PER_UNIT)[1]
    np.testing.assert_allclose(motion[3:5] * crop_px, project(poses[1], (0, 0, 0)) - project(poses[0], (0, 0, 0)))
    assert motion[3] > 0 > motion[4], "right and up: y is down"
    assert motion[5] == 0

    poses[:, 3:] = (0.0, 0.0, 0.2), (0.0, 0.0, 0.5)
    scale = 1.0 + relative_motion(poses, SHIFT_PER_UNIT)[1, 5]
    np.testing.assert_allclose(project(poses[0], (0.3, 0.4, 0)) * scale, project(poses[1], (0.3, 0.4, 0)))
    assert scale > 1, "nearer is larger"


def test_impossible_poses_stay_finite():
    poses = np.zeros((3, 6))
    poses[1:, 5] = 10.0, 1000.0
    assert np.isfinite(relative_motion(poses, SHIFT_PER_UNIT)).all()


def test_shift_per_unit_follows_the_standard_face():
    """Its eyes are 0.621 units apart; the crop width is that of the first frame."""
    eyes = FACE.landmarks[[33, 133, 362, 263], :2].reshape(2, 2, 2).mean(axis=1)
    wanted = np.hypot(*(eyes[1] - eyes[0])) / 0.621 / (FACE.crop.scale * FACE.crop.size[0])
    assert shift_per_unit(SOURCE) == pytest.approx(wanted, rel=0.15)
    double = TrackedFace(FACE.landmarks * 2)
    film = Footage.from_frames("v", [np.zeros((600, 600, 3), np.uint8)] * 2, 25)
    late = TrackedSource(film, (FACE, double), (False, True))
    assert shift_per_unit(late) == pytest.approx(2 * shift_per_unit(SOURCE), rel=1e-3)


# ------------------------------------------------------------------ limits
def test_small_motion_is_unchanged(caplog):
    motion = 0.99 * MAX_MOTION * np.sin(np.arange(40))[:, None]
    np.testing.assert_array_equal(limit_motion(motion), motion)
    assert not caplog.records


def test_large_motion_is_scaled_down_as_a_whole(caplog):
    motion = MAX_MOTION * np.array([0.5, 4.0, 0.2, 0.0, 2.0, 1.0]) * np.sin(np.arange(41) / 5)[:, None]
    with caplog.at_level(logging.WARNING):
        less = limit_motion(motion)
    assert "reduced to 25 %" in caplog.text
    assert (np.abs(less) <= MAX_MOTION + 1e-12).all()
    np.testing.assert_allclose(less[:, 1] * 4.0, motion[:, 1], rtol=0.01)
    np.testing.assert_array_equal(less[:, [0, 2]], motion[:, [0, 2]])


@pytest.mark.parametrize("seed", range(3))
def test_the_head_stays_within_the_limits(installed, speech, seed):
    """Synthetic weights turn it by radians."""
    track = audio_head(networks(), Waveform(speech, RATE), SOURCE, 25.0, np.random.default_rng(seed), style=0)
    limits = MAX_MOTION + 1e-6
    assert (np.abs(track.rotation_deg) <= limits[:3]).all()
    assert (np.abs(track.shift) <= limits[3:5]).all()
    assert (np.abs(track.scale - 1) <= limits[5]).all()
    assert not track.rotation_deg[0].any() and not track.shift[0].any() and track.scale[0] == 1
    assert np.abs(np.diff(track.rotation_deg, axis=0)).max() > 0.1


# ------------------------------------------------------------------ length, frame rate, random draws
@pytest.mark.parametrize("seconds", [1 / RATE, 0.06, 0.08, 0.12, 1.3])
@pytest.mark.parametrize("fps", [12.5, 25.0, 60.0])
def test_any_length_at_any_rate(installed, seconds, fps):
    """Also one, two and three frames (docs/earlier_systems.md, defect 26)."""
    sound = noise(seconds)
    track = audio_head(networks(), sound, SOURCE, fps, np.random.default_rng(0), style=45)
    assert len(track) == sound.frame_count(fps)


def test_seed_and_style_change_the_motion(installed):
    def make(seed, style):
        return audio_head(networks(), noise(2.0), SOURCE, 25.0, np.random.default_rng(seed), style=style).rotation_deg

    np.testing.assert_array_equal(make(0, 0), make(0, 0))
    assert np.abs(make(0, 0) - make(1, 0)).max() > 0.01
    assert np.abs(make(0, 0) - make(0, 9)).max() > 0.01


@pytest.mark.parametrize("style", [-1, 46])
def test_there_are_46_styles(style):
    with pytest.raises(ValueError, match="0…45"):
        audio_head(networks(), noise(0.1), SOURCE, 25.0, np.random.default_rng(0), style=style)


def test_missing_weights_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("LPT_MODELS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"not installed.*liveportrait-talker models"):
        audio_head(networks(), noise(0.1), SOURCE, 25.0, np.random.default_rng(0), style=0)


def test_layer_sizes_do_not_grow_with_each_network():
    """docs/earlier_systems.md, defect 28."""

    def shapes():
        with torch.device("meta"):
            return {key: value.shape for key, value in build_network("sadtalker_audio2pose").state_dict().items()}

    assert shapes() == shapes()
