"""HEIC photos of phones: tiles, rotation and mirroring, wide-gamut colours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import colour_difference
from heic import write_tiled

from liveportrait_talker.errors import MediaError
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.media import open_footage
from shared import DATA, needs_shared, portrait


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """Return an image whose size is not a multiple of the tile size."""
    return np.array(open_footage(PORTRAIT, max_side=300)[0][:, :230])


@pytest.mark.parametrize("mirror", [None, 0, 1])
@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_tiles_rotation_and_mirroring(tmp_path, photo, quarter_turns, mirror):
    file = write_tiled(tmp_path / "IMG_0001.HEIC", photo, quarter_turns=quarter_turns, mirror=mirror)
    expected = np.rot90(photo, quarter_turns)
    if mirror is not None:
        expected = np.flip(expected, mirror)
    got = open_footage(file)
    assert got.is_still and got.size == (expected.shape[1], expected.shape[0])
    assert colour_difference(got[0], expected) < 1.5


@needs_shared
def test_colour_profile_is_applied():
    """Ignoring Display P3 gives an error of 3.1 ΔE."""
    got = open_footage(DATA / "cases" / "display_p3.heic")[0]
    original = open_footage(portrait("glasses"))[0]
    assert colour_difference(got, cv2.resize(original, got.shape[1::-1], interpolation=cv2.INTER_AREA)) < 1.5


@needs_shared
def test_colour_profile_of_tiles_is_applied(tmp_path, photo):
    """The same values are more saturated in Display P3."""
    from PIL import Image

    icc = Image.open(DATA / "cases" / "display_p3.heic").info["icc_profile"]
    plain = open_footage(write_tiled(tmp_path / "srgb.heic", photo))[0]
    wide = open_footage(write_tiled(tmp_path / "p3.heic", photo, icc=icc))[0]
    saturation = [cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1].mean() for image in (plain, wide)]
    assert saturation[1] > 1.03 * saturation[0]


def test_truncated_file_is_rejected(tmp_path, photo):
    file = write_tiled(tmp_path / "whole.heic", photo)
    cut = tmp_path / "cut.heic"
    cut.write_bytes(Path(file).read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(MediaError, match=r"cut\.heic is incomplete"):
        open_footage(cut)


@pytest.mark.parametrize("trailer", [b"\n", bytes(4), b"SEFT" + bytes(40)])
def test_trailer_is_ignored(tmp_path, photo, trailer):
    file = write_tiled(tmp_path / "whole.heic", photo)
    file.write_bytes(file.read_bytes() + trailer)
    assert open_footage(file).size == (230, 300)
