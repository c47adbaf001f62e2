import numpy as np

from liveportrait_talker.face.crop import FaceCrop
from liveportrait_talker.render.composite import paste
from liveportrait_talker.render.protocol import FaceFrame

PICTURE = np.full((40, 60, 3), 10, np.uint8)
PATCH = np.full((20, 20, 3), 200, np.uint8)


def test_a_window_replaces_its_pixels_and_only_them():
    out = paste(PICTURE, FaceFrame(PATCH, None, FaceCrop.window(5, 6, 20, 20), 0))
    assert (out[6:26, 5:25] == 200).all()
    assert out.sum() == PICTURE.sum() + 20 * 20 * 3 * 190
    assert (PICTURE == 10).all(), "the source is not painted in place"


def test_what_lies_outside_is_cut_off():
    out = paste(PICTURE, FaceFrame(PATCH, None, FaceCrop.window(-10, 30, 20, 20), 0))
    assert (out[30:, :10] == 200).all() and (out[:30] == 10).all() and (out[:, 10:] == 10).all()
    assert (paste(PICTURE, FaceFrame(PATCH, None, FaceCrop.window(100, 100, 20, 20), 0)) == PICTURE).all()


def test_alpha_mixes():
    alpha = np.full((20, 20), 0.5, np.float32)
    out = paste(PICTURE, FaceFrame(PATCH, alpha, FaceCrop.window(0, 0, 20, 20), 0))
    assert (out[:20, :20] == 105).all()


def test_a_turned_crop_lands_where_it_belongs():
    to_image = np.array([[0, -1, 30], [1, 0, 5], [0, 0, 1]], float)  # a quarter turn
    marked = PATCH.copy()
    marked[0, 19] = (255, 0, 0)
    out = paste(PICTURE, FaceFrame(marked, None, FaceCrop(to_image, (20, 20)), 0))
    assert out[24, 30].tolist() == [255, 0, 0]
