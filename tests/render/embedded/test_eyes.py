"""Lids and irises of the embedded renderer: what they look like at any closure and gaze."""

from __future__ import annotations

import numpy as np
import pytest

from liveportrait_talker.driving.retargeting import blink_from_eye_ratios
from liveportrait_talker.face.ratios import eye_ratios
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from liveportrait_talker.motion import HeadTrack, MotionTrack, MouthControls
from liveportrait_talker.render.embedded.renderer import EmbeddedRenderer
from liveportrait_talker.render.paste import paste
from shared import needs_shared, portrait

CORNERS = ((33, 133), (263, 362))  # outer, inner
LIDS = ((159, 145), (386, 374))
IRISES = (468, 473)


def draw(source, prepared, *, blink=(0.0,), gaze=((0.0, 0.0),)):
    """Return a frame for each closure, or for each direction of gaze."""
    frames = max(len(blink), len(gaze))
    lids = np.broadcast_to(np.asarray(blink, float)[:, None], (frames, 2))
    look = np.broadcast_to(np.asarray(gaze, float), (frames, 2))
    motion = MotionTrack(25, HeadTrack.still(frames), lids, look, MouthControls(np.zeros((frames, 5))))
    return [paste(source.footage[0], face) for face in prepared.frames(motion)]


def points(source):
    return source.faces[0].landmarks[:, :2].astype(float)


def column(image, at, down, length):
    """Return grey values of `length` px downwards from (x, y), nearest pixels."""
    at = at + np.arange(length)[:, None] * down
    x, y = np.rint(at).astype(int).T
    return image[y, x].mean(axis=-1)


@pytest.mark.parametrize("side", [0, 1])
def test_the_outer_corner_of_shut_lids_sinks(source, prepared, side):
    """The line of shut lids falls from the inner corner to the outer one and does not sag between them."""
    shut, face = draw(source, prepared, blink=(1,))[0], points(source)
    outer, inner = (face[k] for k in CORNERS[side])
    iod = source.faces[0].pose.iod
    along = (inner - outer) / np.linalg.norm(inner - outer)
    down = np.array([-along[1], along[0]]) * (1 if side == 0 else -1)
    reach = round(0.12 * iod)
    heights = [
        -reach + np.argmin(column(shut, outer + t * (inner - outer) - reach * down, down, 2 * reach))
        for t in (0.2, 0.5, 0.8)
    ]
    assert heights[0] >= heights[1] >= heights[2] and heights[0] > heights[2] + 0.02 * iod


def test_shut_lids_are_skin_where_the_eye_was(source, prepared):
    """Half-way between the line and the open eye's lash line there is neither eye nor lash line."""
    shut, face, iod = draw(source, prepared, blink=(1,))[0], points(source), source.faces[0].pose.iod
    for (upper, lower), (outer, inner) in zip(LIDS, CORNERS, strict=True):
        cheek = column(shut, face[lower] + (0, 0.12 * iod), np.array([0, 1]), round(0.06 * iod)).mean()
        for t in (0.25, 0.5, 0.75):
            x = face[outer, 0] + t * (face[inner, 0] - face[outer, 0])
            lid = column(shut, np.array([x, face[upper, 1]]), np.array([0, 1]), round(0.04 * iod))
            assert 0.65 * cheek < lid.min() and lid.max() < 1.1 * cheek
            assert np.abs(np.diff(lid)).max() < 0.05 * cheek


def test_lids_close_without_a_jump(source, prepared):
    frames = draw(source, prepared, blink=np.arange(0, 1.001, 0.02))
    steps = [np.abs(b.astype(int) - a).mean() for a, b in zip(frames[:-1], frames[1:], strict=True)]
    assert max(steps) < 3 * np.median(steps)


def test_half_shut_lids_are_read_as_half_shut(source, prepared):
    """What `animate` measures on drawn lids is the closure that they were drawn with."""
    asked = np.array([0.3, 0.5, 0.7, 1.0])
    frames = draw(source, prepared, blink=np.concatenate([[0], asked]))
    ratios = np.stack([eye_ratios(track(Footage.from_array("drawn", f)).faces[0].landmarks) for f in frames])
    np.testing.assert_allclose(blink_from_eye_ratios(ratios[1:], ratios[0]).mean(axis=1), asked, atol=0.2)


def test_catch_lights_stay_when_the_irises_move(source, prepared):
    still, left, right = draw(source, prepared, gaze=((0, 0), (-1, 0), (1, 0)))
    face, iod = points(source), source.faces[0].pose.iod
    for iris in IRISES:
        centre, radius = face[iris], 0.055 * iod
        y, x = np.mgrid[: still.shape[0], : still.shape[1]]
        near = np.hypot(x - centre[0], y - centre[1]) < radius
        found = [
            np.argmax(np.where(near, image.min(axis=-1).astype(int), -1)) % still.shape[1] for image in (left, right)
        ]
        assert abs(found[1] - found[0]) < 0.05 * iod  # the iris moves by 0.09
    for image in (left, right):
        assert np.abs(image.astype(int) - still).max() > 40


@needs_shared
def test_eyes_of_a_cartoon_shut_entirely():
    """Its eyes are wider than their landmarks."""
    source = track(open_footage(portrait("cartoon_3d")))
    image = draw(source, EmbeddedRenderer().prepare(source), blink=(1,))[0].astype(int)
    face, iod = points(source), source.faces[0].pose.iod
    blue = image[..., 2] > image[..., 0] - 8  # iris or white; all skin is orange
    for corners in CORNERS:
        left, right = sorted(face[list(corners), 0])
        top = round(face[list(corners), 1].min() - 0.2 * iod)
        around = np.s_[top : top + round(0.4 * iod), round(left - 0.06 * iod) : round(right + 0.06 * iod)]
        bright = image[around].mean(axis=-1) > 110
        assert (blue[around] & bright).mean() < 0.002


@needs_shared
def test_the_outline_of_a_cartoons_lower_lid_rises_to_the_line_of_shut_lids():
    """Otherwise both are seen, one below the other."""
    source = track(open_footage(portrait("cartoon_3d")))
    image = draw(source, EmbeddedRenderer().prepare(source), blink=(1,))[0]
    face, iod = points(source), source.faces[0].pose.iod
    for (outer, inner), (_, lower) in zip(CORNERS, LIDS, strict=True):
        for t in (0.3, 0.5, 0.7):
            x = face[outer, 0] + t * (face[inner, 0] - face[outer, 0])
            grey = column(image, np.array([x, face[lower, 1] - 0.1 * iod]), np.array([0, 1]), round(0.22 * iod))
            darkest = np.argmin(grey)
            above, below = grey[: darkest + 1], grey[darkest:]
            rises = (above - np.minimum.accumulate(above)).max(), (np.maximum.accumulate(below) - below).max()
            assert max(rises) < 0.07 * np.median(grey)  # one line
