"""Alignment of faces for the 3DMM regressor."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from PIL import Image

from liveportrait_talker.face.alignment import (
    Alignment,
    align_face,
    crop_aligned,
    fit_alignment,
    five_points,
    flip_y,
    ibug68,
)
from parity import find

FACES = ("frontal", "tilted", "edge", "wide", "small")


@pytest.mark.parametrize("face", FACES)
def test_alignment(golden, close, face):
    z = golden("talker_alignment")
    width, height = z[f"{face}.size_wh"].tolist()
    points = flip_y(z[f"{face}.landmarks68"], height)
    alignment = fit_alignment(points, (width, height))
    close(five_points(points), z[f"{face}.five"], 1e-4)
    close(np.array([width, height, alignment.scale, *alignment.origin]), z[f"{face}.trans_params"], 1e-4)
    assert alignment.resized == tuple(z[f"{face}.resized_wh"])
    assert alignment.corner == tuple(z[f"{face}.crop_left_up"])
    image = z.image(str(z["image_seed_prefix"]) + face, height, width)
    off = np.abs(crop_aligned(image, alignment).astype(int) - z[f"{face}.image_224"])
    assert off.max() <= 1


@pytest.mark.parametrize("scale", [0.11, 0.5, 0.77, 1.0, 1.9, 6.3])
def test_resampling_equals_pillows(scale):
    image = np.random.default_rng(1).integers(0, 256, (140, 210, 3), dtype=np.uint8)
    alignment = Alignment((210, 140), scale, (150.0, 60.0))
    left, top = alignment.corner
    wanted = Image.fromarray(image).resize(alignment.resized, Image.Resampling.BICUBIC)
    wanted = np.asarray(wanted.crop((left, top, left + 224, top + 224)))
    np.testing.assert_array_equal(crop_aligned(image, alignment), wanted)


def test_ibug68_table():
    table = json.loads(find("mediapipe_to_ibug68.json", golden=False).read_text())
    mesh = np.random.default_rng(2).uniform(0, 500, (3, 478, 3))
    points = ibug68(mesh)
    assert points.shape == (3, 68, 2)
    for i, sources in table["ibug68"].items():
        np.testing.assert_allclose(points[:, int(i)], mesh[:, sources, :2].mean(axis=1))
    upright = five_points(points[0])
    for point, name in zip(upright, table["order_of_five"], strict=True):
        np.testing.assert_allclose(point, mesh[0, table["five"][name], :2].mean(axis=0))


def test_aligned_face_does_not_depend_on_image_size():
    """The same face at twice the size gives the same 224 px, apart from resampling."""
    rng = np.random.default_rng(4)
    small = cv2.GaussianBlur(rng.integers(0, 256, (300, 320, 3), dtype=np.uint8), (0, 0), 6)
    mesh = rng.uniform((90, 90, 0), (200, 200, 1), (478, 3))
    mesh[:, :2] += 0.5  # pixel centres
    large = cv2.resize(small, (640, 600), interpolation=cv2.INTER_LINEAR)
    first = align_face(small, mesh).astype(int)
    second = align_face(large, mesh * 2).astype(int)
    assert first.shape == (224, 224, 3)
    assert np.abs(first - second).mean() < 2.0
