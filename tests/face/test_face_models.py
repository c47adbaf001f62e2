"""The face models, compared with results of MediaPipe 0.10.21 (scripts/compare_with_mediapipe.py)."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.detector import Detection
from liveportrait_talker.face.finder import FaceFinder
from liveportrait_talker.face.regions import Region, face_region
from liveportrait_talker.face.segmentation import PersonSegmenter
from liveportrait_talker.media import open_footage
from shared import DATA, needs_shared, portrait

ROOT = Path(__file__).parents[2]
with np.load(ROOT / "tests" / "goldens" / "mediapipe_faces.npz") as _file:
    MEDIAPIPE = dict(_file)
STILLS = [key.removeprefix("still.") for key in MEDIAPIPE if key.startswith("still.")]
CLIPS = [key.removeprefix("clip.") for key in MEDIAPIPE if key.startswith("clip.")]
CLIP_FRAMES = (0, 40, 41, 42)
WRONG_IN_MEDIAPIPE = ("upside_down.jpg",)


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


def interocular(face: np.ndarray) -> float:
    return float(np.linalg.norm(face[33] - face[263]))


def shared_file(name: str) -> Path:
    return next(path for folder in ("portraits", "bad", "cases") for path in [DATA / folder / name] if path.exists())


def largest_difference(theirs: np.ndarray, ours: list[np.ndarray]) -> float:
    """Return the largest difference of each face from the nearest one, in % of the inter-ocular distance."""
    return max((min(100 * np.abs(a - b).max() / interocular(a) for b in ours) for a in theirs), default=0.0)


def test_the_bundled_portrait(finder):
    ours = finder.find(open_footage(PORTRAIT)[0])
    assert len(ours) == 1
    assert largest_difference(MEDIAPIPE["still.portrait.png"], ours) <= 0.05


@needs_shared
@pytest.mark.parametrize("name", [n for n in STILLS if n != "portrait.png" and n not in WRONG_IN_MEDIAPIPE])
def test_images_have_the_same_faces(finder, name):
    theirs, ours = MEDIAPIPE[f"still.{name}"], finder.find(open_footage(shared_file(name))[0])
    assert len(ours) == len(theirs)
    assert largest_difference(theirs, ours) <= 0.05


@needs_shared
@pytest.mark.parametrize("name", CLIPS)
def test_followed_faces_are_equal(finder, name):
    """Each step starts from MediaPipe's landmarks, as rounding differences accumulate."""
    theirs = MEDIAPIPE[f"clip.{name}"]
    with open_footage(next(DATA.rglob(f"{name}.mp4"))) as footage:
        assert largest_difference(theirs[:1], finder.find(footage[0])) <= 0.05
        for k in (2, 3):
            found = finder.follow(footage[CLIP_FRAMES[k]], theirs[k - 1])
            assert found is not None
            assert largest_difference(theirs[k : k + 1], [found]) <= 0.05


@needs_shared
def test_absent_face_is_not_followed(finder):
    with open_footage(DATA / "cases" / "cutaway_to_a_landscape.mp4") as footage:
        face = finder.find(footage[0])[0]
        landscape = next(footage[k] for k in range(len(footage)) if not finder.find(footage[k]))
    assert finder.follow(landscape, face) is None


@needs_shared
@pytest.mark.parametrize("name", ["frontal_photo.png", "small_face.png", "tall_painting.jpg"])
def test_person_and_background(name):
    image = open_footage(DATA / "portraits" / name)[0]
    person = PersonSegmenter().segment(image)
    assert person.shape == image.shape[:2] and person.dtype == np.float32
    np.testing.assert_allclose(person[::16, ::16], MEDIAPIPE[f"mask.{name}"], atol=5e-4)


# ------------------------------------------------------------------ rotated faces


