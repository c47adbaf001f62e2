import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.render.embedded.texture import Texture, double_size, enlarge

IMAGE = np.random.default_rng(3).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_original_pixels_are_unchanged():
    assert (double_size(IMAGE)[::2, ::2] == IMAGE).all()


def test_a_gradient_is_interpolated():
    ramp = np.broadcast_to(np.arange(0, 240, 3, dtype=np.uint8)[None, :, None], (20, 80, 3)).copy()
    between = double_size(ramp)[:, 1::2][:, 8:-8].astype(float)
    assert np.abs(between - (ramp[:, 8:-8].repeat(2, 0) + 1.5)).max() <= 1.0


@settings(max_examples=40)
@given(st.integers(0, 70), st.integers(0, 50), st.integers(1, 20), st.integers(1, 20), st.booleans())
def test_redrawing_a_patch_equals_enlarging_the_edited_image(left, top, width, height, many_frames):
    width, height = min(width, 80 - left), min(height, 60 - top)
    patch = np.random.default_rng(left).integers(0, 256, (height, width, 3), dtype=np.uint8)
    texture = Texture(IMAGE, (0, 0, 80, 60), many_frames=many_frames)
    texture.redraw(left, top, patch)
    edited = IMAGE.copy()
    edited[top : top + height, left : left + width] = patch
    y, x = np.mgrid[0 : 60 * texture.factor, 0 : 80 * texture.factor].astype(np.float32)
    assert (texture.sample(x, y) == enlarge(edited, texture.factor)).all()


@pytest.mark.parametrize(("many_frames", "factor"), [(False, 2), (True, 4)])
def test_sampling_at_pixel_centres_gives_the_image(many_frames, factor):
    texture = Texture(IMAGE, (10, 5, 70, 50), many_frames=many_frames)
    assert texture.factor == factor
    y, x = np.mgrid[0:45, 0:60].astype(np.float32) * factor
    assert (texture.sample(x, y) == IMAGE[5:50, 10:70]).all()
    assert texture.covers((10, 5, 70, 50)) and not texture.covers((9, 5, 70, 50))
