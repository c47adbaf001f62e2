"""Head and blinks from a reference, on synthetic eyes and poses."""

import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveportrait_talker.driving.reference import (
    ReferenceMotion,
    reference_blinks,
    reference_head,
    track_reference,
)
from liveportrait_talker.face.ratios import eye_ratios
from liveportrait_talker.face.tracked import TrackedFace, TrackedSource
from liveportrait_talker.media import Footage
from liveportrait_talker.render.embedded.model import face_model

OPEN = np.array([0.31, 0.36])  # eyes differ


def eyes(frames: int, blinks: dict[int, list[float]] | None = None, *, waver: float = 0.03) -> np.ndarray:
    """Ratios (frames, 2) of open eyes with a relative standard deviation `waver`, with blinks from the given frames."""
    share = np.clip(np.random.default_rng(3).normal(1, waver, (frames, 2)), 0.85, 1.15)
    for start, shape in (blinks or {}).items():
        share[start : start + len(shape)] = np.array(shape)[:, None]
    return OPEN * share


def blinking(ratios, fps, out_fps, frames, seed=0, *, from_zero=True):
    return reference_blinks(ratios, fps, out_fps, frames, np.random.default_rng(seed), from_zero=from_zero)


def test_open_eyes_stay_open():
    np.testing.assert_array_equal(blinking(eyes(300), 25.0, 25.0, 300), np.zeros((300, 2)))


def test_a_blink_keeps_its_time():
    closure = blinking(eyes(100, {40: [0.6, 0.15, 0.2, 0.5, 0.7]}), 25.0, 25.0, 100)
    assert closure[41].min() >= 0.95
    assert (closure[40:45] > 0).all()
    assert not closure[:40].any() and not closure[45:].any()
    assert closure.min() >= 0 and closure.max() <= 1


def test_a_wink_closes_one_eye():
    ratios = eyes(100)
    ratios[50, 0] = 0.1 * OPEN[0]
    closure = blinking(ratios, 25.0, 25.0, 100)
    assert closure[50, 0] == 1 and not closure[:, 1].any()


@given(st.integers(10, 260), st.sampled_from([12.5, 24.0, 25.0, 29.97, 30.0, 50.0, 60.0, 120.0]))
def test_a_short_blink_is_kept_at_any_frame_rate(start, fps):
    """100 ms at 60 fps, shut for a single frame."""
    ratios = eyes(300, {start: [0.7, 0.4, 0.1, 0.3, 0.5, 0.7]})
    closure = blinking(ratios, 60.0, fps, int(5 * fps))
    assert closure.max(axis=0).min() >= 0.95
    shut = np.flatnonzero(closure[:, 0] >= 0.95) / fps
    assert np.abs(shut - (start + 2) / 60).max() <= max(0.5 / fps, 1 / 60) + 0.02
    assert (closure[:, 0] > 0).sum() / fps <= 0.1 + 2 / fps


def test_a_short_reference_plays_forth_and_back():
    closure = blinking(eyes(50, {20: [0.1]}), 25.0, 25.0, 150)
    assert np.flatnonzero(closure[:, 0] == 1).tolist()[:2] == [20, 78]


def test_a_long_reference_starts_at_a_random_frame():
    ratios = eyes(1000, {k: [0.1] for k in range(5, 1000, 37)})
    takes = [blinking(ratios, 25.0, 25.0, 100, seed, from_zero=False) for seed in (0, 1, 0)]
    assert not np.array_equal(takes[0], takes[1])
    np.testing.assert_array_equal(takes[0], takes[2])
    np.testing.assert_array_equal(blinking(ratios, 25.0, 25.0, 100, 7), blinking(ratios, 25.0, 25.0, 1000)[:100])


@pytest.mark.parametrize("fps", [25.0, 30.0])
@pytest.mark.parametrize("seed", range(4))
def test_head_and_lids_of_one_video_stay_in_step(fps, seed):
    """The head turns in the frames in which the eyes are shut."""
    shut = np.repeat(np.random.default_rng(5).random(200) < 0.3, 10)
    ratios = np.where(shut[:, None], 0.1, 1.0) * OPEN
    poses = np.zeros((2000, 3))
    poses[shut, 1] = 5.0
    rng = np.random.default_rng(seed)
    turns = reference_head(poses, 25.0, np.zeros((200, 3)), fps, rng, from_zero=False)[:, 1]
    closure = blinking(ratios, 25.0, fps, 200, seed, from_zero=False)[:, 0]
    assert np.corrcoef(turns, closure)[0, 1] > 0.9


