"""Openings of eyes that are larger than their landmarks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from liveportrait_talker.render.embedded.openings import Lids, widen_lids

IOD, SIZE, SKIN = 150.0, (160, 300), (225, 170, 140)
CENTRES = ((90, 80), (210, 80))
TURN = np.linspace(np.pi, 0, 9)


def lids(half_width, half_height):
    """Return the lids of two elliptic eyes."""
    side = np.stack([half_width * np.cos(TURN), half_height * np.sin(TURN)], axis=1)
    return [Lids(np.add(centre, side * (1, -1)), np.add(centre, side)) for centre in CENTRES]


def drawn(half_width, half_height, *, white=(245, 245, 245)):
    """Return a picture of two such eyes: white, blue iris, brown outline."""
    image = np.full((*SIZE, 3), SKIN, np.uint8)
    for centre in CENTRES:
        cv2.ellipse(image, centre, (half_width + 2, half_height + 2), 0, 0, 360, (90, 30, 20), -1, cv2.LINE_AA)
        cv2.ellipse(image, centre, (half_width, half_height), 0, 0, 360, white, -1, cv2.LINE_AA)
        cv2.circle(image, centre, half_height - 5, (60, 110, 190), -1, cv2.LINE_AA)
    return np.clip(image + np.random.default_rng(0).normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def test_lids_move_out_to_the_eyeball_that_is_seen():
    for found, true in zip(widen_lids(drawn(31, 21), lids(25, 15), IOD), lids(31, 21), strict=True):
        for edge, wanted in zip(found, true, strict=True):
            x = np.linspace(wanted[1, 0], wanted[-2, 0], 20)
            y = np.interp(x, *edge.T)
            ellipse = np.interp(x, *wanted.T)
            np.testing.assert_allclose(y, ellipse, atol=3.0)
        np.testing.assert_allclose(found.upper[[0, -1]], true.upper[[0, -1]], atol=3.0)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (drawn(25, 15), "landmarks fit"),
        (drawn(31, 21, white=SKIN), "no white is seen"),
    ],
)
def test_lids_that_fit_stay(image, why):
    given = lids(25, 15)
    for found, lid in zip(widen_lids(image, given, IOD), given, strict=True):
        assert found is lid, why


def test_a_single_larger_eye_is_an_error():
    image, other = drawn(31, 21), drawn(25, 15)
    image[:, 150:] = other[:, 150:]
    given = lids(25, 15)
    assert widen_lids(image, given, IOD)[0] is given[0]
