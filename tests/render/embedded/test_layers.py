"""Person and background as two layers: what stands still, what moves, and when there is one layer only."""

from __future__ import annotations

import logging

import cv2
import numpy as np
import pytest

from liveportrait_talker.driving.reference import reference_head
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.tracked import TrackedSource
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from liveportrait_talker.motion import HeadTrack, MotionTrack, MouthControls
from liveportrait_talker.render.embedded.layers import separate
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer
from liveportrait_talker.render.paste import paste

POSES = [(0, 20, 0), (0, -20, 0), (12, 0, 0), (-12, 0, 0), (0, 0, 15), (0, 0, -15)]


@pytest.fixture(scope="module")
def source():
    return track(open_footage(PORTRAIT, max_side=400))


@pytest.fixture(scope="module")
def prepared(source):
    return EmbeddedRenderer().prepare(source)


@pytest.fixture(scope="module")
def layers(source):
    found = separate(source.footage[0], source.faces[0])
    assert not isinstance(found, str), found
    return found


def draw(source, prepared, poses, breath=()):
    frames = len(poses)
    motion = MotionTrack(
        25,
        HeadTrack.turning(np.array(poses, float)),
        np.zeros((frames, 2)),
        np.zeros((frames, 2)),
        MouthControls.neutral(frames),
        breath=np.array(breath),
    )
    return [paste(f.picture if f.picture is not None else source.footage[0], f) for f in prepared.frames(motion)]


def test_person_and_background_add_up_to_the_image(source, layers):
    alpha = layers.person[..., 3:] / 255
    together = alpha * layers.person[..., :3] + (1 - alpha) * layers.background
    assert np.abs(together - source.footage[0]).mean() < 1.5
    points = source.faces[0].landmarks[:468, :2]
    x, y = (points + 0.05 * (points.mean(axis=0) - points)).T.astype(int)
    assert (layers.person[y, x, 3] == 255).all(), "the face is opaque"
    assert (layers.person[:40, :40, 3] == 0).all() and 0.3 < (layers.person[..., 3] > 127).mean() < 0.7


def test_the_background_stands_still_while_the_head_turns(source, prepared, layers):
    """Outside the silhouette, before and after, no pixel changes; a straight line behind the head stays straight."""
    image = source.footage[0]
    for pose, drawn in zip(POSES, draw(source, prepared, POSES), strict=True):
        moved = separate(drawn, track(Footage.from_array("drawn", drawn)).faces[0])
        person = (layers.person[..., 3] > 0) | (moved.person[..., 3] > 0)
        outside = cv2.dilate(person.astype(np.uint8), np.ones((9, 9))) == 0
        assert outside.mean() > 0.25
        assert (drawn[outside] == image[outside]).all(), pose
        assert np.abs(drawn.astype(int) - image)[~outside].mean() > 3, pose


def _line_places(image, lines, clear):
    """Return the sub-pixel row (lines, W) of dark horizontal lines, NaN where something else is within 4 px."""
    found = np.full((len(lines), image.shape[1]), np.nan)
    offset = np.arange(-4, 5)
    for k, y in enumerate(lines):
        rows = np.s_[y - 4 : y + 5]
        dark = np.maximum(180.0 - image[rows].mean(axis=-1), 0)
        visible = clear[rows].all(axis=0) & (dark.sum(axis=0) > 50)
        found[k, visible] = y + ((dark * offset[:, None]).sum(axis=0) / np.maximum(dark.sum(axis=0), 1))[visible]
    return found


def test_straight_lines_behind_the_head_stay_straight(source, layers):
    """The person over a grid of lines: outside the silhouettes these stay within half a pixel, and all at 45 dB."""
    height, width = source.footage[0].shape[:2]
    grid = np.full((height, width, 3), 200, np.uint8)
    grid[10::20], grid[:, 10::20] = 60, 60
    picture = layers.over(grid).still
    behind = TrackedSource(Footage.from_array("grid", picture), source.faces)
    before = separate(picture, source.faces[0])
    lines = range(10, height - 5, 20)
    for pose, drawn in zip(POSES, draw(behind, EmbeddedRenderer().prepare(behind), POSES), strict=True):
        moved = separate(drawn, track(Footage.from_array("drawn", drawn)).faces[0])
        person = [each.person[..., 3] > 0 for each in (layers, before, moved)]
        clear = cv2.dilate(np.any(person, axis=0).astype(np.uint8), np.ones((9, 9))) == 0
        assert clear.mean() > 0.25
        for turned in (False, True):
            first, second, free = (each.swapaxes(0, 1) if turned else each for each in (picture, drawn, clear))
            bent = np.abs(_line_places(second, lines, free) - _line_places(first, lines, free))
            assert np.isfinite(bent).mean() > 0.2 and np.nanmax(bent) <= 0.5, pose
        error = np.mean((drawn.astype(float) - picture)[clear] ** 2)
        assert 10 * np.log10(255**2 / max(error, 1e-9)) >= 45, pose


