"""Portable motion: files, mixing, and other portraits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.errors import MediaError
from liveportrait_talker.motion import HeadTrack, LipKeypoints, MotionTrack, MouthControls
from liveportrait_talker.motion.portable import PortableMotion

OTHERS = ("fps", "head", "mouth", "continues")
ARRAYS = [field.name for field in dataclasses.fields(MotionTrack) if field.name not in OTHERS]
"""All channels of the face that a motion track has: a new one must be stored and mixed as well."""


def motion_of(frames: int, seed: int = 0, fps: float = 25.0, keypoints: bool = False) -> PortableMotion:
    rng = np.random.default_rng(seed)
    mouth = LipKeypoints(rng.normal(size=(frames, 6, 3))) if keypoints else MouthControls(rng.normal(size=(frames, 5)))
    head = HeadTrack(rng.normal(size=(frames, 3)), rng.normal(size=(frames, 2)), rng.uniform(0.9, 1.1, frames))
    shapes = {name: getattr(MotionTrack.neutral(frames), name).shape for name in ARRAYS}
    face = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    return PortableMotion(MotionTrack(fps=fps, head=head, mouth=mouth, **face))


def lips_of(motion: PortableMotion) -> np.ndarray:
    mouth = motion.track.mouth
    return mouth.offsets if isinstance(mouth, LipKeypoints) else mouth.values


def assert_same(one: PortableMotion, two: PortableMotion) -> None:
    assert one.track.fps == two.track.fps and type(one.track.mouth) is type(two.track.mouth)
    for name in ("rotation_deg", "shift", "scale"):
        np.testing.assert_array_equal(getattr(one.track.head, name), getattr(two.track.head, name))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one.track, name), getattr(two.track, name))
    np.testing.assert_array_equal(lips_of(one), lips_of(two))


@pytest.mark.parametrize("keypoints", [False, True])
def test_a_file_is_read_back(tmp_path, keypoints):
    motion = motion_of(7, fps=29.97, keypoints=keypoints)
    motion.save(tmp_path / "motion.npz")
    assert_same(PortableMotion.load(tmp_path / "motion.npz"), motion)
    assert [path.name for path in tmp_path.iterdir()] == ["motion.npz"]


def test_other_files_are_refused(tmp_path):
    for name, content in (("text.npz", b"hello"), ("empty.npz", b"")):
        (tmp_path / name).write_bytes(content)
    np.savez(tmp_path / "arrays.npz", x=np.zeros(3))
    for name in ("text.npz", "empty.npz", "arrays.npz", "missing.npz"):
        with pytest.raises(MediaError, match=r"motion file") as caught:
            PortableMotion.load(tmp_path / name)
        assert "\n" not in str(caught.value)


@given(st.data())
def test_damaged_files_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "motion.npz"
    motion_of(2).save(path)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))])
    try:
        PortableMotion.load(path)
    except MediaError as error:
        assert "\n" not in str(error)


def test_no_motion_is_refused():
    with pytest.raises(ValueError, match="at least one frame"):
        PortableMotion(MotionTrack.neutral(0))


def test_shares_of_a_mix():
    one, two = motion_of(9), motion_of(9, seed=1)
    assert_same(one.mixed(two, head=0, eyes=0, mouth=0), one)
    assert_same(one.mixed(two, head=1, eyes=1, mouth=1), two)
    mixed = one.mixed(two, head=0.25, eyes=0, mouth=1)
    expected = 0.75 * one.track.head.rotation_deg + 0.25 * two.track.head.rotation_deg
    np.testing.assert_allclose(mixed.track.head.rotation_deg, expected, atol=1e-6)
    np.testing.assert_array_equal(mixed.track.blink, one.track.blink)
    np.testing.assert_array_equal(lips_of(mixed), lips_of(two))


def test_a_mix_is_as_long_as_the_first():
    mixed = motion_of(10, fps=25).mixed(motion_of(3, seed=1, fps=30))
    assert (len(mixed), mixed.track.fps) == (10, 25)


def test_a_mix_of_both_types_of_mouths():
    shut = np.zeros((4, 5))
    opened = PortableMotion(MotionTrack.neutral(4))
    keypoints = motion_of(4, keypoints=True)
    mixed = keypoints.mixed(opened, head=1, eyes=1, mouth=1)
    assert isinstance(mixed.track.mouth, MouthControls)
    np.testing.assert_array_equal(lips_of(mixed), shut)


def test_resampling_keeps_time():
    ramp = MotionTrack.neutral(51, fps=25)
    ramp = MotionTrack(
        fps=25,
        head=HeadTrack.turning(np.linspace(0, 50, 51)[:, None].repeat(3, 1)),
        blink=ramp.blink,
        gaze=ramp.gaze,
        mouth=ramp.mouth,
    )
    slower = PortableMotion(ramp).resampled(25, 12.5)
    np.testing.assert_allclose(slower.track.head.rotation_deg[1:-1, 0], np.arange(0, 50, 2)[1:-1], atol=1e-4)
    held = PortableMotion(ramp).resampled(60, 25)
    np.testing.assert_array_equal(held.track.head.rotation_deg[51:], np.full((9, 3), 50))
