"""Mattes of synthetic pictures whose opacity is known."""

from __future__ import annotations

import cv2
import numpy as np

from liveportrait_talker.render.embedded.background import fill_background
from liveportrait_talker.render.embedded.matting import estimate_matte, known_matte

SIDE, IOD = 240, 60.0


def hairy_disc():
    """Return an image, its true opacity and a coarse mask: a dark disc with thin strands on a bright slope."""
    true = np.zeros((4 * SIDE, 4 * SIDE), np.uint8)
    cv2.circle(true, (2 * SIDE, 2 * SIDE), 240, 255, -1)
    for angle in np.linspace(0, 2 * np.pi, 60):
        tip = (int(2 * SIDE + 280 * np.cos(angle)), int(2 * SIDE + 280 * np.sin(angle)))
        cv2.line(true, (2 * SIDE, 2 * SIDE), tip, 255, 3)
    alpha = cv2.resize(true, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[..., None] / 255
    slope = np.linspace(180, 240, SIDE)[None, :, None] * np.array([1.0, 0.95, 0.9]) + np.zeros((SIDE, 1, 1))
    image = np.rint(alpha * (60, 40, 30) + (1 - alpha) * slope).astype(np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, (SIDE // 2, SIDE // 2), 62, 255, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 3).astype(np.float32) / 255
    return image, alpha[..., 0], mask, slope


def face_of(mask):
    face = np.zeros(mask.shape, bool)
    face[SIDE // 2 - 20 : SIDE // 2 + 20, SIDE // 2 - 20 : SIDE // 2 + 20] = True
    return face


def test_strands_finer_than_the_mask_are_found():
    image, alpha, mask, _ = hairy_disc()
    matte = estimate_matte(image, mask, face_of(mask), IOD)
    assert np.abs(matte.alpha - alpha).mean() < 0.25 * np.abs(mask - alpha).mean()
    strands = (alpha > 0.3) & (alpha < 0.95)
    assert np.corrcoef(matte.alpha[strands], alpha[strands])[0, 1] > 0.7
    assert matte.uncertain < 0.5


def test_a_larger_image_has_the_same_matte():
    image, alpha, mask, _ = hairy_disc()
    size = (4 * SIDE, 4 * SIDE)
    large, large_mask = (cv2.resize(each, size, interpolation=cv2.INTER_CUBIC) for each in (image, mask))
    face = cv2.resize(face_of(mask).astype(np.uint8), size) > 0
    matte = estimate_matte(large, np.clip(large_mask, 0, 1), face, 4 * IOD)
    reduced = cv2.resize(matte.alpha, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced - alpha).mean() < 0.4 * np.abs(mask - alpha).mean()


def test_where_the_mask_is_torn_the_colours_decide():
    """A part of the disc and a part of the background, of which the mask knows neither."""
    image, alpha, mask, _ = hairy_disc()
    torn = mask.copy()
    torn[SIDE // 2 : SIDE // 2 + 30, SIDE // 2 + 25 : SIDE // 2 + 62] = 0.4
    torn[:45, :80] = 0.4
    for given in (mask, torn):
        matte = estimate_matte(image, given, face_of(mask), IOD)
        assert np.abs(matte.alpha - alpha)[alpha == 1].max() < 0.1 and matte.alpha[:45, :80].max() < 0.1
        assert matte.doubt == 0


def test_colours_of_the_background_within_the_person_are_doubtful():
    image, _, mask, _ = hairy_disc()
    wrong = mask.copy()
    wrong[100:160, 180:230] = 1
    matte = estimate_matte(image, wrong, face_of(mask), IOD)
    assert matte.doubt > 0.1


def test_the_person_has_its_own_colours_without_the_background():
    image, alpha, _, _ = hairy_disc()
    matte = known_matte(image, np.rint(255 * alpha).astype(np.uint8))
    edge = (alpha > 0.2) & (alpha < 0.9)
    assert np.abs(matte.foreground[edge].astype(int) - (60, 40, 30)).mean() < 12
    assert (matte.foreground[alpha == 1] == image[alpha == 1]).all()


def test_another_person_belongs_to_the_background():
    image, _, mask, _ = hairy_disc()
    both = np.hstack([image, image])
    matte = estimate_matte(both, np.hstack([mask, mask]), np.hstack([face_of(mask), np.zeros_like(mask, bool)]), IOD)
    assert matte.alpha[:, :SIDE].max() == 1 and matte.alpha[:, SIDE:].max() < 0.1


def test_the_background_is_continued_behind_the_person():
    image, alpha, _, slope = hairy_disc()
    hole = alpha > 0
    filled = fill_background(image, hole, ~hole, IOD)
    assert (filled[~hole] == image[~hole]).all()
    assert np.abs(filled[hole] - slope[hole]).mean() < 6 and filled[hole].min() > 140
