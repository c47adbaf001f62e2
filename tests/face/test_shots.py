"""Videos with cuts, fades and black frames."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from liveportrait_talker import Talker, TalkOptions
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.appearance import SAME_PERSON_DISTANCE, appearance_distance, sample_appearance
from liveportrait_talker.face.shots import ShotFinder
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from liveportrait_talker.motion import MotionTrack, MouthControls
from liveportrait_talker.render.embedded.model import face_model
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer
from liveportrait_talker.render.paste import paste
from shared import DATA, needs_shared, portrait
from sounds import syllables, write_wav

CASES = DATA / "cases"


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return open_footage(PORTRAIT, max_side=256)[0]


def canvas(image: np.ndarray, left: int, background: int) -> np.ndarray:
    frame = np.full((256, 640, 3), background, np.uint8)
    frame[:, left : left + 256] = image
    return frame


def test_new_face_after_a_cut_is_tracked_at_once(image, caplog):
    frames = [canvas(image, 0, 30)] * 10 + [canvas(image[:, ::-1], 384, 220)] * 10
    source = track(Footage.from_frames("two.mp4", frames, 25))
    places = [face.landmarks[:, 0].mean() for face in source.faces]
    assert max(places[:10]) < 256 and min(places[10:]) > 384, "nothing is interpolated or smoothed across the cut"
    assert all(source.shows_face(k) for k in range(20))
    assert "two.mp4 has 2 shots." in caplog.text


def test_face_number_applies_to_each_shot(image):
    """The second largest face is on the right in the first shot, on the left in the second."""
    small = cv2.resize(image, (236, 236), interpolation=cv2.INTER_AREA)
    left, right = canvas(image, 0, 30), canvas(image, 384, 220)
    left[10:246, 400:636] = small
    right[10:246, 4:240] = small
    source = track(Footage.from_frames("two.mp4", [left] * 6 + [right] * 6, 25), face=2)
    places = [face.landmarks[:, 0].mean() for face in source.faces]
    assert min(places[:6]) > 400 and max(places[6:]) < 240


@needs_shared
def test_person_is_recognised_by_appearance_after_a_cut():
    """Shots: one person; both, the other one larger and in the old position; the other one; both."""
    one, other = (portrait_frame(name) for name in ("aoc", "feifei"))
    small = cv2.resize(one, (220, 220), interpolation=cv2.INTER_AREA)

    def both(left: int, left_of_other: int) -> np.ndarray:
        frame = canvas(other, left_of_other, 220)
        frame[20:240, left : left + 220] = small
        return frame

    frames = [canvas(one, 0, 30)] * 4 + [both(400, 0)] * 4 + [canvas(other, 200, 30)] * 4 + [both(0, 384)] * 4
    source = track(Footage.from_frames("talk.mp4", frames, 25))
    places = [float(face.landmarks[:, 0].mean()) for face in source.faces]
    assert max(places[:4]) < 256 and min(places[4:8]) > 400, "neither the nearest nor the largest face"
    assert min(places[8:12]) > 200, "the only face"
    assert max(places[12:]) < 240, "the first person"


def portrait_frame(name: str) -> np.ndarray:
    with open_footage(DATA / "talking" / f"{name}.mp4") as footage:
        return cv2.resize(footage[0], (256, 256), interpolation=cv2.INTER_AREA)


def test_shot_without_a_face_is_not_changed(image, caplog):
    empty = np.full((256, 640, 3), 120, np.uint8)
    frames = [canvas(image, 100, 30)] * 8 + [empty] * 4 + [canvas(image, 100, 30)] * 8
    source = track(Footage.from_frames("three.mp4", frames, 25))
    assert [source.shows_face(k) for k in range(20)] == [True] * 8 + [False] * 4 + [True] * 8
    assert "three.mp4 has 3 shots; no face in shot 2, which is not changed." in caplog.text


@needs_shared
def test_landscape_is_not_changed(tmp_path):
    path = CASES / "cutaway_to_a_landscape.mp4"
    voice = write_wav(tmp_path / "voice.wav", syllables(3.2))
    with open_footage(path) as footage:
        frames = list(Talker().frames(path, voice, TalkOptions(renderer="embedded")))
        for k in range(30, 60):
            assert np.array_equal(frames[k], footage[k])
        assert not np.array_equal(frames[62], footage[62])


@needs_shared
@pytest.mark.parametrize("name", ["aoc", "feifei", "vox_jamie"])
def test_talking_head_has_no_cuts(name):
    finder = ShotFinder()
    with open_footage(DATA / "talking" / f"{name}.mp4") as footage:
        assert not any(finder.add_frame(footage[k]) for k in range(min(len(footage), 150)))


def test_fade_from_black_has_a_mouth_of_matching_brightness(image):
    """Black first frames must not give black tones; teeth are not white in dim light."""
    levels = np.concatenate([np.zeros(4), np.linspace(0.1, 1, 10), np.ones(16)])
    frames = [np.rint(image * level).astype(np.uint8) for level in levels]
    footage = Footage.from_frames("fade.mp4", frames, 25)
    source = track(footage)
    mouth = np.zeros((30, 5), np.float32)
    mouth[:, 0] = 0.15
    motion = dataclasses.replace(MotionTrack.neutral(30), mouth=MouthControls(mouth))
    rendered = list(EmbeddedRenderer().prepare(source).frames(motion))
    assert all(face.image.shape[:2] == (1, 1) for face in rendered[:4]), "nothing is drawn on black"
    bright = [int(face.image.max()) for face in rendered[4:]]
    assert bright[-1] > 100
    assert bright[0] <= frames[4].max() + 25, "no white teeth in the dark"


@needs_shared
def test_mouth_of_a_monochrome_image_is_monochrome(image):
    sepia = np.rint(image.mean(axis=2, keepdims=True) * (1.0, 0.85, 0.65)).astype(np.uint8)
    for footage, expected in (
        (open_footage(portrait("bright_skin")), None),
        (open_footage(CASES / "black_and_white.jpg"), (1, 1, 1)),
        (Footage.from_array("sepia", sepia), (1.0, 0.85, 0.65)),
    ):
        mouth = MouthControls(np.array([[0.15, 0, 0, 0, 0]], np.float32))
        source = track(footage)
        (face,) = EmbeddedRenderer().prepare(source).frames(dataclasses.replace(MotionTrack.neutral(1), mouth=mouth))
        drawn = paste(footage[0], face)
        (opened,) = track(Footage.from_array("drawn", drawn)).faces
        x, y = (opened.landmarks[13, :2] * 0.4 + opened.landmarks[14, :2] * 0.6).astype(int)
        inside = drawn[y - 3 : y + 4, x - 12 : x + 13].reshape(-1, 3).astype(float)
        colour = inside[inside.sum(axis=1) > 60].mean(axis=0)
        if expected is not None:
            np.testing.assert_allclose(colour / colour[1], np.array(expected) / expected[1], atol=0.06)
        else:
            assert colour[0] > 1.1 * colour[1], "red in a colour image"


def test_a_person_is_the_same_in_a_quarter_of_the_light():
    landmarks = face_model().mean_face * (100, -100, -100) + (256, 256, 0)
    bright, dim = (sample_appearance(np.full((512, 512, 3), level, np.uint8), landmarks) for level in (119, 60))
    assert 3 < appearance_distance(bright, dim) < SAME_PERSON_DISTANCE


@pytest.mark.parametrize(("flash", "shots"), [(1, 1), (2, 1), (3, 3)])
def test_flashes_of_up_to_two_frames_are_no_cuts(flash, shots):
    finder = ShotFinder()
    for level in [20] * 6 + [220] * flash + [20] * 6:
        finder.add_frame(np.full((48, 48, 3), level, np.uint8))
    assert finder.shots()[-1] + 1 == shots