def rotate(image: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the image rotated clockwise on a larger canvas, and the (2, 3) transform of its points."""
    height, width = image.shape[:2]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    size = np.ceil([abs(width * cos) + abs(height * sin), abs(width * sin) + abs(height * cos)])
    turn = np.array([[cos, -sin], [sin, cos]])
    to_canvas = np.column_stack([turn, size / 2 - turn @ (width / 2, height / 2)])
    return cv2.warpAffine(image, to_canvas, size.astype(int).tolist(), borderValue=(200, 200, 200)), to_canvas


@pytest.mark.parametrize("degrees", [45, 90, 135, 180, 225, 270, 315])
def test_rotated_face_is_located(finder, degrees):
    image = open_footage(PORTRAIT, max_side=512)[0]
    upright = finder.find(image)[0]
    canvas, to_canvas = rotate(image, degrees)
    (found,) = finder.find(canvas)
    expected = upright[:, :2] @ to_canvas[:, :2].T + to_canvas[:, 2]
    assert np.linalg.norm(found[:, :2] - expected, axis=1).mean() < 0.06 * interocular(upright)


@needs_shared
@pytest.mark.parametrize(
    "name", ["bright_skin", "dark_skin", "glasses", "tall_painting", "tiny_face", "turned_painting"]
)
def test_upside_down_face_is_located(finder, name):
    image = open_footage(portrait(name))[0]
    upright = (finder.find(image) or finder.find_small(image))[0]
    canvas = np.ascontiguousarray(np.rot90(image, 2))
    found = finder.find(canvas) or finder.find_small(canvas)
    assert len(found) == 1
    expected = np.array(image.shape[1::-1]) - upright[:, :2]
    assert np.linalg.norm(found[0][:, :2] - expected, axis=1).mean() < 0.05 * interocular(upright)


def test_upright_and_upside_down_faces_are_both_found(finder):
    """The upright face is blurred, so that its score is low."""
    image = open_footage(PORTRAIT, max_side=400)[0]
    canvas = np.full((420, 900, 3), 128, np.uint8)
    canvas[10:410, 20:420] = cv2.GaussianBlur(image, (0, 0), 7)
    canvas[10:410, 470:870] = np.rot90(image, 2)
    places = sorted(face[:, 0].mean() for face in finder.find(canvas))
    assert len(places) == 2 and places[0] < 450 < places[1]


def test_extreme_image_sizes_are_accepted(finder):
    assert finder.find(np.zeros((1, 4000, 3), np.uint8)) == []
    assert finder.find_small(np.zeros((64, 33_000, 3), np.uint8)) == []


@needs_shared
def test_upside_down_face_has_its_mouth_above_the_eyes(finder):
    (found,) = finder.find(open_footage(DATA / "cases" / "upside_down.jpg")[0])
    assert found[13, 1] < found[[33, 263], 1].min()


# ------------------------------------------------------------------ geometry

coordinates = st.floats(-2000, 2000)
regions = st.builds(Region, coordinates, coordinates, st.floats(1, 2000), st.floats(-math.pi, math.pi))


@given(regions, regions)
def test_overlap_is_symmetric_and_at_most_1(one, other):
    assert one.overlap(one) == pytest.approx(1)
    assert 0 <= one.overlap(other) <= 1
    assert one.overlap(other) == pytest.approx(other.overlap(one))


@given(regions, st.tuples(*[st.floats(0, 1)] * 3))
def test_region_to_image_preserves_distances(region, point):
    middle, placed = region.to_image(np.array([[0.5, 0.5, 0], point]))
    assert middle == pytest.approx([region.x, region.y, 0])
    expected = np.linalg.norm(np.array(point) - (0.5, 0.5, 0)) * region.side
    assert np.linalg.norm(placed - middle) == pytest.approx(expected)


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.data())
def test_rotate_back_inverts_rot90(quarter_turns, height, width, data):
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    image = np.zeros((height, width))
    image[y, x] = 1
    (row,), (column,) = np.nonzero(np.rot90(image, quarter_turns))
    pixel = np.array([column, row, column + 1, row + 1], float)
    middle = np.array([[column + 0.5, row + 0.5]])
    back = Detection(1.0, pixel, middle).rotate_back(quarter_turns, height, width)
    assert back.box.tolist() == [x, y, x + 1, y + 1]
    assert back.keypoints.tolist() == [[x + 0.5, y + 0.5]]


def test_face_region_is_parallel_to_the_eyes():
    region = face_region(np.array([10.0, 20.0]), np.array([30.0, 60.0]), np.array([15.0, 30.0]), np.array([15.0, 50.0]))
    assert (region.x, region.y, region.side, region.angle) == (20, 40, 60, math.pi / 2)


# ------------------------------------------------------------------ the model files


def test_finder_prints_nothing():
    code = (
        "from liveportrait_talker.examples import PORTRAIT\n"
        "from liveportrait_talker.face.finder import FaceFinder\n"
        "from liveportrait_talker.media import open_footage\n"
        "finder = FaceFinder()\n"
        "image = open_footage(PORTRAIT)[0]\n"
        "assert finder.find(image) and not finder.find_small(image[:64, :64])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_licence_of_the_models_is_included():
    folder = ROOT / "src" / "liveportrait_talker" / "face" / "models"
    assert "Apache License" in (folder / "LICENSE").read_text()
    statement = (folder / "README.md").read_text()
    for model in folder.glob("*.onnx"):
        assert model.name in statement


def test_conversion_is_reproducible():
    """Byte for byte; needs MediaPipe's wheel or its folder in LPT_MEDIAPIPE."""
    source = os.environ.get("LPT_MEDIAPIPE")
    if source is None or importlib.util.find_spec("onnx") is None or importlib.util.find_spec("tflite") is None:
        pytest.skip("needs LPT_MEDIAPIPE=the wheel of mediapipe 0.10.21, and pip install -e '.[convert]'")
    script = ROOT / "scripts" / "convert_face_models.py"
    done = subprocess.run([sys.executable, script, source, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
