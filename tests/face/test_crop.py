import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.face.crop import FaceCrop
from liveportrait_talker.face.liveportrait_crop import portrait_crop
from liveportrait_talker.face.source_crop import crop_source, fit_inside_image
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
def test_face_is_upright_in_its_crop(degrees):
    landmarks = mean_face_landmarks(degrees=degrees)
    crop = portrait_crop(landmarks)
    cropped = landmarks[:, :2] @ crop.to_crop[:2, :2].T + crop.to_crop[:2, 2]
    eyes, mouth = cropped[[33, 133, 362, 263]].mean(0), cropped[[61, 291]].mean(0)
    assert mouth[0] == pytest.approx(eyes[0], abs=1.0)
    assert mouth[1] > eyes[1]
    assert (cropped > 0).all() and (cropped < 512).all()


def test_corner_of_unrotated_and_rotated_crops():
    assert FaceCrop.window(3, -4, 10, 20).corner == (3, -4)
    assert portrait_crop(mean_face_landmarks(degrees=3)).corner is None


def test_skewed_matrix_is_rejected():
    with pytest.raises(ValueError, match="similarity"):
        FaceCrop(np.array([[1, 0.5, 0], [0, 1, 0], [0, 0, 1]]), (10, 10))


def test_tracked_face_uses_liveportraits_crop():
    face = TrackedFace(mean_face_landmarks(degrees=10))
    np.testing.assert_array_equal(face.crop.to_image, portrait_crop(face.landmarks).to_image)


@pytest.mark.parametrize(
    ("options", "enlargement", "shift"),
    [({}, 1.0, (0, 0)), ({"scale": 4.6}, 2.0, (0, -0.125)), ({"shift_x": 0.1, "shift_y": 0.0}, 1.0, (0.1, 0.125))],
)
def test_source_crop_options(options, enlargement, shift):
    """`shift` in sides of the default crop."""
    face = TrackedFace(mean_face_landmarks(100, centre=(1000, 1000)))
    image = Footage.from_array("p", np.zeros((2000, 2000, 3), np.uint8))
    default = face.crop
    cropped = crop_source(TrackedSource(image, (face,)), **options)
    assert cropped.footage[0].shape == (512, 512, 3)
    assert face.pose.iod / cropped.faces[0].pose.iod == pytest.approx(default.scale * enlargement, rel=1e-3)
    centre = default.to_image[:2] @ (256 + 512 * shift[0], 256 + 512 * shift[1], 1)
    nose = cropped.faces[0].landmarks[4, :2] - 256
    expected = (face.landmarks[4, :2] - centre) / (default.scale * enlargement)
    assert nose == pytest.approx(expected, abs=1.0)


@pytest.mark.parametrize(
    ("scale", "centre", "size"),
    [
        (100, (60, 70), (900, 500)),  # exceeds the left and the top
        (100, (450, 470), (900, 500)),  # exceeds the bottom, which is nearer than the right
        (100, (470, 450), (500, 900)),  # exceeds the right, which is nearer than the bottom
        (700, (1500, 1200), (3000, 2400)),  # four times as large as the result
    ],
)
def test_source_crop_at_edges_and_of_large_faces(scale, centre, size):
    """docs/earlier_systems.md, defects 3, 9 and 79. Pixel values encode their position in the image."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(0, 255, width).round()[None]
    image[..., 1] = np.linspace(0, 255, height).round()[:, None]
    face = TrackedFace(mean_face_landmarks(scale, centre=centre))
    cropped = crop_source(TrackedSource(Footage.from_array("p", image), (face,)))
    assert cropped.footage[0].shape == (512, 512, 3)
    crop = fit_inside_image(face.crop, size)
    corners = crop.to_image[:2] @ [[0, 512, 0, 512], [0, 0, 512, 512], [1, 1, 1, 1]]
    assert (corners >= -1).all() and (corners.max(axis=1) <= np.array(size) + 1).all()
    after, before = cropped.faces[0].landmarks[:, :2], face.landmarks[:, :2]
    inside = ((after > 4) & (after < 508)).all(axis=1) & ((before > 4) & (before < (width - 4, height - 4))).all(axis=1)
    assert inside.sum() > 100
    x, y = after[inside].round().astype(int).T
    decoded = cropped.footage[0][y, x, :2].astype(float) / 255 * (width - 1, height - 1)
    assert np.abs(decoded - before[inside]).max() < 2.5 * max(size) / 255 + 2
