"""What brows and smiles of a motion track change in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from liveportrait_talker.driving.expression import PRESETS, add_preset
from liveportrait_talker.motion import MotionTrack, MouthControls
from liveportrait_talker.render.embedded.brows import upper_face_basis
from liveportrait_talker.render.embedded.model import POINTS, face_model
from liveportrait_talker.render.embedded.smile import smile_basis
from liveportrait_talker.render.paste import paste
from measuring import measure_frames

_INNER, _OUTER = ((55, 107), (285, 336)), ((46, 70), (276, 300))
_INNER_LIPS = ((13, 14), (82, 87), (312, 317), (80, 88), (310, 318), (191, 95), (415, 324))


@pytest.fixture(scope="module")
def shown(source, prepared):
    """Return preset → (478, 3) landmarks in IOD, of a face with shut lips; "" without one."""
    rest = MotionTrack.neutral(1)
    shut = MouthControls(np.array([[-max(source.faces[0].aperture, 0), 0, 0, 0, 0]]))
    found = {}
    for name in ("", *PRESETS):
        change = add_preset(rest, name, 1.0) if name else rest
        mouth = MouthControls(shut.values + change.mouth.values)
        track = MotionTrack(
            25, rest.head, change.blink, rest.gaze, mouth, change.brows, change.inner_brows, change.smile
        )
        image = paste(source.footage[0], next(iter(prepared.frames(track))))
        measured = measure_frames([np.ascontiguousarray(image)])
        found[name] = measured.landmarks[0] / source.faces[0].pose.iod, measured.aperture[0]
    return found


# FaceMesh reads a moved brow at about half its motion.
def height(points, numbers) -> float:
    """Return how high landmarks are above the nose's bridge, IOD."""
    return float(points[168, 1] - points[np.ravel(numbers), 1].mean())


def test_sad_and_angry_brows_tilt(shown):
    tilt = {name: height(points, _INNER) - height(points, _OUTER) for name, (points, _) in shown.items()}
    assert tilt["sad"] > tilt[""] + 0.015 and tilt["angry"] < tilt[""] - 0.012


def test_surprise_raises_brows_and_lids(shown):
    points, rest = shown["surprised"][0], shown[""][0]
    assert height(points, _INNER + _OUTER) > height(rest, _INNER + _OUTER) + 0.02
    opened = [np.linalg.norm(each[159] - each[145]) + np.linalg.norm(each[386] - each[374]) for each in (points, rest)]
    assert opened[0] > 1.08 * opened[1]


def test_smiles_curve_the_mouth_and_keep_it_shut(shown):
    def curve(name: str) -> float:
        points = shown[name][0]
        return height(points, (61, 291)) - height(points, (13, 14))

    assert curve("happy") > curve("") + 0.02 and curve("sad") < curve("") - 0.008
    for name, (_, aperture) in shown.items():
        assert aperture <= shown[""][1] + 0.01, name


def test_a_smile_does_not_part_the_lips():
    basis = smile_basis(face_model())
    for upper, lower in _INNER_LIPS:
        assert abs(basis[upper, 1] - basis[lower, 1]) < 0.06


def test_expressions_move_no_nose_and_no_eye_corner():
    model = face_model()
    moved = np.concatenate([upper_face_basis(model), smile_basis(model)[None]])
    nose, corners = (1, 2, 4, 5, 98, 327), (33, 133, 263, 362)
    assert np.abs(moved[:, nose]).max() < 0.12
    assert np.abs(moved[:4, corners]).max() < 0.1
    assert not moved[:, POINTS:].any(), "nor what is outside the face"


def test_no_triangle_of_the_face_is_turned_over():
    model = face_model()
    face = model.mean_face[:POINTS, :2]
    triangles = model.triangles[(model.triangles < POINTS).all(axis=1)]

    def areas(points):
        a, b, c = (points[triangles[:, k]] for k in range(3))
        return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])

    before = areas(face)
    sizeable = np.abs(before) > 2e-4
    basis = np.concatenate([upper_face_basis(model), smile_basis(model)[None]])[:, :POINTS, :2]
    for name, preset in PRESETS.items():
        inner = preset.inner_brows
        amounts = [preset.brows, preset.brows, inner, 0.35 * abs(inner), *np.clip([-preset.lids] * 2, 0, 0.3)]
        after = areas(face + np.tensordot([*amounts, preset.smile], basis, 1))
        assert (np.sign(after) == np.sign(before))[sizeable].all(), name
