"""Records with stamps, and arrays made from them."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("safetensors")

from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from toy_records import STAMP, make_dataset

from liveportrait_talker.errors import MediaError
from liveportrait_talker.training import records
from liveportrait_talker.training.arrays import open_arrays
from liveportrait_talker.training.options import Split
from liveportrait_talker.training.records import (
    KIND,
    Stamp,
    find_stamp_difference,
    read_header,
    read_record,
    write_record,
)

SPLIT = Split(val_share=0.3)


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path)


def test_a_record_round_trips_to_the_same_bytes(dataset):
    path = dataset / "records" / "id00001" / "video0.safetensors"
    record, before = read_record(path), path.read_bytes()
    assert (record.speaker, record.video, len(record.seen)) == ("id00001", "video0", 105)
    write_record(record, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_a_different_stamp_is_described(dataset):
    path = dataset / "records" / "id00001" / "video0.safetensors"
    assert find_stamp_difference(path, STAMP) == ""
    other = dataclasses.replace(STAMP, motion_extractor="c" * 64)
    assert (
        find_stamp_difference(path, other)
        == f"{path} was made by other extractors: its motion_extractor is {'b' * 16}, not {'c' * 16}"
    )


def test_another_format_is_refused(dataset, monkeypatch):
    path = dataset / "records" / "id00001" / "video0.safetensors"
    monkeypatch.setattr(records, "FORMAT", "2")
    with pytest.raises(MediaError, match="format 1, not 2"):
        read_header(path)


@pytest.mark.parametrize("content", [b"", b"not a record", b"\x08\0\0\0\0\0\0\0{}      "])
def test_other_files_are_not_records(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(MediaError, match="not a record"):
        read_header(path)


def test_arrays_hold_every_frame_and_split_by_speaker(dataset):
    arrays = open_arrays(dataset, SPLIT)
    assert not arrays["train"].speakers & arrays["val"].speakers
    assert arrays["train"].speakers | arrays["val"].speakers == {f"id{k:05d}" for k in range(6)}
    assert sum(len(side) for side in arrays.values()) == 6 * 2 * 105
    for side in arrays.values():
        for key, first, frames in zip(side.keys, side.first, side.frames, strict=True):
            speaker, video, name = key.split("/")
            record = read_record(dataset / "records" / speaker / f"{video}.safetensors")
            (span,) = (s for s in record.utterances if s.name == name)
            assert frames == span.frames
            wanted = record.expression[span.first : span.first + span.frames]
            assert (side.expression[first : first + frames] == wanted).all()


def test_arrays_are_made_once_and_again_when_records_change(dataset):
    made = lambda: (dataset / "arrays" / "val" / "expression.npy").stat().st_mtime_ns  # noqa: E731
    open_arrays(dataset, SPLIT)
    first = made()
    open_arrays(dataset, SPLIT)
    assert made() == first
    path = dataset / "records" / "id00000" / "video0.safetensors"
    record = read_record(path)
    write_record(dataclasses.replace(record, seen=~record.seen), path)
    again = open_arrays(dataset, SPLIT)
    assert made() != first
    assert sum(int((~side.seen).sum()) for side in again.values()) == 105


def test_records_of_different_extractors_do_not_mix(dataset):
    other = Stamp("a" * 64, "d" * 64, "tracker 1")
    path = dataset / "records" / "id00003" / "video1.safetensors"
    write_record(dataclasses.replace(read_record(path), stamp=other), path)
    with pytest.raises(MediaError, match=r"id00003/video1.*motion_extractor"):
        open_arrays(dataset, SPLIT)


def test_a_split_without_speakers_is_refused(tmp_path):
    with pytest.raises(MediaError, match="in the val split"):
        open_arrays(make_dataset(tmp_path, speakers=1), Split(val_share=0.001))
    with pytest.raises(MediaError, match="has no records"):
        open_arrays(tmp_path / "empty", SPLIT)


def test_incomplete_arrays_are_not_used(dataset):
    open_arrays(dataset, SPLIT)
    about = dataset / "arrays" / "train" / "about.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"fingerprint": "killed"}))
    (dataset / "arrays" / "train" / "expression.npy").write_bytes(b"")
    assert len(open_arrays(dataset, SPLIT)["train"].expression) > 0


@given(st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_unseen_frames_are_interpolated(seed):
    from liveportrait_talker.training.extractor import _interpolate_missing

    rng = np.random.default_rng(seed)
    frames = int(rng.integers(2, 30))
    at = np.sort(rng.choice(frames, size=int(rng.integers(1, frames + 1)), replace=False))
    values = rng.normal(size=(len(at), 2, 3)).astype(np.float32)
    laid = _interpolate_missing({"x": values}, at, frames)
    assert laid["x"].shape == (frames, 2, 3) and laid["x"].dtype == np.float32
    np.testing.assert_allclose(laid["x"][at], values, rtol=1e-6)
    assert (np.flatnonzero(laid["seen"]) == at).all()
    assert laid["x"].min() >= values.min() and laid["x"].max() <= values.max()


def test_records_behind_links_are_refused(dataset, tmp_path):
    moved = next((dataset / "records").iterdir())
    moved.rename(tmp_path / "outside")
    moved.symlink_to(tmp_path / "outside")
    with pytest.raises(MediaError, match="is behind a link that leaves"):
        open_arrays(dataset, Split(val_share=0.3))


def test_hostile_headers_are_refused(dataset):
    path = next((dataset / "records").rglob("*.safetensors"))
    arrays = load_file(path)
    about = {"speaker": "a", "video": "b", "utterances": [["x", 0, 105]], "stamp": {}}
    for text in (
        "[" * 100_000,
        "[]",
        "9" * 5000,
        json.dumps(about | {"stamp": []}),
        json.dumps(about | {"utterances": 5}),
    ):
        save_file(arrays, path, metadata={KIND: text})
        with pytest.raises(MediaError, match=r"is (not )?a record of"):
            read_header(path)
    with safe_open(path, framework="numpy") as file:
        assert KIND in file.metadata()


def test_arrays_of_another_type_are_refused(dataset):
    path = next((dataset / "records").rglob("*.safetensors"))
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    arrays = load_file(path)
    save_file(arrays | {"angle_translation": arrays["angle_translation"].astype(np.float64)}, path, metadata=metadata)
    with pytest.raises(MediaError, match="is damaged"):
        read_record(path)
