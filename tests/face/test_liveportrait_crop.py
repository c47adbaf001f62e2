"""LivePortrait's crops and ratios."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from liveportrait_talker.face.alignment import ibug68
from liveportrait_talker.face.liveportrait_crop import (
    crop_pixels,
    driving_box,
    driving_crop,
    limited,
    limited_size,
    oriented_box,
    portrait_crop,
    reference_points,
)
from liveportrait_talker.face.ratios import eye_ratios, lip_ratio

COUNTS = (5, 9, 68, 101, 106, 203)


def moved(matrix, points):
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def box_numbers(box):
    return np.array([*box.centre, box.side, box.side, box.angle])


@pytest.mark.parametrize("case", range(24))
def test_crops(golden, close, case):
    """The original takes vx and ignores it (its `vx_ignored_*` cases), so it is left out here."""
    z = golden("liveportrait_crop")
    c = z.cases[case]
    landmarks, name = z.input(c["lmk"]), c["prefix"]
    rotate = c.get("flag_do_rot", True)
    crop = portrait_crop(landmarks, size=c["dsize"], scale=c["scale"], shift_y=c["vy_ratio"], rotate=rotate)
    close(crop.to_crop[:2, :2], z[f"{name}_M_o2c"][:2, :2], 1e-5)
    close(crop.to_crop, z[f"{name}_M_o2c"], 5e-3)
    close(crop.to_image, z[f"{name}_M_c2o"], 5e-3)
    close(moved(crop.to_crop, landmarks), z[f"{name}_pt"], 1e-2)
    close(moved(crop.to_image, z[f"{name}_pt"].astype(float)), landmarks, 1e-3)
    if f"{name}_img" in z.arrays:
        pixels = crop_pixels(z.input("image"), crop)
        np.testing.assert_array_equal(z.sliced(f"{name}_img", pixels), z[f"{name}_img"])


@pytest.mark.parametrize("count", COUNTS)
def test_boxes(golden, close, count):
    z = golden("liveportrait_crop")
    landmarks = z.input(f"lmk_{count}")
    close(reference_points(landmarks), z[f"pt2_{count}_lip"], 1e-3)
    close(reference_points(landmarks, use_lip=False), z[f"pt2_{count}_eyes"], 1e-3)
    box = oriented_box(landmarks, scale=2.0, shift_x=0.1, shift_y=-0.2)
    close(box_numbers(box), z[f"rect_{count}"], 1e-3)


def test_a_face_without_a_down_is_upright(golden, close):
    z = golden("liveportrait_crop")
    landmarks = np.full((203, 2), (100.0, 120.0))
    landmarks[100] = 160, 180
    close(box_numbers(oriented_box(landmarks, scale=2.0)), z["rect_degenerate"], 1e-3)


def test_one_box_for_a_clip(golden, close):
    z = golden("liveportrait_crop")
    track = z.input("track")
    for landmarks, golden in zip(track, z["driving_boxes"], strict=True):
        close(driving_box(landmarks[None]), golden, 1e-3)
    box = driving_box(track)
    close(box, z["driving_mean_box"], 1e-3)
    crop = driving_crop(box)
    close(crop.to_crop, z["driving_M_o2c"], 5e-3)
    close(crop.to_image, z["driving_M_c2o"], 5e-3)
    close(moved(crop.to_crop, track[0]), z["driving_lmk"], 1e-2)
    np.testing.assert_array_equal(z.sliced("driving_img", crop_pixels(z.input("image"), crop)), z["driving_img"])


def test_size_limit(golden):
    z = golden("liveportrait_crop")
    for (height, width, longest, division), golden in zip(z["limit_in"].tolist(), z["limit_out"].tolist(), strict=True):
        assert list(limited_size(height, width, longest=longest, division=division)) == golden
        picture = np.zeros((height, width, 3), np.uint8)
        assert list(limited(picture, longest=longest, division=division).shape[:2]) == golden


def test_shift_x_is_honoured(golden):
    """Defect: the original's vx did nothing."""
    landmarks = golden("liveportrait_crop").input("lmk_203")
    plain, shifted = (portrait_crop(landmarks, shift_x=x) for x in (0.0, 0.25))
    seen = moved(shifted.to_crop, landmarks) - moved(plain.to_crop, landmarks)
    np.testing.assert_allclose(seen, np.broadcast_to((-128.0, 0.0), seen.shape), atol=1e-2)


def test_other_numbers_of_landmarks(golden):
    landmarks = golden("liveportrait_crop").input("lmk_203")
    np.testing.assert_array_equal(reference_points(landmarks[:150]), reference_points(landmarks[:101]))
    with pytest.raises(ValueError, match="got 50"):
        reference_points(landmarks[:50])


def test_mediapipes_face_is_cropped_by_its_68_points():
    mesh = np.random.default_rng(5).uniform(100, 300, (478, 3)).astype(np.float32)
    np.testing.assert_array_equal(portrait_crop(mesh).to_crop, portrait_crop(ibug68(mesh)).to_crop)


def test_ratios(golden, close):
    z = golden("liveportrait_ratio")
    landmarks = z.input("lmk")
    eyes, lips = eye_ratios(landmarks), lip_ratio(landmarks)
    close(eyes, z["eye"], 1e-6)
    close(lips, z["lip"], 1e-6)
    close(np.concatenate([eyes, z.input("target_eye")], axis=1), z["eye_with_target"], 1e-6)
    # Of the driving eyes only the left one counts.
    close(np.append(eyes[0], 0.27)[None], z["combined_eye"], 1e-6)
    close(np.append(lips[0], 0.13)[None], z["combined_lip"], 1e-6)


def test_ratios_of_98_points(golden, close):
    z = golden("talker_eye_ratio")
    ratio = eye_ratios(z["landmarks98"])
    close(ratio, z["ratio"], 1e-6)
    close(np.concatenate([ratio, z["target"]], axis=1), z["ratio_with_target"], 1e-6)
    np.testing.assert_allclose(eye_ratios(z["degenerate98"]), z["degenerate_ratio"], rtol=1e-6)


def test_each_eye_has_its_own_ratio(golden):
    """Defect 24: a slip in a slice gave the right eye the larger of both."""
    left, right = eye_ratios(golden("talker_eye_ratio")["landmarks98"])[0]
    assert left != right


def test_ratios_of_mediapipe():
    mesh = np.zeros((478, 3))
    mesh[[33, 133, 362, 263, 61, 291], 0] = 0, 40, 60, 110, 30, 90
    mesh[[159, 386, 13], 1] = -12, -20, -6
    mesh[[145, 374, 14], 0] = 0.0
    mesh[:, 2] = np.arange(478)  # depth is not looked at
    np.testing.assert_allclose(eye_ratios(mesh), (0.3, 0.4), atol=1e-6)
    np.testing.assert_allclose(lip_ratio(mesh), [0.1], atol=1e-6)
    with pytest.raises(ValueError, match="got 68"):
        eye_ratios(mesh[:68])
