"""Keypoints: degrees, rotation, transform, stitching, gaze, and the audio-driven loop in all its modes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from liveportrait_talker.motion.classic import classic_moves, lip_gate  # noqa: E402
from liveportrait_talker.motion.lips import LIP_KEYPOINTS  # noqa: E402
from liveportrait_talker.motion.rotation import matrix_from_degrees  # noqa: E402
from liveportrait_talker.motion.smoothing import kalman_smooth  # noqa: E402
from liveportrait_talker.render.neural.keypoints import (  # noqa: E402
    FaceMotion,
    degrees_from_bins,
    retarget,
    shift_irises,
    stitch,
    talking_points,
    transform_keypoints,
)

AXES = ("pitch", "yaw", "roll")


def face_motion(part) -> FaceMotion:
    """Build a FaceMotion from a golden file's kp, exp, scale, t and angles in degrees."""
    kp = part["kp"].reshape(-1, 21, 3)
    return FaceMotion(
        keypoints=kp,
        expression=part["exp"].reshape(-1, 21, 3),
        scale=part["scale"].reshape(-1, 1),
        translation=part["t"].reshape(-1, 3),
        rotation_deg=np.concatenate([part[axis].reshape(-1, 1) for axis in AXES], axis=1),
    )


def original_lips(source: FaceMotion, offsets: np.ndarray, *, video: bool) -> np.ndarray:
    """Lips of the 2024 original: relative to frame 0 of voice and source, smoothed for videos only."""
    lips = source.expression[:1, LIP_KEYPOINTS] + offsets - offsets[0]
    return kalman_smooth(lips) if video else lips


def first(motion: FaceMotion) -> FaceMotion:
    return motion.take(np.array([0]))


def test_degrees(golden, close):
    z = golden("liveportrait_pose")
    close(degrees_from_bins(z.input("bins"))[:, 0], z["degree"], 1e-4)
    one_hot = np.full((3, 66), -np.inf)
    one_hot[range(3), [0, 33, 65]] = 0.0
    close(degrees_from_bins(one_hot)[:, 0], z["degree_one_hot_0_33_65"], 1e-4)
    close(degrees_from_bins(z.input("kp_info")["pitch"]), z["degree_passthrough"], 1e-4)


def test_rotation_and_transform(golden, close):
    z = golden("liveportrait_pose")
    angles = np.concatenate([z["fixed_angles"], z.input("angles")])
    close(matrix_from_degrees(angles), z["rotation"], 1e-6)
    info, bins = z.input("kp_info"), z.input("bins")
    close(face_motion(info).points, z["x"], 1e-4)
    heads = {key: torch.from_numpy(value) for key, value in info.items()}
    heads |= {axis: torch.from_numpy(bins[i : i + 3]) for axis, i in zip(AXES, (0, 3, 1), strict=True)}
    close(FaceMotion.from_heads(heads).points, z["x_from_bins"], 1e-4)


def test_refined_motion(golden, close):
    z = golden("liveportrait_motion_extractor")
    motion = FaceMotion.from_heads({k[4:]: torch.from_numpy(v) for k, v in z.arrays.items() if k.startswith("raw_")})
    close(motion.rotation_deg, np.concatenate([z[f"info_{axis}"] for axis in AXES], axis=1), 1e-4)
    close(motion.keypoints, z["info_kp"], 2e-6)
    close(motion.expression, z["info_exp"], 2e-6)
    close(motion.scale, z["info_scale"], 2e-6)
    close(motion.translation, z["info_t"], 2e-6)
    close(motion.points, z["x_s"], 2e-6)


def test_transform_of_a_batch_equals_single_faces():
    """Two defects of the released code: (B, 1) broadcast against keypoints, and t_z set to 0 in the caller's array."""
    rng = np.random.default_rng(3)
    kp, exp = rng.normal(size=(2, 4, 21, 3))
    scale, shift = rng.uniform(1, 2, (4, 1)), rng.normal(size=(4, 3))
    rotation, kept = matrix_from_degrees(rng.uniform(-30, 30, (4, 3))), shift.copy()
    together = transform_keypoints(kp, rotation, exp, scale, shift)
    for i in range(4):
        alone = scale[i, 0] * (kp[i] @ rotation[i] + exp[i]) + (*shift[i, :2], 0)
        np.testing.assert_allclose(together[i], alone, atol=1e-12)
    np.testing.assert_array_equal(shift, kept)


def test_face_motion_checks_shapes():
    motion = FaceMotion(np.zeros((2, 21, 3)), np.zeros((2, 21, 3)), np.ones((2, 1)), np.zeros((2, 3)), np.zeros((2, 3)))
    assert repr(motion) == "FaceMotion(N=2)" and len(first(motion)) == 1
    with pytest.raises(ValueError, match=r"scale must be \(N, 1\), got \(2,\)"):
        FaceMotion(motion.keypoints, motion.expression, np.ones(2), motion.translation, motion.rotation_deg)