def test_a_head_at_the_upper_border_nods_as_a_whole_one_does(source):
    """Cut through the hair and bowed, the head has the outline that it has in the whole picture."""
    face = source.faces[0]
    top = int(face.landmarks[10, 1] - 0.45 * face.pose.iod)
    cut = track(Footage.from_array("cut", np.ascontiguousarray(source.footage[0][top:])))
    widths = []
    for given, first in ((source, top), (cut, 0)):
        green = EmbeddedRenderer(background=np.array([[[0, 255, 0]]], np.uint8)).prepare(given)
        rest, bowed = (each[first : first + 60].astype(int) for each in draw(given, green, [(0, 0, 0), (-12, 0, 0)]))
        widths += [(each[..., 1] - each[..., 0] < 100).sum(axis=1) for each in (rest, bowed)]
    assert widths[1][0] < 0.9 * widths[0][0], "the whole one moves down"
    assert np.abs(widths[3] / widths[1] - 1).max() < 0.1


def test_a_large_turn_is_drawn(source, prepared):
    drawn = draw(source, prepared, POSES)
    measured = [track(Footage.from_array("drawn", each)).faces[0].rotation_deg for each in drawn]
    turned = np.array(measured) - source.faces[0].rotation_deg
    asked = np.array(POSES, float)
    axis = np.abs(asked).argmax(axis=1)
    rows = np.arange(len(asked))
    assert ((turned[rows, axis] / asked[rows, axis]) > 0.72).all(), turned
    assert (np.abs(turned[rows, axis] / asked[rows, axis]) < 1.4).all(), turned  # FaceMesh sees a bowed head lower


def test_layers_follow_a_driving_head_further(source, prepared):
    """A video keeps its background, so that its head turns less."""
    footage = Footage.from_frames("video", [source.footage[0]] * 2, 25.0)
    in_one_layer = EmbeddedRenderer().prepare(TrackedSource(footage, source.faces * 2))
    assert (prepared.max_turn_deg > 1.3 * in_one_layer.max_turn_deg).all()
    turns = 18 * np.sin(np.linspace(0, 7, 100))[:, None] * [0, 1, 0]
    followed = [
        np.abs(reference_head(turns, 25.0, np.zeros((100, 3)), 25.0, None, from_zero=True, max_turn_deg=limit)).max()
        for limit in (in_one_layer.max_turn_deg, prepared.max_turn_deg)
    ]
    assert followed[0] < 10 < 16 < followed[1]


def test_a_breath_moves_the_shoulders_alone(source, prepared, layers):
    rest, risen, also_turned = draw(source, prepared, [(0, 0, 0), (0, 0, 0), (0, 8, 0)], breath=(0, 1, 1))
    image = source.footage[0]
    assert (rest == image).all()
    change = np.abs(risen.astype(int) - image).max(axis=-1)
    chin = int(source.faces[0].landmarks[152, 1])
    assert change[:chin].max() == 0 and change[chin:].max() > 20
    assert (
        change[
            (layers.person[..., 3] == 0)
            & (cv2.erode((layers.person[..., 3] == 0) * np.uint8(1), np.ones((15, 15))) > 0)
        ].max()
        == 0
    )
    # Turned as well: the lowest rows, which the turn does not reach, look the same.
    low = slice(-30, None)
    assert np.abs(also_turned[low].astype(int) - risen[low]).mean() < 1


def test_another_background(source):
    face = EmbeddedRenderer(background=np.array([[[0, 177, 64]]], np.uint8)).prepare(source)
    rest, turned = draw(source, face, [(0, 0, 0), (0, 15, 0)])
    assert (rest[:40, :40] == (0, 177, 64)).all() and (turned[:40, :40] == (0, 177, 64)).all()
    x, y = source.faces[0].landmarks[4, :2].astype(int)
    assert (rest[y, x] == source.footage[0][y, x]).all()


def test_no_background(source):
    face = EmbeddedRenderer(background=np.zeros((1, 1, 4), np.uint8)).prepare(source)
    rest, turned = draw(source, face, [(0, 0, 0), (0, 15, 0)], breath=(0, 1))
    for drawn in (rest, turned):
        assert drawn.shape[2] == 4
        assert (drawn[:40, :40, 3] == 0).all()
        x, y = source.faces[0].landmarks[4, :2].astype(int)
        assert drawn[y, x, 3] == 255
    assert np.abs(rest.astype(int) - turned).mean() > 1


def test_an_image_that_knows_its_outline_keeps_it(source, layers):
    opacity = np.zeros(source.footage[0].shape[:2], np.uint8)
    x, y = source.faces[0].landmarks[4, :2].astype(int)
    cv2.circle(opacity, (int(x), int(y)), 110, 255, -1)
    cut = Footage.from_array("cut", source.footage[0], opacity)
    face = EmbeddedRenderer(background=np.zeros((1, 1, 4), np.uint8)).prepare(TrackedSource(cut, source.faces))
    (rest,) = draw(source, face, [(0, 0, 0)])
    np.testing.assert_array_equal(rest[..., 3], opacity)


def test_without_a_person_around_the_face_the_background_moves_along(source, caplog):
    """A face on a wall of noise: the segmentation finds no head."""
    noise = np.random.default_rng(0).integers(0, 255, source.footage[0].shape, dtype=np.uint8)
    blank = TrackedSource(Footage.from_array("noise.png", noise), source.faces)
    with caplog.at_level(logging.WARNING):
        face = EmbeddedRenderer().prepare(blank)
    notes = [r.message for r in caplog.records if "noise.png" in r.message and "background" in r.message]
    assert len(notes) == 1
    (drawn,) = draw(blank, face, [(0, 10, 0)])
    assert (drawn != noise).any()
