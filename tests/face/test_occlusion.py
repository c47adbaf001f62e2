from __future__ import annotations

import cv2
import numpy as np
import pytest

from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.face.occlusion import is_mouth_covered
from liveportrait_talker.face.tracker import track
from liveportrait_talker.media import Footage, open_footage
from shared import DATA, needs_shared

MESSAGE = "does not look like lips: a mask or a hand may cover it"


@needs_shared
def test_mask_over_the_mouth_is_reported(caplog):
    track(open_footage(DATA / "cases" / "surgical_mask_painted.jpg"))
    assert MESSAGE in caplog.text


@pytest.mark.parametrize("colour", [(190, 215, 230), (30, 30, 34), (224, 172, 140)], ids=["mask", "black mask", "skin"])
def test_painted_covers_are_detected(caplog, colour):
    """Covers on which the mesh is still found."""
    image = np.array(open_footage(PORTRAIT, max_side=512)[0])
    source = track(Footage.from_array("plain.png", image))
    assert MESSAGE not in caplog.text
    face = source.faces[0]
    outline = face.landmarks[
        [50, 205, 187, 147, 213, 192, 135, 169, 170, 171, 175, 396, 395, 394, 364, 416, 433, 376, 411, 425, 280, 195],
        :2,
    ]
    cv2.fillPoly(image, [np.rint(outline).astype(np.int32)], colour)
    assert is_mouth_covered(image, face)


@needs_shared
@pytest.mark.parametrize(
    "path", sorted((DATA / "portraits").iterdir()) if DATA.is_dir() else [], ids=lambda path: path.stem
)
def test_uncovered_mouths_are_not_reported(caplog, path):
    """Beards, paintings, a cartoon, bare teeth."""
    track(open_footage(path))
    assert MESSAGE not in caplog.text


def test_black_frames_and_driving_faces_are_not_reported(caplog):
    image = open_footage(PORTRAIT, max_side=256)[0]
    fade = [np.zeros_like(image)] * 3 + [image] * 10
    track(Footage.from_frames("fade.mp4", fade, 25))
    assert MESSAGE not in caplog.text
    covered = np.array(image)
    face = track(Footage.from_array("plain.png", image)).faces[0]
    x, y = np.rint(face.landmarks[13, :2]).astype(int)
    covered[y - 20 : y + 30, x - 50 : x + 50] = (190, 215, 230)
    track(Footage.from_array("driving.png", covered), warn_covered_mouth=False)
    assert MESSAGE not in caplog.text
