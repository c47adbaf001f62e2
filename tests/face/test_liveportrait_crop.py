"""Crops and ratios of LivePortrait."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from liveportrait_talker.face.alignment import ibug68
from liveportrait_talker.face.liveportrait_crop import (
    crop_pixels,
    driving_box,
    driving_crop,
    oriented_box,
    portrait_crop,
)
from liveportrait_talker.face.ratios import eye_ratios, lip_ratio

COUNTS = (68, 203)


def transform(matrix, points):
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def box_numbers(box):
    return np.array([*box.centre, box.side, box.side, box.angle])


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", ["source", "landmark", "vx_ignored"])
def test_crops(golden, close, count, kind):
    """The original ignores vx (the cases `vx_ignored_*`), so it is omitted here."""
    z = golden("liveportrait_crop")
    name = f"{kind}_{count}"
    (c,) = [c for c in z.cases if c["prefix"] == name]
    landmarks = z.input(c["lmk"])
    crop = portrait_crop(landmarks, size=c["dsize"], scale=c["scale"], shift_y=c["vy_ratio"])
    close(crop.to_crop[:2, :2], z[f"{name}_M_o2c"][:2, :2], 1e-5)
    close(crop.to_crop, z[f"{name}_M_o2c"], 5e-3)
    close(crop.to_image, z[f"{name}_M_c2o"], 5e-3)
    close(transform(crop.to_crop, landmarks), z[f"{name}_pt"], 1e-2)
    close(transform(crop.to_image, z[f"{name}_pt"].astype(float)), landmarks, 1e-3)
    if f"{name}_img" in z.arrays:
        pixels = crop_pixels(z.input("image"), crop)
        np.testing.assert_array_equal(z.sliced(f"{name}_img", pixels), z[f"{name}_img"])


@pytest.mark.parametrize("count", COUNTS)
def test_boxes(golden, close, count):
    z = golden("liveportrait_crop")
    landmarks = z.input(f"lmk_{count}")
    box = oriented_box(landmarks, scale=2.0, shift_x=0.1, shift_y=-0.2)
    close(box_numbers(box), z[f"rect_{count}"], 1e-3)


def test_face_without_direction_is_upright(golden, close):
    z = golden("liveportrait_crop")
    landmarks = np.full((203, 2), (100.0, 120.0))
    landmarks[100] = 160, 180
    close(box_numbers(oriented_box(landmarks, scale=2.0)), z["rect_degenerate"], 1e-3)


def test_driving_crop(golden, close):
    z = golden("liveportrait_crop")
    track = z.input("track")
    for landmarks, golden in zip(track, z["driving_boxes"], strict=True):
        close(driving_box(landmarks[None]), golden, 1e-3)
    box = driving_box(track)
    close(box, z["driving_mean_box"], 1e-3)
    crop = driving_crop(box)
    close(crop.to_crop, z["driving_M_o2c"], 5e-3)
    close(crop.to_image, z["driving_M_c2o"], 5e-3)
    close(transform(crop.to_crop, track[0]), z["driving_lmk"], 1e-2)
    np.testing.assert_array_equal(z.sliced("driving_img", crop_pixels(z.input("image"), crop)), z["driving_img"])


def test_shift_x_is_honoured(golden):
    """The original ignored it (docs/earlier_systems.md, LivePortrait)."""
    landmarks = golden("liveportrait_crop").input("lmk_203")
    plain, shifted = (portrait_crop(landmarks, shift_x=x) for x in (0.0, 0.25))
    seen = transform(shifted.to_crop, landmarks) - transform(plain.to_crop, landmarks)
    np.testing.assert_allclose(seen, np.broadcast_to((-128.0, 0.0), seen.shape), atol=1e-2)


def test_other_numbers_of_landmarks_are_rejected():
    with pytest.raises(ValueError, match="got 50"):
        portrait_crop(np.zeros((50, 2)))


def test_mediapipe_mesh_is_cropped_by_68_landmarks():
    mesh = np.random.default_rng(5).uniform(100, 300, (478, 3)).astype(np.float32)
    np.testing.assert_array_equal(portrait_crop(mesh).to_crop, portrait_crop(ibug68(mesh)).to_crop)


def test_ratios(golden, close):
    z = golden("liveportrait_ratio")
    landmarks = z.input("lmk")
    eyes, lips = eye_ratios(landmarks), lip_ratio(landmarks)
    close(eyes, z["eye"], 1e-6)
    close(lips, z["lip"], 1e-6)
    close(np.concatenate([eyes, z.input("target_eye")], axis=1), z["eye_with_target"], 1e-6)
    # Of the driving eyes only the left one is used.
    close(np.append(eyes[0], 0.27)[None], z["combined_eye"], 1e-6)
    close(np.append(lips[0], 0.13)[None], z["combined_lip"], 1e-6)


def test_ratios_of_98_points(golden, close):
    z = golden("talker_eye_ratio")
    ratio = eye_ratios(z["landmarks98"])
    close(ratio, z["ratio"], 1e-6)
    close(np.concatenate([ratio, z["target"]], axis=1), z["ratio_with_target"], 1e-6)
    np.testing.assert_allclose(eye_ratios(z["degenerate98"]), z["degenerate_ratio"], rtol=1e-6)


def test_each_eye_has_its_own_ratio(golden):
    """docs/earlier_systems.md, defect 24: a wrong slice gave the right eye the larger ratio of both."""
    left, right = eye_ratios(golden("talker_eye_ratio")["landmarks98"])[0]
    assert left != right


def test_ratios_of_mediapipe():
    mesh = np.zeros((478, 3))
    mesh[[33, 133, 362, 263, 61, 291], 0] = 0, 40, 60, 110, 30, 90
    mesh[[159, 386, 13], 1] = -12, -20, -6
    mesh[[145, 374, 14], 0] = 0.0
    mesh[:, 2] = np.arange(478)  # depth must not matter
    np.testing.assert_allclose(eye_ratios(mesh), (0.3, 0.4), atol=1e-6)
    np.testing.assert_allclose(lip_ratio(mesh), [0.1], atol=1e-6)
    with pytest.raises(ValueError, match="got 68"):
        eye_ratios(mesh[:68])
