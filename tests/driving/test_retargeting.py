"""Retargeting: measurements, rest, relative and absolute motion."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from liveportrait_talker.driving.retargeting import (
    Rest,
    blink_from_eye_ratios,
    controls_from_measurements,
    retarget_motion,
)
from liveportrait_talker.face.geometry import LANDMARKS
from liveportrait_talker.face.measurements import measure_faces
from liveportrait_talker.face.tracked import TrackedFace, TrackedSource
from liveportrait_talker.media import Footage
from liveportrait_talker.motion import MotionTrack
from liveportrait_talker.motion.face_measurements import FaceMeasurements
from liveportrait_talker.options.animate import AnimateOptions
from liveportrait_talker.pipelines.animate import retarget_to
from liveportrait_talker.render.embedded.model import POINTS, face_model

FRAMES = 50
T = np.arange(FRAMES) / 25


def measurements(**changes) -> FaceMeasurements:
    """A face at rest except for the given arrays."""
    still = {
        "rotation_deg": np.zeros((FRAMES, 3)),
        "place": np.zeros((FRAMES, 2)),
        "size": np.ones(FRAMES),
        "eye_ratios": np.full((FRAMES, 2), 0.35),
        "gaze": np.zeros((FRAMES, 2)),
        "mouth": np.tile([0.01, 0.56, 0.19, -0.28], (FRAMES, 1)),
        "brow_height": np.full((FRAMES, 2), 0.5),
    }
    return FaceMeasurements(25.0, **(still | changes))


def mean_face(controls=(0, 0, 0, 0, 0), iod: float = 100.0) -> TrackedFace:
    model = face_model()
    points = model.mean_face.copy()
    points[:POINTS] += np.tensordot(np.array(controls, float), model.mouth_basis[:, :POINTS], 1)
    assert points.shape == (LANDMARKS, 3)
    return TrackedFace(points * (iod, -iod, -iod) + (256, 256, 0))


@pytest.fixture(scope="module")
def source() -> TrackedSource:
    return TrackedSource(Footage.from_array("grey", np.full((512, 512, 3), 120, np.uint8)), (mean_face(),))


def test_controls_are_measured_as_given():
    """Each control of the mesh's mouth basis is measured, with little of the others."""
    rest = measure_faces(TrackedSource(Footage.from_array("a", np.zeros((512, 512, 3), np.uint8)), (mean_face(),)))
    for k, size in enumerate((0.12, 0.06, 0.06, 0.04, 0.04)):
        given = np.zeros(5)
        given[k] = size
        picture = Footage.from_array("a", np.zeros((512, 512, 3), np.uint8))
        seen = measure_faces(TrackedSource(picture, (mean_face(given),)))
        read = controls_from_measurements(seen.mouth - rest.mouth)[0]
        assert read[k] == pytest.approx(size, rel=0.35), k
        assert np.abs(np.delete(read, k)).max() < 0.4 * size, k


def test_a_face_at_rest_gives_a_neutral_track(source):
    track = retarget_motion(measurements(), source)
    neutral = MotionTrack.neutral(FRAMES)
    for name in ("blink", "gaze", "brows"):
        np.testing.assert_array_equal(getattr(track, name), getattr(neutral, name))
    assert not track.head.rotation_deg.any() and (track.head.scale == 1).all()
    assert np.abs(track.mouth.values).max() < 1e-6


def test_wide_turns_keep_their_shape(source):
    wide = measurements(rotation_deg=np.stack([np.zeros(FRAMES), 40 * np.sin(3 * T), 2 * np.sin(5 * T)], axis=1))
    made = retarget_motion(wide, source).head.rotation_deg
    assert 8 < np.abs(made[:, 1]).max() < 10.5 and np.corrcoef(made[:, 1], np.sin(3 * T))[0, 1] > 0.999
    assert np.abs(made[:, 2]).max() == pytest.approx(2, rel=0.1)  # small motion is unchanged
    far = measurements(place=np.stack([T, np.zeros(FRAMES)], axis=1), size=1 + T)
    track = retarget_motion(far, source)
    assert np.abs(track.head.shift).max() < 0.1 and track.head.scale.max() < 1.12


def test_relative_and_absolute_motion(source):
    turned = measurements(rotation_deg=np.tile([0, 6.0, 0], (FRAMES, 1)))
    assert not retarget_motion(turned, source).head.rotation_deg.any()
    own = source.faces[0].rotation_deg[1]
    np.testing.assert_allclose(
        retarget_motion(turned, source, relative=False).head.rotation_deg[:, 1], 6 - own, atol=0.05
    )
    open_ = measurements(mouth=np.tile([0.15, 0.56, 0.19, -0.28], (FRAMES, 1)))
    assert np.abs(retarget_motion(open_, source).mouth.values[:, 0]).max() < 1e-6  # it is that person's rest
    wanted = 0.15 - source.faces[0].aperture
    np.testing.assert_allclose(retarget_motion(open_, source, relative=False).mouth.values[:, 0], wanted, atol=1e-6)
    assert retarget_motion(open_, source, lip_retargeting=True).mouth.values[0, 0] == pytest.approx(wanted, abs=1e-6)
    shut = retarget_motion(open_, source, normalize_lip=True).mouth.values[:, 0]
    np.testing.assert_allclose(shut, -source.faces[0].aperture, atol=1e-6)  # the mean face's lips are parted


