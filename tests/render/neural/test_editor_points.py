"""The two expression editors: the released ones slider by slider, what is mended, and what must hold of any face."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.errors import OptionError
from liveportrait_talker.face.ratios import eye_ratios, lip_ratio
from liveportrait_talker.motion.rotation import matrix_from_degrees
from liveportrait_talker.render.neural.animation import PointNetworks
from liveportrait_talker.render.neural.editor import (
    ExpressionEdit,
    PortraitEdit,
    edit_expression,
    edit_portrait,
    sliders,
)
from liveportrait_talker.render.neural.keypoints import FaceMotion, shift_irises

AXES = ("pitch", "yaw", "roll")
PORTRAIT_NAMES = {
    "eyeball_direction_x": "gaze_x",
    "eyeball_direction_y": "gaze_y",
    "lip_variation_zero": "pout",
    "lip_variation_one": "purse",
    "lip_variation_two": "grin",
    "lip_variation_three": "part_lips",
    "mov_x": "move_x",
    "mov_y": "move_y",
    "mov_z": "zoom",
    "eye_ratio": "open_eyes",
    "lip_ratio": "open_lips",
}


def motion_of(part) -> FaceMotion:
    return FaceMotion(
        keypoints=part["kp"].reshape(-1, 21, 3),
        expression=part["exp"].reshape(-1, 21, 3),
        scale=part["scale"].reshape(-1, 1),
        translation=part["t"].reshape(-1, 3),
        rotation_deg=np.concatenate([part[axis].reshape(-1, 1) for axis in AXES], axis=1),
    )


@pytest.fixture(scope="module")
def networks(network):
    def of(salt: str) -> PointNetworks:
        return PointNetworks.of(**{name: network(name, salt) for name in ("stitching", "retarget_eye", "retarget_lip")})

    return of


def test_every_setting_of_the_portrait_editor(golden, networks, close):
    z = golden("liveportrait_editor")
    source, landmarks = motion_of(z.input("source")), z.input("source_lmk")[None]
    assert len(z.cases) >= 54
    for case in z.cases:
        edit = PortraitEdit(**{PORTRAIT_NAMES.get(name, name): value for name, value in case["sliders"].items()})
        x_d = edit_portrait(
            source,
            edit,
            networks(z.salt),
            eye_ratios=eye_ratios(landmarks),
            lip_ratio=lip_ratio(landmarks),
            stitching=case["stitching"],
            as_released=True,
        )
        try:
            close(x_d, z[f"x_d_{case['id']}"], 1e-5)
        except AssertionError as error:
            raise AssertionError(f"case {case}") from error


def test_every_setting_of_the_expression_editor(golden, networks, close):
    z = golden("liveportrait_expression_editor")
    source = motion_of(z.input("source"))
    assert len(z.cases) >= 46
    for case in z.cases:
        edit = ExpressionEdit(**case["sliders"], source_ratio=case["src_ratio"])
        name = case["id"]
        try:
            close(edit.turn_deg(), z[f"angles_{name}"].reshape(-1), 1e-4)
            close(edit.expression(), z[f"delta_{name}"][0], 1e-5)
            for stitching, golden in ((False, f"x_d_{name}"), (True, f"x_d_stitched_{name}")):
                x_d = edit_expression(source, edit, networks(z.salt), stitching=stitching, as_released=True)
                close(x_d, z[golden], 1e-5)
        except AssertionError as error:
            raise AssertionError(f"case {case}") from error


def random_motion(rng: np.random.Generator, frames: int) -> FaceMotion:
    return FaceMotion(
        keypoints=rng.normal(0, 0.2, (frames, 21, 3)),
        expression=rng.normal(0, 0.02, (frames, 21, 3)),
        scale=rng.uniform(1.1, 1.6, (frames, 1)),
        translation=rng.normal(0, 0.1, (frames, 3)),
        rotation_deg=rng.uniform(-20, 20, (frames, 3)),
    )


QUIET = PointNetworks(lambda start, x: x, lambda start, r: np.zeros_like(start), lambda start, r: np.zeros_like(start))


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_sliders_at_rest_give_the_source(seed, frames):
    source = random_motion(np.random.default_rng(seed), frames)
    np.testing.assert_allclose(edit_portrait(source, PortraitEdit(), QUIET), source.points, atol=1e-12)
    np.testing.assert_allclose(edit_expression(source, ExpressionEdit(), QUIET), source.points, atol=1e-12)
    released = edit_portrait(source, PortraitEdit(), QUIET, as_released=True) - source.points
    np.testing.assert_allclose(released - source.translation[:, None] * (0, 0, 1), 0, atol=1e-12)


@st.composite
def edits(draw, kind):
    numbers = {
        s.name: draw(st.floats(s.low, s.high)) for s in sliders(kind) if s.choices is None and draw(st.booleans())
    }
    return kind(**numbers)


@settings(deadline=None)
@given(edits(ExpressionEdit), st.integers(0, 2**32 - 1))
def test_a_clip_is_edited_frame_by_frame(edit, seed):
    source = random_motion(np.random.default_rng(seed), 3)
    sample = random_motion(np.random.default_rng(seed + 1), 1)
    whole = edit_expression(source, edit, QUIET, sample=sample)
    for i in range(3):
        alone = edit_expression(source.take(np.array([i])), edit, QUIET, sample=sample)
        np.testing.assert_allclose(whole[i], alone[0], atol=1e-12)


@settings(deadline=None)
@given(edits(PortraitEdit))
def test_sliders_add_up(edit):
    """Each does its own, whatever the others do."""
    alone = np.zeros((21, 3))
    for slider in sliders(PortraitEdit):
        alone += PortraitEdit(**{slider.name: getattr(edit, slider.name)}).expression()
    np.testing.assert_allclose(edit.expression(), alone, atol=1e-12)
    np.testing.assert_allclose(edit.turn_deg(), (edit.pitch, edit.yaw, edit.roll), atol=1e-12)


def test_gaze_is_that_of_the_predecessor():
    """§15.3 and §15.1 turn irises sideways alike."""
    for x in (-9.0, 0.0, 4.0):
        np.testing.assert_allclose(
            PortraitEdit(gaze_x=x).expression(), shift_irises(np.zeros((1, 21, 3)), x, 0)[0], atol=1e-15
        )


def test_the_table_by_hand():
    blink = ExpressionEdit(blink=-10).expression()
    assert blink[11, 1] == blink[15, 1] == pytest.approx(0.01)
    assert blink[13, 1] == pytest.approx(-0.003) and blink[1, 1] == pytest.approx(0.0025)
    pupil = ExpressionEdit(pupil_y=10).expression()
    lids = ExpressionEdit(blink=-5).expression()
    lids[[11, 15], 1] -= 0.01
    np.testing.assert_allclose(pupil, lids, atol=1e-15)
    np.testing.assert_allclose(ExpressionEdit(wink=10).turn_deg(), (0, -1, -1))
    np.testing.assert_allclose(ExpressionEdit(aaa=20, rotate_yaw=5).turn_deg(), (-1, -5, 0))
    brow = PortraitEdit(eyebrow=-10).expression()
    assert brow[1].tolist() == pytest.approx([0.01, -0.003, 0]) and brow[2].tolist() == pytest.approx([-0.01, 0.003, 0])


SAMPLED = {"mouth": [14, 17, 19, 20], "eyes": [1, 2, 11, 13, 15, 16], "expression": range(21), "all": range(21)}


@pytest.mark.parametrize("parts", ["all", "expression", "rotation", "mouth", "eyes"])
def test_parts_of_a_sample(parts):
    rng = np.random.default_rng(1)
    source, sample = random_motion(rng, 1), random_motion(rng, 1)
    x_d = edit_expression(source, ExpressionEdit(sample_parts=parts, sample_ratio=0.5), QUIET, sample=sample)
    taken = np.zeros((21, 3))
    rows = list(SAMPLED.get(parts, []))
    taken[rows] = 0.5 * sample.expression[0, rows]
    taken[5, :2] = 0
    turn = source.rotation_deg + (0.5 * sample.rotation_deg if parts in ("all", "rotation") else 0)
    turned = (source.keypoints[0] + taken) @ matrix_from_degrees(turn)[0]
    wanted = source.scale[0, 0] * (turned + source.expression[0]) + source.translation[0] * (1, 1, 0)
    np.testing.assert_allclose(x_d[0], wanted, atol=1e-12)


def test_the_sources_expression_is_scaled_but_for_its_place():
    source = random_motion(np.random.default_rng(2), 1)
    half = edit_expression(source, ExpressionEdit(source_ratio=0.5), QUIET)
    kept = np.full((21, 1), 0.5)
    kept[5] = 1
    turned = source.keypoints[0] @ source.rotation[0] + kept * source.expression[0]
    np.testing.assert_allclose(half[0], source.scale[0, 0] * turned + source.translation[0] * (1, 1, 0), atol=1e-12)


@pytest.mark.parametrize("kind", [PortraitEdit, ExpressionEdit])
def test_doors_can_be_made_from_the_sliders(kind):
    shown = sliders(kind)
    assert len({s.name for s in shown}) == len(shown) and all(s.help for s in shown)
    for slider in shown:
        if slider.choices is not None:
            assert slider.default in slider.choices
            with pytest.raises(OptionError, match="choose one of"):
                kind(**{slider.name: "nose"})
            continue
        assert slider.default is None or slider.low <= slider.default <= slider.high
        assert getattr(kind(**{slider.name: slider.high}), slider.name) == slider.high
        flag = "--" + slider.name.replace("_", "-")
        for wrong in (slider.high + 0.01, slider.low - 0.01, float("nan")):
            with pytest.raises(OptionError, match=f"{flag} .* is out of range: give"):
                kind(**{slider.name: wrong})
        for wrong in ("1", True, (1.0,)):
            with pytest.raises(OptionError, match=f"{flag} .* is not a number"):
                kind(**{slider.name: wrong})
    with pytest.raises(OptionError, match="not a number"):
        ExpressionEdit(smile=None)


def test_opening_needs_the_sources_ratios():
    source = random_motion(np.random.default_rng(3), 2)
    with pytest.raises(ValueError, match=r"\(2, 2\), got None"):
        edit_portrait(source, PortraitEdit(open_eyes=0.3), QUIET)
    with pytest.raises(ValueError, match=r"\(2, 1\), got \(1, 1\)"):
        edit_portrait(source, PortraitEdit(open_lips=0.3), QUIET, lip_ratio=np.zeros((1, 1)))


def test_the_sliders_need_no_torch():
    import subprocess
    import sys

    code = "import sys; import liveportrait_talker.options.sliders; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
