"""The expression editor: the released one slider by slider, what differs, and what must hold of any face."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from face_motions import motion_of, random_motion
from liveportrait_talker.errors import OptionError
from liveportrait_talker.motion.rotation import matrix_from_degrees
from liveportrait_talker.options.sliders import SAMPLE_PARTS, ExpressionEdit, sliders
from liveportrait_talker.render.neural.animation import PointNetworks
from liveportrait_talker.render.neural.editor import edit_expression
from liveportrait_talker.render.neural.keypoints import shift_irises


@pytest.fixture(scope="module")
def networks(network):
    def of(salt: str) -> PointNetworks:
        return PointNetworks.of(**{name: network(name, salt) for name in ("stitching", "retarget_eye", "retarget_lip")})

    return of


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


QUIET = PointNetworks(lambda start, x: x, lambda start, r: np.zeros_like(start), lambda start, r: np.zeros_like(start))


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_sliders_at_rest_give_the_source(seed, frames):
    source = random_motion(np.random.default_rng(seed), frames)
    np.testing.assert_allclose(edit_expression(source, ExpressionEdit(), QUIET), source.points, atol=1e-12)
    released = edit_expression(source, ExpressionEdit(), QUIET, as_released=True)[:, 5] - source.points[:, 5]
    assert np.abs(released).max() > 1e-6, "the released editor moves a face in depth"


@st.composite
def edits(draw):
    ranges = {each.name: (each.metadata["low"], each.metadata["high"]) for each in sliders(ExpressionEdit)}
    return ExpressionEdit(**{name: draw(st.floats(*limits)) for name, limits in ranges.items() if draw(st.booleans())})


@settings(deadline=None)
@given(edits(), st.integers(0, 2**32 - 1))
def test_a_clip_is_edited_frame_by_frame(edit, seed):
    source = random_motion(np.random.default_rng(seed), 3)
    sample = random_motion(np.random.default_rng(seed + 1), 1)
    whole = edit_expression(source, edit, QUIET, sample=sample)
    for i in range(3):
        alone = edit_expression(source.take(np.array([i])), edit, QUIET, sample=sample)
        np.testing.assert_allclose(whole[i], alone[0], atol=1e-12)


@settings(deadline=None)
@given(edits())
def test_sliders_add_up(edit):
    """Each does its own, whatever the others do."""
    alone = np.zeros((21, 3))
    for slider in sliders(ExpressionEdit):
        alone += ExpressionEdit(**{slider.name: getattr(edit, slider.name)}).expression()
    np.testing.assert_allclose(edit.expression(), alone, atol=1e-12)


def test_irises_turn_sideways_as_under_generate():
    for x in (-9.0, 0.0, 4.0):
        np.testing.assert_allclose(
            ExpressionEdit(pupil_x=x).expression(), shift_irises(np.zeros((1, 21, 3)), x, 0)[0], atol=1e-15
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
    brow = ExpressionEdit(eyebrow=-10).expression()
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


def test_sliders_know_their_ranges():
    for slider in sliders(ExpressionEdit):
        low, high = slider.metadata["low"], slider.metadata["high"]
        assert slider.metadata["help"] and low <= slider.default <= high
        assert getattr(ExpressionEdit(**{slider.name: high}), slider.name) == high
        flag = "--" + slider.name.replace("_", "-")
        for wrong in (high + 0.01, low - 0.01, float("nan")):
            with pytest.raises(OptionError, match=f"{flag} .* is out of range: give"):
                ExpressionEdit(**{slider.name: wrong})
        for wrong in ("1", True, (1.0,), None):
            with pytest.raises(OptionError, match=f"{flag} .* is not a number"):
                ExpressionEdit(**{slider.name: wrong})
    assert ExpressionEdit().sample_parts in SAMPLE_PARTS
    with pytest.raises(OptionError, match="choose one of"):
        ExpressionEdit(sample_parts="nose")


def test_the_sliders_need_no_torch():
    import subprocess
    import sys

    code = "import sys; import liveportrait_talker.options.sliders; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