def test_stitching(golden, network, close):
    z = golden("liveportrait_stitching")
    source, driving = z.input("kp_source"), z.input("kp_driving")
    close(stitch(network("stitching", z.salt), source, driving), z["kp_stitched"], 1e-6)
    close(retarget(network("retarget_eye", z.salt), source, z.input("eye_ratio")), z["eye_delta"], 1e-6)
    close(retarget(network("retarget_lip", z.salt), source, z.input("lip_ratio")), z["lip_delta"], 1e-6)
    one = stitch(network("stitching", z.salt), source[:1], np.repeat(driving[:1], 3, axis=0))
    close(one, np.repeat(z["kp_stitched"][:1], 3, axis=0), 1e-6)


def test_pupils(golden, close):
    z = golden("talker_reference_pose")
    for (x, y), golden in zip(z["pupil.xy"], z["pupil.out"], strict=True):
        close(shift_irises(z["pupil.in"], x, y)[0], golden, 1e-6)


def test_reference_pose(golden, close):
    z = golden("talker_reference_pose")
    close(matrix_from_degrees(z["euler_pyr_degrees"]), z["rotation"], 1e-6)


@pytest.mark.parametrize("case", range(24))
def test_loop_of_the_original(golden, network, close, case):
    z = golden("liveportrait_talker")
    options = z.cases[case]
    frames, video = z.meta["frames"], options["source"] == "video"
    source = face_motion(z.input("source"))
    source = source if video else first(source)
    offsets = z.input("lip_exp").reshape(frames, 6, 3)
    rotation = source.rotation
    if options["pose"] == "reference":
        rotation = matrix_from_degrees(z.input("ref_rot_deg"))
        rotation = rotation if video else kalman_smooth(rotation)
    blinks = None
    if not video:
        ratios = np.concatenate([z.input("source_eye_ratio"), z.input("blink_ratio")[:, :1]], axis=1)
        blinks = retarget(network("retarget_eye", z.salt), source.points, ratios)
    x_d = talking_points(
        source,
        original_lips(source, offsets, video=video),
        rotation,
        pupils=(options["pupil_x"], options["pupil_y"]),
        offsets=blinks,
        stitching=network("stitching", z.salt),
        multiplier=options["driving_multiplier"],
    )
    close(x_d, z[f"x_d_{options['id']}"], 1e-5)


# mode: source, rotation, other options (determined from the arrays; the golden file does not document them)
MODES = {
    "image": ("src", "synthetic", {}),
    "still": ("src", "source", {}),
    "pupil": ("src", "synthetic", {"pupils": (15.0, -10.0)}),
    "ref": ("src", "smooth reference", {}),
    "still_ref": ("src", "reference", {}),
    "video": ("vid", "source", {}),
    "video_ref": ("vid", "reference", {}),
    "multiplier": ("src", "synthetic", {"multiplier": 0.7}),
}


@pytest.mark.parametrize("mode", MODES)
def test_render_keypoints(golden, network, close, mode):
    z = golden("talker_render_keypoints")
    who, pose, options = MODES[mode]
    source = face_motion({key[4:]: value for key, value in z.arrays.items() if key.startswith(who + ".")})
    frames = len(z["lip_exp"])
    if pose == "synthetic":
        # The original's time axis ends at whole seconds (docs/earlier_systems.md, defect 40).
        seconds = np.linspace(0, int(frames / 25), frames)
        moves = classic_moves(seconds, z["degree"], z["frequency"], z["jitter"])
        weight = lip_gate(z["lip_exp"][:, 4:6], 0.02, 7)
        rotation = kalman_smooth(matrix_from_degrees(moves * weight[:, None] + source.rotation_deg))
    elif pose == "source":
        rotation = source.rotation
    else:
        rotation = z["ref_R"][:frames]
        rotation = kalman_smooth(rotation) if pose.startswith("smooth") else rotation
    blinks = None
    if who == "src":
        ratios = np.repeat(z["source_eye_ratio"], frames, axis=0)
        ratios = np.concatenate([ratios, z["driving_blink"][:, :1]], axis=1)
        blinks = retarget(network("retarget_eye", z.salt), source.points, ratios)
    lips = original_lips(source, z["lip_exp"], video=who == "vid")
    stitching = network("stitching", z.salt)
    x_d = talking_points(source, lips, rotation, offsets=blinks, stitching=stitching, **options)
    close(source.points, z[f"{mode}.x_s"], 1e-5)
    close(x_d, z[f"{mode}.x_d"], 1e-5)

    if (
        rotation.shape[0] == frames and who == "src" and blinks is not None
    ):  # a part of the clip gives the same keypoints
        piece = np.s_[20:31]
        part = talking_points(
            source, lips[piece], rotation[piece], offsets=blinks[piece], stitching=stitching, **options
        )
        np.testing.assert_allclose(part, x_d[piece], atol=1e-7)


def test_lips_at_rest_give_the_source():
    rng = np.random.default_rng(0)
    kp, exp = rng.normal(0, 0.2, (1, 21, 3)), rng.normal(0, 0.02, (1, 21, 3))
    source = FaceMotion(kp, exp, np.full((1, 1), 1.3), rng.normal(0, 0.1, (1, 3)), rng.uniform(-20, 20, (1, 3)))
    lips = np.repeat(source.expression[:, LIP_KEYPOINTS], 5, axis=0)
    np.testing.assert_allclose(
        talking_points(source, lips, source.rotation), np.repeat(source.points, 5, axis=0), atol=1e-12
    )
    assert talking_points(source, lips[:0], source.rotation).shape == (0, 21, 3)
