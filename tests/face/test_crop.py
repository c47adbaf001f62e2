import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.face.crop import FaceCrop, face_crop
from liveportrait_talker.render.embedded.model import face_model


def mean_face_landmarks(scale: float = 100.0, degrees: float = 0.0, centre: tuple[float, float] = (300, 250)):
    points = face_model().mean_face * (1, -1, -1) * scale
    turn = np.radians(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    return points @ rotation.T + (*centre, 0)


@given(st.floats(20, 400), st.floats(-60, 60), st.floats(0, 800), st.floats(0, 800))
def test_crop_and_image_maps_are_inverse(scale, degrees, x, y):
    crop = face_crop(mean_face_landmarks(scale, degrees))
    there = crop.to_crop @ (crop.to_image @ (x, y, 1))
    assert there[:2] == pytest.approx((x, y), abs=1e-6)


@given(st.floats(-60, 60))
def test_the_face_stands_upright_in_its_crop(degrees):
    landmarks = mean_face_landmarks(degrees=degrees)
    crop = face_crop(landmarks)
    seen = landmarks[:, :2] @ crop.to_crop[:2, :2].T + crop.to_crop[:2, 2]
    eyes, mouth = seen[[33, 133, 362, 263]].mean(0), seen[[61, 291]].mean(0)
    assert mouth[0] == pytest.approx(eyes[0], abs=1.0)
    assert mouth[1] > eyes[1]
    assert (seen > 0).all() and (seen < 512).all()


def test_window_is_told_from_a_turned_crop():
    assert FaceCrop.window(3, -4, 10, 20).corner == (3, -4)
    assert face_crop(mean_face_landmarks(degrees=3)).corner is None


def test_a_skew_is_no_crop():
    with pytest.raises(ValueError, match="similarity"):
        FaceCrop(np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1]]), (10, 10))