def test_lids_vary_blink_and_widen():
    ratios = 0.35 * np.array([[1, 1], [0.85, 0.9], [0.3, 0.3], [0.1, 1], [1.3, 1.05]])
    np.testing.assert_allclose(
        blink_from_eye_ratios(ratios, np.full(2, 0.35)), [[0, 0], [0, 0], [1, 1], [1, 0], [-0.18, 0]], atol=1e-6
    )


def test_lids_read_as_three_quarters_open_are_nearly_half_shut():
    """Landmarks hold on to the open eye: closures of 0.4, 0.6 and 0.7 are read as 0.80, 0.60 and 0.42 of its ratio."""
    shares = np.array([0.82, 0.74, 0.66, 0.6, 0.42, 0.3])
    closure = blink_from_eye_ratios(0.35 * np.stack([shares, shares], axis=1), np.full(2, 0.35))[:, 0]
    assert (np.diff(closure) > 0).all()
    np.testing.assert_allclose(closure, [0, 0.35, 0.5, 0.6, 0.75, 1], atol=0.05)


def test_half_lowered_lids_shut_when_the_driving_eyes_do():
    """What landmarks read on shut lids is a share of the open eye's ratio, not of the half-lowered one's."""
    ratios = 0.35 * np.array([[0.65, 0.65], [0.3, 0.3], [1.0, 1.0]])
    same, shut, wide = blink_from_eye_ratios(ratios, np.full(2, 0.65 * 0.35), np.full(2, 0.35))
    np.testing.assert_allclose(same, 0, atol=1e-6)
    np.testing.assert_allclose(shut, 1, atol=1e-6)
    assert (wide < 0).all()


def test_both_lids_close_together_unless_one_winks():
    shares = np.array([[0.3, 0.6], [0.3, 0.95]])
    blink, wink = blink_from_eye_ratios(0.35 * shares, np.full(2, 0.35))
    np.testing.assert_allclose(blink, [1, 0.8], atol=1e-6)
    np.testing.assert_allclose(wink, [1, 0], atol=1e-6)


def test_a_still_is_relative_to_the_average_face(source):
    smile = measurements(mouth=np.tile([0.1, 0.68, 0.19, -0.2], (FRAMES, 1))).resample(25, 1)
    assert len(smile) == 1 and Rest.of_clip(smile) is not None
    open_, spread, _, _, corners = retarget_motion(smile, source).mouth.values[0]
    assert open_ == pytest.approx(0.1, abs=0.01) and spread > 0.1 and corners > 0.02


def test_a_still_that_drives_a_video_keeps_its_expression():
    """It is repeated for the length of the video and still relative to the average face."""
    grey = np.full((512, 512, 3), 120, np.uint8)
    video = TrackedSource(Footage.from_frames("grey", [grey] * 10, 25.0), (mean_face(),) * 10)
    smiling = {"mouth": np.tile([0.1, 0.68, 0.19, -0.2], (FRAMES, 1)), "eye_ratios": np.full((FRAMES, 2), 0.05)}
    measured = measurements(**smiling, brow_height=np.full((FRAMES, 2), 0.58)).resample(25, 1)
    track = retarget_to(measured, video, 25.0, 10, AnimateOptions(renderer="embedded"))
    assert len(track) == 10
    assert (track.blink == 1).all() and (track.brows > 0.05).all()
    _, spread, _, _, corners = track.mouth.values.T
    assert (spread > 0.1).all() and (corners > 0.02).all()


def test_measurements_can_be_resampled():
    seen = measurements(gaze=np.stack([T, -T], axis=1))
    slow = seen.resample(10, 20)
    np.testing.assert_allclose(slow.gaze[:, 0], np.arange(20) / 10, atol=1e-6)
    assert slow.fps == 10 and len(seen.resample(50, 120)) == 120  # beyond the end the last is held


def test_brows_of_a_track_default_to_none():
    neutral = MotionTrack.neutral(3)
    assert neutral.brows.shape == (3, 2) and not neutral.brows.any()
    raised = dataclasses.replace(neutral, brows=np.full((3, 2), 0.05))
    assert raised.brows.dtype == np.float32
    with pytest.raises(ValueError, match="brows"):
        dataclasses.replace(neutral, brows=np.zeros((2, 2)))


def test_a_head_that_comes_nearer_is_drawn_larger(source):
    size = np.linspace(1, 1.05, FRAMES)
    scale = retarget_motion(measurements(size=size), source).head.scale
    assert scale[0] == pytest.approx(1, abs=0.01) and scale[-1] == pytest.approx(1.05, abs=0.01)