def test_a_still_reference_does_not_blink(caplog):
    np.testing.assert_array_equal(blinking(eyes(1), None, 25.0, 40), np.zeros((40, 2)))
    assert "picture" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("eye_ratios", np.zeros((3, 2))), ("rotation_deg", np.zeros((4, 2)))])
def test_wrong_arrays_are_named(name, value):
    parts = {"rotation_deg": np.zeros((4, 3)), "eye_ratios": np.zeros((4, 2)), "fps": 25.0} | {name: value}
    with pytest.raises(ValueError, match=r"ReferenceMotion\."):
        ReferenceMotion(**parts)


def test_a_video_is_tracked_once(monkeypatch, tmp_path):
    from liveportrait_talker.driving import reference

    path = tmp_path / "clip.mp4"
    path.write_bytes(b"a video")
    footage = Footage.from_frames("clip", [np.zeros((8, 8, 3), np.uint8)] * 2, 25.0)
    face = TrackedFace(face_model().mean_face * (1, -1, -1) * 100 + 300)
    tracked = []

    def follow(footage, *, warn_covered_mouth, on_frame=None):
        tracked.append(footage)
        return TrackedSource(footage, (face, face))

    monkeypatch.setenv("LPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reference, "open_footage", lambda path, **_: footage)
    monkeypatch.setattr(reference, "track", follow)
    first, again = track_reference(path), track_reference(path)
    assert len(tracked) == 1
    for motion in (first, again):
        assert motion.fps == 25.0
        np.testing.assert_array_equal(motion.eye_ratios, [eye_ratios(face.landmarks)] * 2)
        np.testing.assert_array_equal(motion.rotation_deg, [face.rotation_deg] * 2)


# ------------------------------------------------------------------ the head
def nodding(seconds: float, fps: float, hertz: float = 0.5) -> np.ndarray:
    """(N, 3) poses that turn by ±4° about yaw."""
    poses = np.zeros((round(seconds * fps), 3))
    poses[:, 1] = 4 * np.sin(2 * np.pi * hertz * np.arange(len(poses)) / fps)
    return poses


def heads(poses, fps, frames, *, out_fps=25.0, source=(0.0, 0.0, 0.0), from_zero=True, seed=0):
    own = np.tile(np.asarray(source, float), (frames, 1))
    return reference_head(poses, fps, own, out_fps, np.random.default_rng(seed), from_zero=from_zero)


@pytest.mark.parametrize("from_zero", [True, False])
@pytest.mark.parametrize("frames", [1, 2, 39, 40, 41, 80, 200])
def test_a_reference_of_any_length_moves_the_whole_clip(frames, from_zero):
    """docs/earlier_systems.md, defects 33 and 34; the reference has forty frames."""
    turns = heads(nodding(1.6, 25.0), 25.0, frames, from_zero=from_zero)
    assert turns.shape == (frames, 3) and np.isfinite(turns).all()
    if frames >= 80:
        assert np.ptp(turns[40:80, 1]) > 1, "it keeps moving"


@pytest.mark.parametrize("fps", [12.5, 25.0, 50.0, 60.0])
@pytest.mark.parametrize("out_fps", [25.0, 30.0])
def test_a_head_keeps_its_time_at_any_frame_rate(fps, out_fps):
    """docs/earlier_systems.md, defect 39."""
    frames = round(4 * out_fps)
    turns = heads(nodding(6.0, fps), fps, frames, out_fps=out_fps)
    wanted = 4 * np.sin(2 * np.pi * 0.5 * np.arange(frames) / out_fps)
    eased = round(0.4 * out_fps)
    np.testing.assert_allclose(turns[eased:, 1], wanted[eased:], atol=0.6)


@pytest.mark.parametrize("source", [(0.0, 0.0, 0.0), (-6.0, 12.0, 3.0)])
def test_a_head_turns_about_the_sources_own_pose(source):
    """The median pose of the reference has no effect (docs/earlier_systems.md, defect 38)."""
    poses = nodding(6.0, 25.0)
    turns = heads(poses, 25.0, 150, source=source)
    np.testing.assert_allclose(turns, heads(poses + np.array([10.0, -25.0, 5.0]), 25.0, 150, source=source), atol=1e-9)
    np.testing.assert_allclose(turns, heads(poses, 25.0, 150), atol=1e-9)
    assert np.abs(turns.mean(axis=0)).max() < 0.5 and np.abs(turns).max() < 4.5


@pytest.mark.parametrize("fps", [12.5, 25.0, 60.0])
def test_a_head_starts_from_the_sources_own_pose(fps):
    """The motion of the reference is eased in (docs/earlier_systems.md, defect 38)."""
    poses = np.roll(nodding(6.0, 25.0), -12, axis=0)  # starts 4° from its median
    turns = heads(poses, 25.0, round(4 * fps), out_fps=fps, source=(3.0, -5.0, 1.0))
    assert not turns[0].any()
    assert np.abs(np.diff(turns, axis=0)).max() * fps < 30  # degrees a second


def test_a_head_that_starts_near_the_sources_pose_follows_at_once():
    poses = np.roll(nodding(6.0, 25.0), -2, axis=0)  # starts 1° from its median
    turns = heads(poses, 25.0, 150)
    np.testing.assert_allclose(turns[3:100], poses[3:100], atol=0.1)


# ------------------------------------------------------------------ the cache
@pytest.fixture
def tracked(monkeypatch, tmp_path):
    """Replace files and tracker; return a list with one entry per tracked reference."""
    from liveportrait_talker.driving import reference

    footage = Footage.from_frames("clip", [np.zeros((8, 8, 3), np.uint8)] * 2, 25.0)
    face = TrackedFace(face_model().mean_face * (1, -1, -1) * 100 + 300)
    times = []

    def follow(footage, *, warn_covered_mouth, on_frame=None):
        times.append(footage)
        return TrackedSource(footage, (face, face))

    monkeypatch.setenv("LPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reference, "open_footage", lambda path, **_: footage)
    monkeypatch.setattr(reference, "track", follow)
    return times


def test_poses_are_cached_by_the_content_of_the_file(tracked, tmp_path):
    """Not by its name (docs/earlier_systems.md, defect 36)."""
    (tmp_path / "other").mkdir()
    for name, content, count in (
        ("a.b.mp4", b"one", 1),
        ("a.c.mp4", b"two", 2),
        ("other/a.b.mp4", b"three", 3),
        ("a.b.mp4", b"changed", 4),
        ("renamed.mov", b"two", 4),
    ):
        (tmp_path / name).write_bytes(content)
        track_reference(tmp_path / name)
        assert len(tracked) == count, name


class MakesFolder:
    """Creates a folder when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_pickle_in_the_cache_is_not_executed(tracked, tmp_path):
    path, mark = tmp_path / "clip.mp4", tmp_path / "pwned"
    path.write_bytes(b"a video")
    motion = track_reference(path)
    (kept,) = (tmp_path / "cache" / "poses").iterdir()
    with kept.open("wb") as file:
        np.savez(file, rotation_deg=np.array([MakesFolder(mark)]), eye_ratios=np.zeros((2, 2)), fps=25.0)
    np.testing.assert_array_equal(track_reference(path).rotation_deg, motion.rotation_deg)
    assert not mark.exists() and len(tracked) == 2
    kept.write_bytes(pickle.dumps(MakesFolder(mark)))
    track_reference(path)
    assert not mark.exists() and len(tracked) == 3


def test_a_cache_that_others_can_write_is_neither_read_nor_written(tracked, tmp_path, caplog):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"a video")
    track_reference(path)
    folder = tmp_path / "cache" / "poses"
    (kept,) = folder.iterdir()
    before = kept.read_bytes()
    folder.chmod(0o777)
    track_reference(path)
    assert len(tracked) == 2 and [file.read_bytes() for file in folder.iterdir()] == [before]
    assert "other users can write it" in caplog.text
