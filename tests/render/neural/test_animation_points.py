"""Video-driven animation: the released loop with all options, fixed defects, and properties for any clip."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from face_motions import motion_of, random_motion
from liveportrait_talker.errors import OptionError
from liveportrait_talker.face.ratios import eye_ratios, lip_ratio
from liveportrait_talker.motion.rotation import matrix_from_degrees
from liveportrait_talker.motion.template import MotionTemplate
from liveportrait_talker.render.neural.animation import (
    Animation,
    AnimationSettings,
    DrivingMotion,
    PointNetworks,
)
from liveportrait_talker.render.neural.animation_geometry import (
    LIP0,
    driven_components,
    hull_volume,
    motion_multiplier,
    nearest_rotation,
)
from liveportrait_talker.render.neural.animation_inputs import DRIVING_OPTIONS, REGIONS
from liveportrait_talker.render.neural.keypoints import FaceMotion

FLAGS = {
    "flag_relative_motion": "relative_motion",
    "flag_stitching": "stitching",
    "flag_normalize_lip": "normalize_lip",
    "flag_eye_retargeting": "eye_retargeting",
    "flag_lip_retargeting": "lip_retargeting",
    "flag_source_video_eye_retargeting": "source_video_eye_retargeting",
    "driving_smooth_observation_variance": "smooth_observation_variance",
}


@pytest.fixture(scope="module")
def loop(golden):
    return golden("liveportrait_loop")


@pytest.fixture(scope="module")
def networks(loop, network):
    return PointNetworks.of(
        **{name: network(name, loop.salt) for name in ("stitching", "retarget_eye", "retarget_lip")}
    )


def animation(loop, networks, case, **changes) -> Animation:
    given_flags = {FLAGS.get(name, name): value for name, value in case["flags"].items()}
    source, driving = motion_of(loop.input("source")), motion_of(loop.input("driving"))
    landmarks = loop.input("source_lmk").copy()
    if case["closed"]:
        landmarks[:, [18, 42, 102]] = landmarks[:, [6, 30, 90]]
    eyes, lips = eye_ratios(landmarks), lip_ratio(landmarks)
    if case["source"] == "image":
        source, eyes, lips = source.take(np.array([0])), eyes[:1], lips[:1]
    clip = DrivingMotion.of(driving, loop.input("c_eyes").reshape(-1, 2), loop.input("c_lip").reshape(-1, 1), 25.0)
    if case["driving"] == "image":
        clip = clip.take(np.array([0]))
    asked = AnimationSettings(**{"as_released": True, **given_flags, **changes})
    return Animation(source, clip, asked, networks, eye_ratios=eyes, lip_ratio=lips)


def test_every_option_set_equals_the_released_loop(loop, networks, close):
    assert len(loop.cases) >= 150
    for case in loop.cases:
        made = animation(loop, networks, case)
        golden = loop[f"x_d_{case['id']}"]
        try:
            close(made.points(np.arange(len(made))), golden, 1e-5)
        except AssertionError as error:
            raise AssertionError(f"case {case}") from error


def test_small_parts_of_the_loop(loop, close):
    source, driving = motion_of(loop.input("source")), motion_of(loop.input("driving"))
    close(LIP0, loop["lip_array"][0], 1e-15)
    close(source.points[:1].reshape(loop["x_s_image"].shape), loop["x_s_image"], 1e-5)
    close(source.points.reshape(loop["x_s_video"].shape), loop["x_s_video"], 1e-5)
    ratio = motion_multiplier(source.keypoints[0], driving.keypoints[0])
    assert ratio == pytest.approx(float(loop["motion_multiplier"]), abs=1e-6)


def fixed_defect_applies(case) -> bool:
    """Return whether a fixed defect changes the result with these options."""
    flags = case["flags"]
    retargets = flags["flag_eye_retargeting"] or (flags["flag_lip_retargeting"] and flags["flag_relative_motion"])
    picture_eyes = case["source"] == case["driving"] == "image" and flags["animation_region"] == "eyes"
    turned = case["source"] == case["driving"] == "video" and flags["animation_region"] in ("all", "pose")
    return retargets or turned or (picture_eyes and flags["flag_relative_motion"])


def test_only_fixed_defects_differ(loop, networks, close):
    for case in loop.cases:
        made = animation(loop, networks, case, as_released=False)
        off = np.abs(made.points(np.arange(len(made))) - loop[f"x_d_{case['id']}"]).max()
        assert fixed_defect_applies(case) or off < 1e-5, (case, off)


def as_clip(rng: np.random.Generator, motion: FaceMotion) -> DrivingMotion:
    return DrivingMotion.of(motion, rng.uniform(0, 0.5, (len(motion), 2)), rng.uniform(0, 0.5, (len(motion), 1)), 30.0)


def nothing(start, other):
    """A stitching or retargeting network without effect."""
    return other if other.shape == start.shape else np.zeros_like(start)


QUIET = PointNetworks(nothing, nothing, nothing)
LENGTHS = st.sampled_from([1, 2, 5])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), LENGTHS, LENGTHS, st.sampled_from(REGIONS), st.booleans(), st.booleans())
def test_multiplier_0_is_the_source(seed, frames, driven, region, relative, retargets):
    rng = np.random.default_rng(seed)
    source = random_motion(rng, frames)
    asked = AnimationSettings(
        relative_motion=relative, animation_region=region, driving_multiplier=0.0, eye_retargeting=retargets
    )
    eyes = rng.uniform(0, 0.5, (frames, 2))
    made = Animation(source, as_clip(rng, random_motion(rng, driven)), asked, QUIET, eye_ratios=eyes)
    wanted = np.broadcast_to(source.points[: len(made)], (len(made), 21, 3))
    np.testing.assert_array_equal(made.points(np.arange(len(made))), wanted)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(REGIONS), st.sampled_from(DRIVING_OPTIONS), st.booleans())
def test_the_reference_frame_gives_the_source(seed, region, option, stitched):
    rng = np.random.default_rng(seed)
    source = random_motion(rng, 1)
    asked = AnimationSettings(animation_region=region, driving_option=option, stitching=stitched)
    made = Animation(source, as_clip(rng, random_motion(rng, 3)), asked, QUIET)
    np.testing.assert_allclose(made.points(np.array([0])), source.points, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), LENGTHS, LENGTHS, st.sampled_from(REGIONS), st.booleans(), st.integers(1, 7))
def test_parts_of_a_clip_equal_the_whole(seed, frames, driven, region, relative, size):
    rng = np.random.default_rng(seed)
    asked = AnimationSettings(
        relative_motion=relative,
        animation_region=region,
        normalize_lip=True,
        lip_retargeting=bool(seed % 2),
        source_video_eye_retargeting=True,
    )
    ratios = {"eye_ratios": rng.uniform(0, 0.5, (frames, 2)), "lip_ratio": rng.uniform(0, 0.5, (frames, 1))}
    nets = PointNetworks(
        lambda start, x: x + 0.1 * start,
        lambda start, r: start * r[:, :1, None] + r[:, 2:, None],
        lambda start, r: start * r[:, :1, None] + r[:, 1:, None],
    )
    made = Animation(random_motion(rng, frames), as_clip(rng, random_motion(rng, driven)), asked, nets, **ratios)
    whole = made.points(np.arange(len(made)))
    assert len(made) == (min(frames, driven) if min(frames, driven) > 1 else max(frames, driven))
    parts = [made.points(np.arange(k, min(k + size, len(made)))) for k in range(0, len(made), size)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-13)
    assert made.points(np.array([], np.intp)).shape == (0, 21, 3)


def test_a_clip_without_motion_gives_the_source():
    rng = np.random.default_rng(1)
    held = random_motion(rng, 1).take(np.zeros(4, np.intp))
    source = random_motion(rng, 1)
    made = Animation(source, as_clip(rng, held), AnimationSettings(), QUIET)
    np.testing.assert_allclose(made.points(np.arange(4)), np.repeat(source.points, 4, axis=0), atol=1e-12)


def test_relative_retargeting_keeps_the_motion():
    """The released code discards it; retargeted parts are not driven by the expression as well."""
    rng = np.random.default_rng(2)
    source, driving = random_motion(rng, 1), random_motion(rng, 6)
    ratios = {"eye_ratios": np.full((1, 2), 0.3), "lip_ratio": np.full((1, 1), 0.1)}
    clip, frames = as_clip(rng, driving), np.arange(6)
    plain = Animation(source, clip, AnimationSettings(), QUIET, **ratios).points(frames)
    eyes = Animation(source, clip, AnimationSettings(eye_retargeting=True), QUIET, **ratios).points(frames)
    rows = [11, 13, 15, 16, 18]
    rest = [k for k in range(21) if k not in rows]
    np.testing.assert_allclose(eyes[:, rest], plain[:, rest], atol=1e-12)
    assert np.abs(eyes[:, rows] - plain[:, rows]).max() > 1e-3
    lost = AnimationSettings(eye_retargeting=True, as_released=True)
    np.testing.assert_array_equal(
        Animation(source, clip, lost, QUIET, **ratios).points(frames), np.repeat(source.points, 6, axis=0)
    )


def test_eye_retargeting_uses_both_driving_eyes():
    rng = np.random.default_rng(3)
    asked = []

    def remembering(start, ratios):
        asked.append(ratios)
        return np.zeros_like(start)

    nets = PointNetworks(nothing, remembering, nothing)
    clip = as_clip(rng, random_motion(rng, 3))
    for released, wanted in ((False, clip.eye_ratios.mean(axis=1)), (True, clip.eye_ratios[:, 0])):
        chosen = AnimationSettings(eye_retargeting=True, as_released=released)
        made = Animation(random_motion(rng, 1), clip, chosen, nets, eye_ratios=np.array([[0.2, 0.3]]))
        made.points(np.arange(3))
        np.testing.assert_allclose(asked.pop(), np.column_stack([np.full(3, 0.2), np.full(3, 0.3), wanted]))


def test_smoothed_rotations_are_rotations():
    rng = np.random.default_rng(4)
    source, clip = random_motion(rng, 8), as_clip(rng, random_motion(rng, 8))
    made = Animation(source, clip, AnimationSettings(smooth_observation_variance=1e-3), QUIET)
    np.testing.assert_allclose(made._rotation @ made._rotation.swapaxes(1, 2), np.tile(np.eye(3), (8, 1, 1)), atol=1e-9)
    turns = matrix_from_degrees(rng.uniform(-90, 90, (5, 3)))
    np.testing.assert_allclose(nearest_rotation(turns * 0.7), turns, atol=1e-12)
    assert np.linalg.det(nearest_rotation(np.diag([1.0, 1.0, -0.1])[None]))[0] == pytest.approx(1)


def test_hull_volume():
    scipy_spatial = pytest.importorskip("scipy.spatial")
    rng = np.random.default_rng(5)
    for _ in range(20):
        cloud = rng.normal(0, 0.3, (21, 3))
        assert hull_volume(cloud) == pytest.approx(scipy_spatial.ConvexHull(cloud).volume, rel=1e-7)
    cube = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T.astype(float)
    assert hull_volume(cube) == pytest.approx(1, rel=1e-7)  # four corners in each plane
    assert hull_volume(np.vstack([cube, cube])) == pytest.approx(1, rel=1e-7)
    flat = cube * (1, 1, 0)
    assert motion_multiplier(cube, flat) == motion_multiplier(flat, cube) == 1.0
    assert motion_multiplier(4 * cube, cube) == pytest.approx(8, rel=1e-6)


def test_components():
    assert driven_components("all", every=True).all()
    assert driven_components("exp", every=False).sum() == 13 * 3 + 6
    assert not driven_components("pose", every=True).any()
    assert driven_components("lip", every=True).sum() == 18
    assert driven_components("eyes", every=False).sum() == 15


def test_invalid_settings_and_shapes():
    rng = np.random.default_rng(7)
    source, clip = random_motion(rng, 1), as_clip(rng, random_motion(rng, 2))
    for wrong in (
        {"animation_region": "nose"},
        {"driving_option": "friendly"},
        {"driving_multiplier": 2.1},
        {"driving_multiplier": float("nan")},
        {"driving_multiplier": "1"},
        {"smooth_observation_variance": 0.0},
        {"lip_normalize_threshold": True},
    ):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            AnimationSettings(**wrong)
    with pytest.raises(ValueError, match="eye ratios"):
        Animation(source, clip, AnimationSettings(eye_retargeting=True), QUIET)
    with pytest.raises(ValueError, match="lip ratio"):
        Animation(source, clip, AnimationSettings(lip_retargeting=True), QUIET)
    with pytest.raises(ValueError, match=r"\(T, 2\)"):
        DrivingMotion.of(source, np.zeros((1, 3)), np.zeros((1, 1)), 25.0)
    with pytest.raises(ValueError, match="fps above 0"):
        DrivingMotion.of(source, np.zeros((1, 2)), np.zeros((1, 1)), 0.0)
    assert repr(clip) == "DrivingMotion(T=2, fps=30)"
    assert repr(Animation(source, clip, AnimationSettings(), QUIET)) == "Animation(T=2)"


def test_a_template_equals_its_clip():
    rng = np.random.default_rng(8)
    motion = random_motion(rng, 3)
    clip = as_clip(rng, motion)
    template = MotionTemplate(
        clip.fps, clip.scale, clip.rotation, clip.expression, clip.translation,
        motion.keypoints, motion.points, clip.eye_ratios, clip.lip_ratio,
    )  # fmt: skip
    kept = DrivingMotion.from_template(template)
    np.testing.assert_allclose(kept.rotation, clip.rotation, atol=1e-6)
    assert len(kept.take(np.array([0, 0, 2, 2]), 60.0)) == 4 and kept.take(np.array([1]), 60.0).fps == 60.0
