"""The mouth interior: photographed mouths of the person, fitted colours, brightness of the teeth."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.tracked import TrackedSource
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from liveportrait_talker.motion import HeadTrack, MotionTrack, MouthControls
from liveportrait_talker.pipelines.run import composed
from liveportrait_talker.render.embedded.mouth_examples import MouthExample, choose_frames
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer

INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)


@pytest.fixture(scope="module")
def portrait() -> TrackedSource:
    return track(open_footage(PORTRAIT, max_side=384))


def draw(source: TrackedSource, openings: list[float], renderer: EmbeddedRenderer | None = None) -> list[np.ndarray]:
    """Return frames with these absolute apertures, IOD."""
    mouth = np.zeros((len(openings), 5))
    mouth[:, 0] = np.array(openings) - source.faces[0].aperture
    motion = MotionTrack(25, HeadTrack.still(len(openings)), *np.zeros((2, len(openings), 2)), MouthControls(mouth))
    return list(composed(source, (renderer or EmbeddedRenderer()).prepare(source).frames(motion)))


def inside(image: np.ndarray) -> np.ndarray:
    """Return the pixels (n, 3) between the lips."""
    points = track(Footage.from_array("drawn", image)).faces[0].landmarks[list(INNER_LIPS), :2]
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    return image[cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0].astype(float)


@pytest.fixture(scope="module")
def shut(portrait: TrackedSource) -> TrackedSource:
    """The portrait with shut lips: nothing is known of its teeth."""
    return track(Footage.from_array("shut", draw(portrait, [0.0])[0]))


def with_green_mouth(source: TrackedSource, opening: float) -> tuple[np.ndarray, MouthExample]:
    """Return the person with a mouth as nobody has, and its example."""
    image = draw(source, [opening])[0]
    face = track(Footage.from_array("open", image)).faces[0]
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(face.landmarks[list(INNER_LIPS), :2]).astype(np.int32)], 1)
    image[mask > 0] = (40, 160, 40)
    example = MouthExample.of(image, face)
    assert example is not None
    return image, example


@pytest.mark.parametrize("opening", [0.06, 0.1, 0.14, 0.18])
def test_a_mouth_of_another_picture_is_played_at_any_opening(shut: TrackedSource, opening: float):
    _, example = with_green_mouth(shut, 0.14)
    plain, green = (
        inside(draw(shut, [opening], EmbeddedRenderer(mouths=mouths))[0]).mean(axis=0) for mouths in ([], [example])
    )
    assert plain[0] > plain[1]
    assert green[1] - green[0] > 35


@pytest.mark.parametrize("opening", [0.16, 0.2, 0.22])
def test_upper_teeth_that_reach_the_lower_lip_stay_with_the_upper_jaw(opening: float):
    """In the portrait they do; they were drawn a second time along the lower lip, as a white stripe."""
    source = track(open_footage(PORTRAIT))
    image, face = draw(source, [opening])[0], source.faces[0]
    moved = track(Footage.from_array("drawn", image)).faces[0]
    (x, top), (_, bottom) = moved.landmarks[[13, 14], :2]
    column = image[:, round(float(x)) - 3 : round(float(x)) + 4].astype(float).mean(axis=(1, 2))
    middle, end = round(float(0.4 * top + 0.6 * bottom)), round(float(bottom + 0.03 * face.pose.iod))
    darkest = middle + int(np.argmin(column[middle:end]))
    lip = np.median(column[end : end + round(0.05 * face.pose.iod)])
    assert column[darkest : end + 1].max() <= 1.05 * lip


def test_wide_mouths_and_those_of_few_pixels_have_a_lower_half_of_their_own(portrait: TrackedSource):
    """Upper teeth end above a lip that is far down; of a few pixels nothing is known."""
    image, small = draw(track(open_footage(PORTRAIT)), [0.22])[0], track(open_footage(PORTRAIT, max_side=64))
    face = track(Footage.from_array("wide", image)).faces[0]
    cv2.fillPoly(image, [np.rint(face.landmarks[list(INNER_LIPS), :2]).astype(np.int32)], (230, 230, 230))
    examples = [MouthExample.of(image, face), MouthExample.of(small.footage[0], small.faces[0])]
    assert [example is not None and example.moves_with_jaw for example in examples] == [1, 1]
    assert examples[1] is not None and examples[1].dark_below_teeth == 0


def test_a_video_plays_its_own_mouths(shut: TrackedSource):
    opened, _ = with_green_mouth(shut, 0.14)
    closed = shut.footage[0]
    clip = Footage.from_frames("clip", [opened] * 3 + [closed] * 3, fps=25)
    face = track(Footage.from_array("opened", opened)).faces[0]
    video = TrackedSource(clip, (face,) * 3 + (shut.faces[0],) * 3)
    mouth = np.zeros((6, 5))
    mouth[3:, 0] = 0.12  # where the video's own mouth is shut
    motion = MotionTrack(25, HeadTrack.still(6), *np.zeros((2, 6, 2)), MouthControls(mouth))
    prepared = EmbeddedRenderer().prepare(video)
    once, again = (list(composed(video, prepared.frames(motion))) for _ in range(2))
    shown = inside(once[5]).mean(axis=0)
    assert shown[1] - shown[0] > 40
    assert all((a == b).all() for a, b in zip(once, again, strict=True)), "a second run gives the same"


def test_frames_do_not_depend_on_earlier_ones_of_another_run(portrait: TrackedSource, shut: TrackedSource):
    examples = [with_green_mouth(shut, opening)[1] for opening in (0.08, 0.18)]
    motion = [0.18]
    renderer = EmbeddedRenderer(mouths=examples)
    alone = draw(shut, motion, renderer)[0]
    face = renderer.prepare(shut)
    for opening in (0.05, 0.18):
        mouth = np.array([[opening - shut.faces[0].aperture, 0, 0, 0, 0]])
        track_of_one = MotionTrack(25, HeadTrack.still(1), *np.zeros((2, 1, 2)), MouthControls(mouth))
        (last,) = composed(shut, face.frames(track_of_one))
    assert (last == alone).all()


def test_frames_of_a_track_that_continues_are_those_of_the_whole(shut: TrackedSource):
    renderer = EmbeddedRenderer(mouths=[with_green_mouth(shut, opening)[1] for opening in (0.08, 0.18)])
    openings = list(np.linspace(0.08, 0.18, 6))
    face, frames = renderer.prepare(shut), []
    for k, opening in enumerate(openings):
        mouth = np.array([[opening - shut.faces[0].aperture, 0, 0, 0, 0]])
        still = HeadTrack.still(1), *np.zeros((2, 1, 2))
        frames += composed(shut, face.frames(MotionTrack(25, *still, MouthControls(mouth), continues=k > 0)))
    assert np.array_equal(frames, draw(shut, openings, renderer))


def test_the_change_between_examples_is_gradual(shut: TrackedSource):
    examples = [with_green_mouth(shut, opening)[1] for opening in (0.08, 0.18)]
    frames = draw(shut, list(np.linspace(0.08, 0.18, 40)), EmbeddedRenderer(mouths=examples))
    steps = [np.abs(b.astype(int) - a).mean() for a, b in zip(frames[:-1], frames[1:], strict=True)]
    assert max(steps) < 4 * np.median(steps) + 0.05


def test_a_large_example_is_reduced_to_the_size_of_the_face(shut: TrackedSource):
    _, example = with_green_mouth(shut, 0.14)
    iod = shut.faces[0].pose.iod
    assert example.reduced(iod) is example and example.reduced(2 * iod) is example
    small = example.reduced(iod / 2)
    assert small.difference.shape[1] == pytest.approx(example.difference.shape[1] / 2, abs=1)
    middle = np.array([(example.opening.left + example.opening.right) / 2, -0.06, 1.0])
    (x, y), (x2, y2) = example.to_pixels @ middle, small.to_pixels @ middle
    assert (x2 + 0.5, y2 + 0.5) == pytest.approx(((x + 0.5) / 2, (y + 0.5) / 2), abs=0.6)


def test_the_chosen_frames_of_a_video_are_open_and_far_apart(portrait: TrackedSource, shut: TrackedSource):
    frames = draw(portrait, [0.0, 0.1, 0.1, 0.1, 0.2, 0.0])
    faces = tuple(track(Footage.from_array("frame", frame)).faces[0] for frame in frames)
    chosen = choose_frames(faces, np.arange(6), most=2)
    assert len(chosen) == 2 and chosen[1] == 4 and chosen[0] in (1, 2, 3)
    assert choose_frames(faces, np.array([0, 5]), most=2) == []


def test_the_interior_follows_the_light_of_the_image(shut: TrackedSource):
    bright = inside(draw(shut, [0.14])[0]).mean(axis=0)
    dim_image = (shut.footage[0] * 0.4).astype(np.uint8)
    dim_source = TrackedSource(Footage.from_array("dim", dim_image), shut.faces)
    dim = inside(np.clip(draw(dim_source, [0.14])[0] / 0.4, 0, 255).astype(np.uint8)).mean(axis=0)
    np.testing.assert_allclose(dim, bright, atol=18)
