"""LivePortrait's mask, and pasting with it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from liveportrait_talker.face.crop import FaceCrop
from liveportrait_talker.render.neural.crop_mask import crop_mask
from liveportrait_talker.render.paste import paste
from liveportrait_talker.render.protocol import FaceFrame

SCALED = np.array([[0.5, 0, 100], [0, 0.5, 40], [0, 0, 1]])  # of the golden's plain case
ALPHA = crop_mask().astype(np.float32) / 255


def test_goldens(golden):
    """The mask is equal. LivePortrait rounds each warp, truncates the blend, and blends black at the crop's last row."""
    z = golden("liveportrait_paste")
    image, face = z.input("image"), z.input("crop")
    np.testing.assert_array_equal(crop_mask(), z["mask_template"])
    for name, to_image in (("result", z["M_c2o"]), ("result_plain", SCALED)):
        pasted = paste(image, FaceFrame(face, ALPHA, FaceCrop(to_image, (512, 512)), 0))
        off = np.abs(z.sliced(name, pasted).astype(int) - z[name])
        assert off.max() <= 4 and off.mean() < 0.5


def test_nothing_changes_outside_the_crop():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    face = rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    pasted = paste(image, FaceFrame(face, ALPHA, FaceCrop(SCALED, (512, 512)), 0))
    assert pasted.shape == image.shape and pasted.dtype == np.uint8
    inside = np.zeros(image.shape[:2], bool)
    inside[40:296, 100:356] = True
    np.testing.assert_array_equal(pasted[~inside], image[~inside])
    assert (pasted[100:200, 200:300] != image[100:200, 200:300]).mean() > 0.9


def test_a_mixed_pixel_is_rounded():
    """docs/earlier_systems.md, defect 49."""
    under, over = np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 21, np.uint8)
    frame = FaceFrame(over, np.full((8, 8), 0.7, np.float32), FaceCrop.window(0, 0, 8, 8), 0)
    assert (paste(under, frame) == 18).all()  # 17.7
