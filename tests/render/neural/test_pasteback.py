"""LivePortrait's mask and paste-back."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from liveportrait_talker.face.crop import FaceCrop
from liveportrait_talker.render.composite import paste
from liveportrait_talker.render.neural.pasteback import crop_mask, mask_in_picture, paste_back
from liveportrait_talker.render.protocol import FaceFrame

PLAIN = np.array([[0.5, 0, 100], [0, 0.5, 40], [0, 0, 1]])  # as the file's note says


def test_goldens(golden):
    z = golden("liveportrait_paste")
    picture, face = z.input("image"), z.input("crop")
    np.testing.assert_array_equal(crop_mask(), z["mask_template"])
    for name, to_image in (("result", z["M_c2o"]), ("result_plain", PLAIN)):
        mask = mask_in_picture(to_image, (picture.shape[1], picture.shape[0]))
        if name == "result":
            np.testing.assert_array_equal(z.sliced("mask_ori", mask), z["mask_ori"])
        np.testing.assert_array_equal(z.sliced(name, paste_back(face, picture, to_image, mask)), z[name])


def test_nothing_changes_outside_the_crop():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    face = rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    mask = mask_in_picture(PLAIN, (400, 300))
    pasted = paste_back(face, picture, PLAIN, mask)
    assert pasted.shape == picture.shape and pasted.dtype == np.uint8
    np.testing.assert_array_equal(pasted[mask == 0], picture[mask == 0])
    assert (pasted[100:200, 200:300] != picture[100:200, 200:300]).mean() > 0.9


def test_a_mixed_pixel_is_rounded():
    """Defect 49, in the paste that the renderers go through."""
    under, over = np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 21, np.uint8)
    frame = FaceFrame(over, np.full((8, 8), 0.7, np.float32), FaceCrop.window(0, 0, 8, 8), 0)
    assert (paste(under, frame) == 18).all()  # 17.7
