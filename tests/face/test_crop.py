import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.face.crop import FaceCrop
from liveportrait_talker.face.source_crop import crop_source, fit_inside_image
from liveportrait_talker.face.liveportrait_crop import portrait_crop
from liveportrait_talker.face.tracked import TrackedFace, TrackedSource
from liveportrait_talker.media import Footage
from liveportrait_talker.render.embedded.model import face_model


def mean_face_landmarks(scale: float = 100.0, degrees: float = 0.0, centre: tuple[float, float] = (300, 250)):
    points = face_model().mean_face * (1, -1, -1) * scale
    turn = np.radians(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    return points @ rotation.T + (*centre, 0)


@given(st.floats(20, 400), st.floats(-60, 60), st.floats(0, 800), st.floats(0, 800))
def test_crop_and_image_maps_are_inverse(scale, degrees, x, y):
    crop = portrait_crop(mean_face_landmarks(scale, degrees))
    there = crop.to_crop @ (crop.to_image @ (x, y, 1))
    assert there[:2] == pytest.approx((x, y), abs=1e-6)


@given(st.floats(-60, 60))
def test_the_face_stands_upright_in_its_crop(degrees):
    landmarks = mean_face_landmarks(degrees=degrees)
    crop = portrait_crop(landmarks)
    seen = landmarks[:, :2] @ crop.to_crop[:2, :2].T + crop.to_crop[:2, 2]
    eyes, mouth = seen[[33, 133, 362, 263]].mean(0), seen[[61, 291]].mean(0)
    assert mouth[0] == pytest.approx(eyes[0], abs=1.0)
    assert mouth[1] > eyes[1]
    assert (seen > 0).all() and (seen < 512).all()


def test_window_is_told_from_a_turned_crop():
    assert FaceCrop.window(3, -4, 10, 20).corner == (3, -4)
    assert portrait_crop(mean_face_landmarks(degrees=3)).corner is None


def test_a_skew_is_no_crop():
    with pytest.raises(ValueError, match="similarity"):
        FaceCrop(np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1]]), (10, 10))


def test_the_faces_own_crop_is_liveportraits():
    face = TrackedFace(mean_face_landmarks(degrees=10))
    np.testing.assert_array_equal(face.crop.to_image, portrait_crop(face.landmarks).to_image)


@pytest.mark.parametrize(
    ("window", "larger", "moved"),
    [({}, 1.0, (0, 0)), ({"scale": 4.6}, 2.0, (0, -0.125)), ({"shift_x": 0.1, "shift_y": 0.0}, 1.0, (0.1, 0.125))],
)
def test_a_source_is_cut_to_the_window_asked_for(window, larger, moved):
    """`moved` in sides of the default window."""
    face = TrackedFace(mean_face_landmarks(100, centre=(1000, 1000)))
    picture = Footage.from_array("p", np.zeros((2000, 2000, 3), np.uint8))
    plain = face.crop
    cut = crop_source(TrackedSource(picture, (face,)), **window)
    assert cut.footage[0].shape == (512, 512, 3)
    assert face.pose.iod / cut.faces[0].pose.iod == pytest.approx(plain.scale * larger, rel=1e-3)
    centre = plain.to_image[:2] @ (256 + 512 * moved[0], 256 + 512 * moved[1], 1)
    seen = cut.faces[0].landmarks[4, :2] - 256
    expected = (face.landmarks[4, :2] - centre) / (plain.scale * larger)
    assert seen == pytest.approx(expected, abs=1.0)


@pytest.mark.parametrize(
    ("scale", "centre", "size"),
    [
        (100, (60, 70), (900, 500)),  # the window reaches beyond the left and the top
        (100, (450, 470), (900, 500)),  # beyond the bottom, which is nearer than the right
        (100, (470, 450), (500, 900)),  # beyond the right, which is nearer than the bottom
        (700, (1500, 1200), (3000, 2400)),  # four times as large as what is made of it
    ],
)
def test_a_window_shows_what_is_there_at_the_edge_and_of_a_huge_face(scale, centre, size):
    """Defects 3, 9 and 79: every pixel of the picture says where it is, and does so in its window."""
    width, height = size
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 255, width).round()[None]
    picture[..., 1] = np.linspace(0, 255, height).round()[:, None]
    face = TrackedFace(mean_face_landmarks(scale, centre=centre))
    cut = crop_source(TrackedSource(Footage.from_array("p", picture), (face,)))
    assert cut.footage[0].shape == (512, 512, 3)
    window = fit_inside_image(face.crop, size)
    corners = window.to_image[:2] @ [[0, 512, 0, 512], [0, 0, 512, 512], [1, 1, 1, 1]]
    assert (corners >= -1).all() and (corners.max(axis=1) <= np.array(size) + 1).all()
    seen, there = cut.faces[0].landmarks[:, :2], face.landmarks[:, :2]
    inside = ((seen > 4) & (seen < 508)).all(axis=1) & ((there > 4) & (there < (width - 4, height - 4))).all(axis=1)
    assert inside.sum() > 100
    x, y = seen[inside].round().astype(int).T
    shown = cut.footage[0][y, x, :2].astype(float) / 255 * (width - 1, height - 1)
    assert np.abs(shown - there[inside]).max() < 2.5 * max(size) / 255 + 2
