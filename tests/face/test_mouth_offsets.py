import numpy as np
import pytest

from liveportrait_talker.face.mouth_offsets import measure_source_mouth, subtract_source_mouth
from liveportrait_talker.face.tracked import TrackedFace, TrackedSource
from liveportrait_talker.media import Footage
from liveportrait_talker.render.embedded.model import face_model

MODEL = face_model()
IMAGE = np.zeros((64, 64, 3), np.uint8)


def face(aperture: float, widening: float = 0.0) -> TrackedFace:
    points = MODEL.mean_face.copy()
    points[:468] += (aperture - 0.079) * MODEL.mouth_basis[0, :468] + widening * MODEL.mouth_basis[1, :468]
    return TrackedFace(points * (1, -1, -1) * 100 + 300)


def test_parted_lips_of_an_image_are_closed():
    parted = TrackedSource(Footage.from_array("p", IMAGE), (face(0.09),))
    closed = subtract_source_mouth(np.zeros((3, 5)), parted, 25)
    assert closed.values[:, 0] == pytest.approx(-parted.faces[0].aperture)
    assert not closed.values[:, 1:].any()


def test_controls_do_not_depend_on_the_mouth_of_a_video():
    faces = (face(0.02), face(0.15, 0.05), face(0.02), face(0.05))
    video = TrackedSource(Footage.from_frames("v", [IMAGE] * 4, 25), faces)
    wanted = np.full((4, 5), 0.03)
    offsets = subtract_source_mouth(wanted, video, 25)
    assert measure_source_mouth(video, 4, 25) + offsets.values == pytest.approx(wanted, abs=1e-6)
    assert measure_source_mouth(video, 4, 25)[1, 1] > 0.03, "the smile in the video"
    assert len(subtract_source_mouth(np.zeros((9, 5)), video, 25)) == 9
