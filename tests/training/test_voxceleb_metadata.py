"""VoxCeleb's text files, boxes and splits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_videos import text, write_metadata

from liveportrait_talker.errors import MediaError
from liveportrait_talker.training.metadata import (
    crop_rectangle,
    find_videos,
    interpolate_boxes,
    read_utterance,
    split_of,
)
from parity import find


@pytest.fixture(scope="module")
def golden():
    with np.load(find("talker_training.npz"), allow_pickle=False) as file:
        return dict(file)


def place(tmp_path, content, name="00001"):
    write_metadata(tmp_path, {"id1/video": {name: content}})
    return tmp_path / "id1" / "video" / f"{name}.txt"


def test_the_golden_text_file_is_read(golden, tmp_path):
    one = read_utterance(place(tmp_path, str(golden["txt"])))
    assert np.array_equal(np.arange(one.first, one.last + 1), golden["txt.frames"])
    assert np.array_equal(one.boxes, golden["txt.coords"])
    assert (one.speaker, one.video, one.name, one.unit) == ("id1", "video", "00001", "fractions")


def test_golden_interpolation(golden):
    found = interpolate_boxes(golden["txt.coords"], int(golden["interp.total_frames"]))
    np.testing.assert_allclose(found, golden["interp.coords"], rtol=0, atol=1e-15)


@pytest.mark.parametrize("case", ["voxcrop0", "voxcrop1"])
def test_golden_crops(golden, case):
    width, height = map(int, golden[f"{case}.size_wh"])
    for box, rectangle, (h, w) in zip(
        golden["voxcrop.boxes"], golden[f"{case}.rect"], golden[f"{case}.cropped_hw"], strict=True
    ):
        x1, y1, x2, y2 = crop_rectangle(box, width, height)
        assert (y2 - y1, x2 - x1) == (h, w)
        if (h, w) != (height, width):  # else the original recorded the tiny rectangle with the whole frame
            assert (x1, y1, x2, y2) == tuple(rectangle)


def test_the_last_frame_is_kept(tmp_path):
    one = read_utterance(place(tmp_path, text(126, 134)))
    assert (one.start_seconds, one.end_seconds, one.frames) == (126 / 25, 135 / 25, 9)
    assert len(one.boxes) == round((one.end_seconds - one.start_seconds) * 25)


def test_pixel_boxes_of_voxceleb1_become_fractions(tmp_path):
    one = read_utterance(place(tmp_path, text(3, 5, pixels=True)))
    assert one.unit == "pixels"
    np.testing.assert_allclose(one.fractions(1280, 720)[0], [30 / 640, 20 / 360, 40 / 640, 50 / 360])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.replace("000005", "000007", 1), "line 10: frame 7 follows frame 4"),
        (lambda t: t.replace("000004 \t0.3", "000004 \tnan", 1), "line 9"),
        (lambda t: t.replace("000004 \t0.3", "000004 \tx", 1), "line 9: `000004"),
        (lambda t: t.replace("000004 \t0.3 \t", "000004 \t", 1), "line 9: 4 numbers instead of 5"),
        (lambda t: t.replace("000003", "9" * 400, 1), "line 8: `999"),
        (lambda t: t.replace("000003", "9" * 5000, 1), "line 8: `999"),
        (lambda t: t.replace("\t0.4", "\t-0.4", 1), "line 8: a box cannot be"),
        (lambda t: t.replace("\t0.4", "\t144", 1), "mixes"),
        (lambda t: t[: t.index("000003")], "no rows"),
        (lambda t: "", "no line `FRAME X Y W H`"),
    ],
)
def test_an_invalid_line_is_named(tmp_path, change, said):
    with pytest.raises(MediaError, match=r"id1/video/00001\.txt") as caught:
        read_utterance(place(tmp_path, change(text(3, 6))))
    assert said in str(caught.value)


def test_binary_and_missing_files_are_refused(tmp_path):
    path = place(tmp_path, "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MediaError, match="not a text file"):
        read_utterance(path)
    with pytest.raises(MediaError, match="cannot be read"):
        read_utterance(path.with_name("none.txt"))


def test_videos_are_found_sorted_and_other_files_skipped(tmp_path):
    write_metadata(tmp_path, {"b/2": {"x": ""}, "b/1": {"z": "", "y": ""}, "a/9": {"w": ""}})
    (tmp_path / "README").touch()
    (tmp_path / "a" / "stray.txt").touch()
    (tmp_path / "b" / "2" / "face.jpg").touch()
    (tmp_path / "c" / "empty").mkdir(parents=True)
    notes: list[str] = []
    found = [(folder.key, folder.utterances) for folder in find_videos(tmp_path, notes)]
    assert found == [("a/9", ("w",)), ("b/1", ("y", "z")), ("b/2", ("x",))]
    assert len(notes) == 4
    with pytest.raises(MediaError, match="not a folder"):
        list(find_videos(tmp_path / "README", []))


@given(st.integers(1, 40), st.integers(1, 90), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_interpolation_keeps_ends_range_and_lines(n, frames, seed):
    boxes = np.random.default_rng(seed).random((n, 4))
    found = interpolate_boxes(boxes, frames)
    assert found.shape == (frames, 4)
    assert (found.min(0) >= boxes.min(0) - 1e-12).all() and (found.max(0) <= boxes.max(0) + 1e-12).all()
    assert np.array_equal(found[0], boxes[0])
    if frames > 1:
        np.testing.assert_allclose(found[-1], boxes[-1], atol=1e-12)
    np.testing.assert_allclose(interpolate_boxes(boxes, n), boxes, atol=1e-12)


@given(st.lists(st.floats(-0.2, 1.1), min_size=4, max_size=4), st.integers(30, 2000), st.integers(30, 2000))
@settings(deadline=None)
def test_a_crop_is_never_empty(box, width, height):
    x1, y1, x2, y2 = crop_rectangle(np.abs(box) * [1, 1, 1, 1], width, height)
    assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    assert (x1, y1, x2, y2) == (0, 0, width, height) or min(x2 - x1, y2 - y1) > 20


@given(st.text(), st.integers(0, 2**32), st.floats(0, 1))
def test_a_split_depends_on_speaker_and_seed_only(speaker, seed, share):
    found = split_of(speaker, seed, share)
    assert found == split_of(speaker, seed, share) and found in ("train", "val")
    assert split_of(speaker, seed, 0) == "train" and split_of(speaker, seed, 1) == "val"
    if found == "val":  # a larger share only adds speakers
        assert split_of(speaker, seed, min(1, share + 0.1)) == "val"


def test_splits_have_their_share_and_are_stable():
    speakers = [f"id{n:05d}" for n in range(4000)]
    val = [speaker for speaker in speakers if split_of(speaker, 0, 0.1) == "val"]
    assert 330 < len(val) < 470
    assert val[:3] == ["id00017", "id00030", "id00058"]
    assert val != [speaker for speaker in speakers if split_of(speaker, 1, 0.1) == "val"]


def test_a_crop_has_more_than_20_px_a_side():
    assert crop_rectangle(np.array([0.4, 0.4, 0.11, 0.11]), 100, 100) == (34, 34, 56, 56)
    assert crop_rectangle(np.array([0.4, 0.4, 0.10, 0.11]), 100, 100) == (0, 0, 100, 100)


def test_links_that_leave_the_metadata_are_skipped(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    write_metadata(root, {"a/1": {"x": ""}, "a/2": {"y": ""}})
    write_metadata(outside, {"b/3": {"z": ""}})
    (root / "b").symlink_to(outside / "b")
    (root / "a" / "3").symlink_to(outside / "b" / "3")
    (root / "a" / "1" / "z.txt").symlink_to(outside / "b" / "3" / "z.txt")
    (root / "a" / "4").symlink_to(root / "a" / "2")
    (root / "a" / "5").symlink_to(root / "a" / "5")
    notes: list[str] = []
    assert [folder.key for folder in find_videos(root, notes)] == ["a/1", "a/2", "a/4"]
    assert sum("a link that leaves" in note for note in notes) == 3
    (tmp_path / "other").symlink_to(root)
    assert len(list(find_videos(tmp_path / "other", []))) == 3, "the root itself may be a link"
