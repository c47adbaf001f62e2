import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.detector import FaceDetector
from liveportrait_talker.face.finder import FaceFinder
from liveportrait_talker.face.ratios import eye_ratios
from liveportrait_talker.face.tracked import TrackedFace, TrackedSource, ping_pong_indices
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage


@given(st.integers(1, 400), st.integers(1, 120), st.integers(0, 50))
def test_ping_pong_indices_are_valid_and_continuous(frames, available, start):
    start = min(start, available - 1)
    indices = ping_pong_indices(frames, available, start)
    assert len(indices) == frames
    assert indices.min() >= 0 and indices.max() < available
    if available > 1:
        assert np.abs(np.diff(indices)).max(initial=0) <= 2


def test_long_source_is_played_unchanged():
    assert ping_pong_indices(50, 50).tolist() == list(range(50))
    assert ping_pong_indices(30, 50, start=20).tolist() == list(range(20, 50))


def test_playback_slows_down_at_reversals():
    indices = ping_pong_indices(240, 100)
    speed = np.abs(np.diff(indices.astype(float)))
    around = speed[95:104]
    assert around.mean() < 0.6, "slower around the reversal"
    assert np.diff(indices).min() < 0, "plays backwards afterwards"


def test_wrong_number_of_landmarks_is_rejected():
    with pytest.raises(ValueError, match=r"478, 3"):
        TrackedFace(np.zeros((468, 3)))


# ------------------------------------------------------------------ tracking
GREY = 128


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return open_footage(PORTRAIT, max_side=256)[0]


@pytest.fixture(scope="module")
def still_face(portrait) -> np.ndarray:
    return track(Footage.from_array("portrait", portrait)).faces[0].landmarks


def on_canvas(size: tuple[int, int], *placed: tuple[np.ndarray, int, int]) -> np.ndarray:
    """Return a grey image of `size` = (width, height) with images pasted at (left, top), clipped at the edges."""
    canvas = np.full((size[1], size[0], 3), GREY, np.uint8)
    for image, left, top in placed:
        x0, y0 = max(left, 0), max(top, 0)
        part = image[y0 - top : size[1] - top, x0 - left : size[0] - left]
        canvas[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part
    return canvas


def resized(image: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("side", [100, 1500])
def test_detector_receives_rgb(tmp_path, monkeypatch, side):
    """docs/earlier_systems.md, defect 2; also for images that are reduced first."""
    Image.new("RGB", (side, side), (250, 120, 10)).save(tmp_path / "orange.png")
    received = []

    def detect(self, image):
        received.append(image)
        return []

    monkeypatch.setattr(FaceDetector, "detect", detect)
    assert FaceFinder().find(open_footage(tmp_path / "orange.png")[0]) == []
    assert received[0][0, 0].tolist() == [250, 120, 10]


def test_small_face_at_the_edge_is_located(portrait, still_face):
    """docs/earlier_systems.md, defect 3: the box of the detector exceeds the image."""
    side, left, top = 128, -40, -12
    image = on_canvas((500, 400), (resized(portrait, side), left, top))
    found = FaceFinder().find_small(image)
    wanted = still_face[:, :2] * (side / 256) + (left, top)
    assert np.linalg.norm(found[0][:, :2] - wanted, axis=1).mean() < 3


def test_tracked_face_is_kept_when_another_becomes_larger(portrait):
    """docs/earlier_systems.md, defect 4."""
    frames = [
        on_canvas((640, 320), (resized(portrait, 220), 20, 50), (resized(portrait, other), 320, 10))
        for other in range(160, 301, 20)
    ]
    assert FaceFinder().find(frames[-1])[0][:, 0].mean() > 320, "the other face is the largest in the end"
    places = [face.landmarks[:, 0].mean() for face in track(Footage.from_frames("two", frames, 25)).faces]
    assert max(places) < 240


def test_face_is_interpolated_in_a_frame_without_one(portrait, caplog):
    """docs/earlier_systems.md, defect 5."""
    frames = [on_canvas((300, 256), (portrait, 2 * k, 0)) for k in range(12)]
    frames[6] = np.full_like(frames[0], GREY)
    source = track(Footage.from_frames("clip.mp4", frames, 25))
    assert all(source.shows_face(k) for k in range(12))
    nose = np.array([face.landmarks[4, 0] for face in source.faces])
    assert nose[6] == pytest.approx((nose[5] + nose[7]) / 2, abs=0.5)
    assert "no face in 1 of 12 frames of clip.mp4" in caplog.text


def test_landmark_noise_is_smoothed(monkeypatch, still_face):
    """docs/earlier_systems.md, defect 6."""
    seen = still_face + np.random.default_rng(0).normal(0, 1.0, (60, 478, 3)).astype(np.float32)
    each = iter(seen)
    monkeypatch.setattr(FaceFinder, "find", lambda self, image: [next(each)])
    monkeypatch.setattr(FaceFinder, "follow", lambda self, image, face: next(each))
    faces = track(Footage.from_frames("clip", [np.zeros((64, 64, 3), np.uint8)] * 60, 25)).faces
    followed = np.stack([face.landmarks for face in faces])
    assert np.diff(followed, axis=0).std() < 0.4 * np.diff(seen, axis=0).std()
    assert (followed - still_face).mean() == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("size", [(700, 256), (256, 700)])
def test_landmarks_do_not_depend_on_the_aspect_ratio(portrait, still_face, size):
    """docs/earlier_systems.md, defect 7: images are not resized to squares."""
    face = track(Footage.from_array("canvas", on_canvas(size, (portrait, 0, 0)))).faces[0].landmarks
    assert np.linalg.norm(face[:, :2] - still_face[:, :2], axis=1).mean() < 3
    np.testing.assert_allclose(eye_ratios(face), eye_ratios(still_face), atol=0.04)


def test_landmarks_of_large_images_are_in_image_pixels(portrait, still_face):
    """docs/earlier_systems.md, defect 9: reducing the image must not change the coordinates."""
    large = cv2.resize(portrait, (1792, 1792), interpolation=cv2.INTER_CUBIC)
    face = track(Footage.from_array("large", large)).faces[0].landmarks
    assert np.linalg.norm(face / 7 - still_face, axis=1).mean() < 3


@pytest.mark.parametrize(("own", "fps"), [(50.0, 25.0), (30.0, 25.0), (25.0, 50.0), (60000 / 1001, 24.0)])
def test_video_keeps_its_speed_at_any_frame_rate(still_face, own, fps):
    """docs/earlier_systems.md, defect 46."""
    frames = [np.zeros((8, 8, 3), np.uint8)] * 120
    source = TrackedSource(Footage.from_frames("clip", frames, own), (TrackedFace(still_face),) * 120)
    count = int(119 / own * fps)
    shown = source.frame_indices(count, fps)
    seconds = np.arange(count) / fps
    assert (shown <= seconds * own + 1e-3).all() and (shown > seconds * own - 1).all()


def test_memory_is_linear_in_the_number_of_frames(monkeypatch, still_face):
    """With quadratic memory, 6,000 frames would take 600 MB."""
    monkeypatch.setattr(FaceFinder, "find", lambda self, image: [still_face])
    monkeypatch.setattr(FaceFinder, "follow", lambda self, image, face: still_face)
    footage = Footage.from_frames("long", [np.zeros((8, 8, 3), np.uint8)] * 6000, 25)
    tracemalloc.start()
    try:
        source = track(footage)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * len(source.faces) * still_face.nbytes
