import numpy as np

from liveportrait_talker.face.crop import FaceCrop
from liveportrait_talker.render.paste import paste
from liveportrait_talker.render.protocol import FaceFrame

IMAGE = np.full((40, 60, 3), 10, np.uint8)
PATCH = np.full((20, 20, 3), 200, np.uint8)


def test_a_window_replaces_only_its_pixels():
    out = paste(IMAGE, FaceFrame(PATCH, None, FaceCrop.window(5, 6, 20, 20), 0))
    assert (out[6:26, 5:25] == 200).all()
    assert out.sum() == IMAGE.sum() + 20 * 20 * 3 * 190
    assert (IMAGE == 10).all(), "the source must not be modified"


def test_parts_outside_the_image_are_cut_off():
    out = paste(IMAGE, FaceFrame(PATCH, None, FaceCrop.window(-10, 30, 20, 20), 0))
    assert (out[30:, :10] == 200).all() and (out[:30] == 10).all() and (out[:, 10:] == 10).all()
    assert (paste(IMAGE, FaceFrame(PATCH, None, FaceCrop.window(100, 100, 20, 20), 0)) == IMAGE).all()


def test_alpha_blends():
    alpha = np.full((20, 20), 0.5, np.float32)
    out = paste(IMAGE, FaceFrame(PATCH, alpha, FaceCrop.window(0, 0, 20, 20), 0))
    assert (out[:20, :20] == 105).all()


def test_a_rotated_crop_is_pasted_in_place():
    to_image = np.array([[0, -1, 30], [1, 0, 5], [0, 0, 1]], float)  # a quarter turn
    marked = PATCH.copy()
    marked[0, 19] = (255, 0, 0)
    out = paste(IMAGE, FaceFrame(marked, None, FaceCrop(to_image, (20, 20)), 0))
    assert out[24, 30].tolist() == [255, 0, 0]
