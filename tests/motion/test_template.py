"""Motion templates: files are read back unchanged, and damaged or hostile ones are refused in one sentence."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.errors import MediaError
from liveportrait_talker.motion import template as module
from liveportrait_talker.motion.archive import ArchiveKind
from liveportrait_talker.motion.face_measurements import MEASUREMENT_SHAPES, FaceMeasurements
from liveportrait_talker.motion.template import SHAPES, MotionTemplate, Template, load_template, save_template


def arrays_of(frames: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = {name: rng.normal(size=(frames, *shape)).astype(np.float32) for name, shape in SHAPES.items()}
    return made | {"scale": np.full((frames, 1), 1.3, np.float32)}


def header_of(**changes) -> np.ndarray:
    header = {"format": module.FORMAT, "version": 2, "parts": ["networks"], "fps": 25.0, "frames": 2} | changes
    return np.frombuffer(json.dumps(header).encode(), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("templates")


def measurements_of(frames: int, fps: float = 29.97) -> FaceMeasurements:
    rng = np.random.default_rng(1)
    return FaceMeasurements(
        fps, **{name: rng.normal(size=(frames, *shape)) for name, shape in MEASUREMENT_SHAPES.items()}
    )


def assert_same(a, b, names) -> None:
    assert (a is None) == (b is None)
    if a is not None and b is not None:
        assert a.fps == b.fps and len(a) == len(b)
        for name in names:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("frames", [1, 7])
@pytest.mark.parametrize("parts", ["networks", "landmarks", "both"])
def test_a_saved_template_is_read_back(folder, frames, parts):
    networks = None if parts == "landmarks" else MotionTemplate(fps=29.97, **arrays_of(frames))
    landmarks = None if parts == "networks" else measurements_of(frames)
    path = folder / "wave.npz"
    save_template(Template(networks, landmarks), path)
    back = load_template(path)
    assert back.fps == 29.97 and len(back) == frames
    assert_same(back.networks, networks, SHAPES)
    assert_same(back.landmarks, landmarks, MEASUREMENT_SHAPES)
    assert networks is None or f"MotionTemplate(T={frames}, fps=29.97)" in repr(back)
    assert not list(folder.glob(".*"))
    with np.load(path, allow_pickle=False) as file:
        wanted = set() if networks is None else set(SHAPES)
        wanted |= set() if landmarks is None else {f"landmarks_{name}" for name in MEASUREMENT_SHAPES}
        assert set(file.files) == {"header", *wanted}


def test_parts_must_match():
    for parts, message in (
        ((None, None), "at least one part"),
        ((MotionTemplate(29.97, **arrays_of(3)), measurements_of(2)), "the same frames"),
        ((MotionTemplate(25.0, **arrays_of(2)), measurements_of(2)), "the same frames"),
    ):
        with pytest.raises(ValueError, match=message):
            Template(*parts)
    good = {name: np.zeros((2, *shape)) for name, shape in MEASUREMENT_SHAPES.items()}
    for changes, message in (
        ({"mouth": np.zeros((2, 5))}, "mouth must be"),
        ({"gaze": np.full((2, 2), np.nan)}, "gaze holds values"),
        ({"fps": 0}, "frame rate"),
    ):
        with pytest.raises(ValueError, match=message):
            FaceMeasurements(**({"fps": 25.0} | good | changes))


def test_a_template_of_the_first_version_is_read(folder):
    path = folder / "first.npz"
    write(path, arrays_of(2), version=1)
    back = load_template(path)
    assert back.landmarks is None and back.networks is not None and len(back) == 2
    for parts in ([], ["voice"], "networks", None):
        write(path, arrays_of(2), parts=parts)
        assert_refused(path, "lacks the list of parts")


def test_a_template_validates_its_arrays():
    good = arrays_of(3)
    for changes, message in (
        ({"rotation": np.zeros((3, 3))}, r"rotation must be \(3, 3, 3\), got \(3, 3\)"),
        ({"lip_ratio": np.zeros((2, 1))}, r"lip_ratio must be \(3, 1\)"),
        ({"expression": np.full((3, 21, 3), np.nan)}, "expression holds values that are not finite"),
        ({"scale": np.zeros((3, 1))}, "scale must be above 0"),
        ({"scale": np.ones((0, 1))}, "1 to 200000 frames, got 0"),
        ({"fps": 0.0}, "frame rate"),
        ({"fps": float("nan")}, "frame rate"),
    ):
        with pytest.raises(ValueError, match=message):
            MotionTemplate(**({"fps": 25.0} | good | changes))
    with pytest.raises(ValueError, match="read-only"):
        MotionTemplate(25.0, **good).scale[0] = 2


def assert_refused(path, message: str) -> None:
    with pytest.raises(MediaError, match=message) as caught:
        load_template(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and text.endswith(".")


def write(path, arrays, **header) -> None:
    with path.open("wb") as file:
        np.savez(file, header=header_of(**header), **arrays)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": "song"}, "not a motion template of this program"),
        ({"version": 3}, "version 3, made by a newer release"),
        ({"version": 0}, "version"),
        ({"version": "1"}, "version"),
        ({"frames": 0}, "states 0 frames"),
        ({"frames": 10**12}, "states 1000000000000 frames: 1 to 200000"),
        ({"frames": -2}, "states -2 frames"),
        ({"frames": 2.0}, "lacks the number of frames"),
        ({"frames": 3}, r"scale must be float32 \(3, 1\), got float32 \(2, 1\)"),
        ({"fps": "25"}, "or the frame rate"),
        ({"fps": 10**400}, "cannot read|frame rate"),
        ({"fps": 0}, "frame rate"),
        ({"fps": float("nan")}, "frame rate"),
    ],
)
def test_wrong_headers_are_named(folder, header, message):
    path = folder / "header.npz"
    write(path, arrays_of(2), **header)
    assert_refused(path, message)


def test_wrong_arrays_are_named(folder):
    path, good = folder / "arrays.npz", arrays_of(2)
    for changes, message in (
        ({"rotation": None}, "it has no rotation"),
        ({"rotation": good["rotation"].astype(np.float64)}, "rotation must be float32"),
        ({"rotation": good["rotation"].astype(">f4")}, "rotation must be float32"),
        ({"points": np.asfortranarray(good["points"])}, "points must be float32"),
        ({"points": np.full((2, 21, 3), np.inf, np.float32)}, "not finite"),
        ({"expression": np.array([[None]], dtype=object)}, r"expression must be float32 \(2, 21, 3\), got object"),
        ({"scale": -good["scale"]}, "scale must be above 0"),
    ):
        write(path, {name: value for name, value in (good | changes).items() if value is not None})
        assert_refused(path, message)


def forged(path, entries: dict[str, bytes], **options) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def npy(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    """A .npy file whose header may state another shape."""
    out = io.BytesIO()
    stated = {"descr": array.dtype.str, "fortran_order": False, "shape": shape or array.shape}
    np.lib.format.write_array_header_1_0(out, stated)
    return out.getvalue() + array.tobytes()


def test_forged_archives_are_refused(folder):
    path = folder / "forged.npz"
    good = {f"{name}.npy": npy(array) for name, array in arrays_of(2).items()}
    header = {"header.npy": npy(header_of())}
    forged(path, header | good)
    assert len(load_template(path)) == 2
    forged(path, {"header.npy": npy(header_of()[:-1])} | good)
    assert_refused(path, "cannot read")
    forged(path, {"header.npy": npy(np.frombuffer(b"[" * 4000, np.uint8))} | good)
    assert_refused(path, "cannot read")
    forged(path, {"header.npy": npy(np.zeros(5000, np.uint8))} | good)
    assert_refused(path, "header must be uint8 with one axis")
    forged(path, {"header.npy": npy(header_of(), shape=(-1,))} | good)
    assert_refused(path, "header must be uint8 with one axis")
    forged(path, header | good | {"scale.npy": good["scale.npy"][:-1]})
    assert_refused(path, "scale is truncated")
    forged(path, header | good | {"scale.npy": b"\x93NUMPY\x02\x00" + good["scale.npy"][8:]})
    assert_refused(path, "stored in an unknown format")
    forged(path, header | good | {"scale.npy": b"no"})
    assert_refused(path, "cannot read")
    # A compressed entry that is much larger than the array: only the bytes of the array are unpacked.
    forged(path, header | good | {"scale.npy": bytes(50_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert_refused(path, "cannot read")
    forged(path, {f"{i}.npy": b"" for i in range(3000)})  # a directory longer than any template's
    assert_refused(path, "not a motion template of this program")
    path.write_bytes(b"PK\x06\x07" + bytes(16) + b"PK\x05\x06" + bytes(18))
    assert_refused(path, "not a motion template of this program")


def test_other_files_are_refused(folder, monkeypatch):
    assert_refused(folder / "nowhere.npz", "there is no motion template")
    assert_refused(folder, "there is no motion template")
    path = folder / "other.npz"
    for content in (b"", b"hello", bytes(1000), b"\x80\x04K\x01."):
        path.write_bytes(content)
        assert_refused(path, "not a motion template of this program")
    np.savez(path, x=np.zeros(3))
    assert_refused(path, "not a motion template of this program")
    write(path, arrays_of(2))
    monkeypatch.setattr(ArchiveKind, "max_bytes", 1000)
    assert_refused(path, "too large for a motion template")


def test_an_unwritable_path_is_named(folder):
    with pytest.raises(MediaError, match="cannot write the motion template"):
        save_template(Template(MotionTemplate(25.0, **arrays_of(1)), None), folder / "nowhere" / "t.npz")


@pytest.fixture(scope="module")
def whole(folder):
    save_template(Template(MotionTemplate(25.0, **arrays_of(2)), measurements_of(2, 25.0)), folder / "whole.npz")
    return (folder / "whole.npz").read_bytes()


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_files_are_read_or_refused(folder, whole, data):
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))
    path = folder / "damaged.npz"
    path.write_bytes(damaged[:cut])
    try:
        load_template(path)
    except MediaError as error:
        assert "\n" not in str(error)
