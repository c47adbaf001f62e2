"""Released templates are pickles: they are read, and nothing in them is executed."""

from __future__ import annotations

import builtins
import copyreg
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveportrait_talker.errors import MediaError
from liveportrait_talker.motion import released_template as module
from liveportrait_talker.motion import restricted_pickle as unpickler
from liveportrait_talker.motion.released_template import read_released_template
from liveportrait_talker.motion.restricted_pickle import unpickle_arrays
from liveportrait_talker.motion.template import MotionTemplate, Template, load_template, save_template

PROTOCOLS = (2, 3, 4, 5)


def released(frames: int = 3, *, old: bool = False, kind: str = "<f4") -> dict:
    """A template as LivePortrait writes it."""
    rng = np.random.default_rng(frames)

    def numbers(*shape):
        return rng.uniform(0.1, 1, shape).astype(kind)

    motion = [
        {
            "scale": numbers(1, 1),
            "R_d" if old else "R": numbers(1, 3, 3),
            "exp": numbers(1, 21, 3),
            "t": numbers(1, 3),
            "kp": numbers(1, 21, 3),
            "x_s": numbers(1, 21, 3),
        }
        for _ in range(frames)
    ]
    eyes, lips = ("c_d_eyes_lst", "c_d_lip_lst") if old else ("c_eyes_lst", "c_lip_lst")
    return {
        "n_frames": frames,
        "output_fps": 25,
        "motion": motion,
        eyes: [numbers(1, 2) for _ in range(frames)],
        lips: [numbers(1, 1) for _ in range(frames)],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("released")


def read(folder, content: bytes) -> MotionTemplate:
    path = folder / "template.pkl"
    path.write_bytes(content)
    return read_released_template(path)


def assert_refused(folder, content: bytes, message: str) -> None:
    with pytest.raises(MediaError, match=message) as caught:
        read(folder, content)
    text = str(caught.value)
    assert "template.pkl" in text and "\n" not in text and text.endswith(".") and len(text) < 500


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("old", [False, True])
def test_templates_of_every_protocol(folder, protocol, old):
    given_ = released(5, old=old)
    template = read(folder, pickle.dumps(given_, protocol=protocol))
    assert len(template) == 5 and template.fps == 25.0
    frames = given_["motion"]
    for field, name in (("scale", "scale"), ("expression", "exp"), ("translation", "t"), ("keypoints", "kp")):
        np.testing.assert_array_equal(getattr(template, field), np.concatenate([f[name] for f in frames]))
    np.testing.assert_array_equal(template.points, np.concatenate([f["x_s"] for f in frames]))
    np.testing.assert_array_equal(template.rotation, np.concatenate([f["R_d" if old else "R"] for f in frames]))
    lists = ("c_d_eyes_lst", "c_d_lip_lst") if old else ("c_eyes_lst", "c_lip_lst")
    np.testing.assert_array_equal(template.eye_ratios, np.concatenate(given_[lists[0]]))
    np.testing.assert_array_equal(template.lip_ratio, np.concatenate(given_[lists[1]]))
    save_template(Template(template, None), folder / "mine.npz")
    kept = load_template(folder / "mine.npz").networks
    assert kept is not None
    np.testing.assert_array_equal(kept.rotation, template.rotation)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_other_dtypes_layouts_and_scalars(folder, protocol):
    """Other float types, byte orders, layouts, NumPy scalars and unused entries."""
    for kind in ("<f8", ">f4", "<f2"):
        given_ = released(2, kind=kind)
        template = read(folder, pickle.dumps(given_, protocol=protocol))
        np.testing.assert_array_equal(template.points[1], given_["motion"][1]["x_s"][0].astype(np.float32))
    given_ = released(2)
    turned = given_["motion"][0]["R"]
    given_["motion"][0]["R"] = np.asfortranarray(turned[0])
    given_["motion"][1]["kp"] = np.zeros((1, 42, 3), np.float32)[:, ::2]
    given_["output_fps"] = np.float64(29.97)
    given_["note"] = [None, True, 300, 70_000, -1, 2**40, 0.5, "é", b"raw" * 100, (1, (2,)), np.int64(3), np.True_]
    template = read(folder, pickle.dumps(given_, protocol=protocol))
    np.testing.assert_array_equal(template.rotation[0], turned[0])
    assert template.fps == 29.97


def test_other_pickler_versions(folder):
    """Names of NumPy 2, no frame, the Python pickler, several batches."""
    content = pickle.dumps(released(3), protocol=4)
    longer = content.replace(b"\x8c\x15numpy.core.multiarray", b"\x8c\x16numpy._core.multiarray")
    unframed = longer[:2] + longer[11:] if longer[2:3] == b"\x95" else longer
    assert len(read(folder, unframed)) == 3
    python = pickle._dumps(released(3), protocol=4)
    assert len(read(folder, python)) == 3
    assert len(read(folder, pickle.dumps(released(1200), protocol=2))) == 1200  # more than one batch


class Call:
    """Pickles as a call of the given function."""

    def __init__(self, *what):
        self.what = what

    def __reduce__(self):
        return self.what[0], tuple(self.what[1:])


class Plain:
    pass


class Slotted:
    __slots__ = ("x",)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_executed(folder, protocol):
    canary = folder / "canary"
    touch = f"touch {canary}"
    system = f"{os.system.__module__}.system"
    opened = Call(builtins.open, str(canary), "w")
    evil = {
        "os": (Call(os.system, touch), system),
        "eval": (Call(builtins.eval, f"open({str(canary)!r}, 'w')"), r"(__builtin__|builtins).eval"),
        "exec": (Call(builtins.exec, f"open({str(canary)!r}, 'w')"), r"(__builtin__|builtins).exec"),
        "open": (opened, "open, which no array needs"),
        "getattr": (Call(getattr, Call(__import__, "os"), "system"), "getattr"),
        "nested": (Call(os.system, Call(os.system, touch)), system),
        "load": (Call(np.load, str(canary)), "numpy"),
        "class": (Plain(), "Plain|copyreg|NEWOBJ|object"),
        "slots": (Slotted(), "Slotted|copyreg|NEWOBJ|object"),
        "set": ({1, 2}, "set|EMPTY_SET"),
        "complex": (1j, "complex"),
    }
    for thing, message in evil.values():
        for content in (thing, released(1) | {"motion": thing}, [thing], {"x": (thing,)}):
            assert_refused(folder, pickle.dumps(content, protocol=protocol), message)
    assert not canary.exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_other_than_plain_numbers_are_refused(folder, protocol):
    for array in (
        np.array([Call(os.system, "false")], dtype=object),
        np.array([None], dtype=object),
        np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]),
        np.array(["text"]),
        np.array([b"text"]),
        np.zeros(2, dtype=np.complex64),
        np.array(["2020-01-01"], dtype="M8[D]"),
        np.zeros(2, dtype=np.longdouble),
        np.zeros(0, dtype=np.float32),
        np.zeros(2).view(np.recarray) if protocol < 5 else np.array([None], dtype=object),
        np.ma.masked_array([1.0, 2.0], [True, False]),
    ):
        assert_refused(folder, pickle.dumps({"motion": array}, protocol=protocol), "is not read as a motion template")


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
FLOATS = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
OBJECTS = FLOATS.replace(b"f4", b"O8")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"", "damaged"),
        (b".", "damaged"),
        (b"cos\nsystem\nX\x02\x00\x00\x00id\x85R.", "os.system"),
        (b"\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"K\x01K\x02\x93.", "damaged"),
        (b"cos\nsystem\n.", "os.system"),
        (b"c" + b"a" * 300 + b"\nb\n.", "refers to a{80}, which"),
        (b"c\xff\xfe\nb\n.", "damaged"),
        (b"cnumpy\nndarray\nK\x01\x85R.", "calls numpy.ndarray in a way"),
        (b"cnumpy\nsave\n.", "numpy.save"),
        (b"cnumpy\nndarray.dumps\n.", "ndarray.dumps"),
        (b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00utf-8\x86R.", "_codecs.encode in a way"),
        (b"c_codecs\nencode\nX\x02\x00\x00\x00\xc4\x80X\x06\x00\x00\x00latin1\x86R.", "_codecs.encode in a way"),
        (b"c_codecs\ndecode\n.", "_codecs.decode"),
        (b"X\x02\x00\x00\x00id)R.", "damaged"),
        (RECONSTRUCT + b"K\x01b.", "unknown state"),
        (RECONSTRUCT + OBJECTS + b".", "an array of O8, not of plain numbers"),
        (RECONSTRUCT + b"(K\x01K\x04\x85" + FLOATS + b"\x89C\x04abcdtb.", "shape and data disagree"),
        (RECONSTRUCT + b"(K\x01J\xff\xff\xff\xff\x85" + FLOATS + b"\x89C\x00tb.", "an impossible shape"),
        (RECONSTRUCT + b"(K\x01(" + b"K\x01" * 9 + b"t" + FLOATS + b"\x89C\x04abcdtb.", "an impossible shape"),
        (
            RECONSTRUCT + b"(K\x01\x8a\x08" + b"\xff" * 7 + b"\x7f\x85" + FLOATS + b"\x89C\x04abcdtb.",
            "an impossible shape",
        ),
        (RECONSTRUCT + b"(K\x01K\x01\x85" + FLOATS + b"\x89]tb.", "not made of bytes"),
        (RECONSTRUCT + b"(K\x01K\x01\x85" + FLOATS + b"\x89X\x04\x00\x00\x00abcdtb.", "not made of bytes"),
        (FLOATS.replace(b"<NNN", b"<N)N") + b".", "array of records"),
        (FLOATS.replace(b"<NNN", b"?NNN") + b".", "unknown byte order"),
        (b"X\xff\xff\xff\xffabc.", "damaged"),
        (b"\x8d" + struct.pack("<Q", 2**63) + b"abc.", "damaged"),
        (b"\x8e" + struct.pack("<Q", 2**40) + b"abc.", "damaged"),
        (b"\x96" + struct.pack("<Q", 2**64 - 1) + b"abc.", "damaged"),
        (b"B\xff\xff\xff\x7f.", "damaged"),
        (b"\x8a\xff" + b"\x01" * 255 + b".", "holds no dictionary"),
        (b"\x8b\x01\x00\x00\x00\x01.", "LONG4"),
        (b"\x8b\xff\xff\xff\x7f.", "damaged"),
        (b"]" * 10_000 + b".", "nested too deeply"),
        (b"(" * 10_000 + b".", "nested too deeply"),
        (b")" + b"\x85" * 100_000 + b".", "holds no dictionary"),
        (b"})" + b"\x85" * 100_000 + b"Ns.", "not text"),
        (b"}(" + b"".join(b"\x8a\x09" + k.to_bytes(9, "little") + b"N" for k in range(9)) + b"u.", "not text"),
        (b"Nr\xff\xff\xff\xff.", "too long"),
        (b"\x95" + struct.pack("<Q", 2**62) + b"N.", "holds no dictionary"),
        (b"\x95" + struct.pack("<Q", 3) + b"\x96" + struct.pack("<Q", 4) + b"abcd.", "holds no dictionary"),
        (b"cnumpy\nndarray\n}X\x01\x00\x00\x00aNsb.", "changes numpy.ndarray"),
        (b"cnumpy\ndtype\nN}X\x0c\x00\x00\x00__defaults__Ns\x86b.", "changes numpy.dtype"),
        (b"c_codecs\nencode\ncnumpy\nndarray\n\x85R.", "calls _codecs.encode in a way"),
        (RECONSTRUCT.replace(b"ndarray", b"matrix") + b".", "numpy.matrix"),
        (RECONSTRUCT.replace(b"ndarray", b"dtype") + b".", "calls numpy.core.multiarray._reconstruct in a way"),
        (b"]]q\x00a" + b"]h\x00aq\x00a" * 100_000 + b".", "holds no dictionary"),
        (b"]}q\x00a" + b"}X\x01\x00\x00\x00ah\x00sq\x00a" * 100_000 + b".", "holds no dictionary"),
        (b"(" + b"K\x01" * 5000 + b"t.", "nested too deeply"),
        (b"}K\x01K\x01s.", "not text"),
        (b"}(K\x01u.", "not text"),
        (b"]K\x01K\x02s.", "not text"),
        (b"]X\x01\x00\x00\x00aK\x02s.", "damaged"),
        (b"}K\x01a.", "damaged"),
        (b"K\x01(e.", "holds no dictionary"),
        (b"u.", "damaged"),
        (b"h\x00.", "damaged"),
        (b"j\xff\xff\xff\xff.", "damaged"),
        (b"\x94.", "damaged"),
        (b"\x82\x01.", "EXT1"),
        (b"\x83\x01\x00.", "EXT2"),
        (b"\x84\x01\x00\x00\x00.", "EXT4"),
        (b"Pid\n.", "PERSID"),
        (b"K\x01Q.", "BINPERSID"),
        (b")\x81.", "NEWOBJ"),
        (b"(ios\nsystem\n.", "INST"),
        (b"(cos\nsystem\no.", "OBJ"),
        (b"(K\x01o.", "OBJ"),
        (b"\x97.", "NEXT_BUFFER"),
        (b"\xfe.", "damaged"),
        (b"\x80\x00.", "protocol 0"),
        (b"\x80\x06.", "protocol 6"),
        (b"I01\n.", "INT"),
        (b"K\x01.", "holds no dictionary"),
        (b"b.", "damaged"),
        (b"K\x01b.", "damaged"),
    ],
)
def test_handwritten_programs_are_refused(folder, program, message):
    assert_refused(folder, program, message)
    if not program.startswith(b"\x80"):
        assert_refused(folder, b"\x80\x04" + program, message)


def test_extension_registry_is_not_used(folder):
    copyreg.add_extension("os", "system", 0x7F)
    try:
        assert_refused(folder, b"\x82\x7fX\x02\x00\x00\x00id\x85R.", "EXT1")
    finally:
        copyreg.remove_extension("os", "system", 0x7F)


def test_small_files_do_not_expand(folder, monkeypatch):
    text = b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000
    again = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    assert_refused(folder, text + b"q\x00" + again * 1000 + b".", "more data than its size")
    monkeypatch.setattr(unpickler, "_MAX_MEMO", 10)
    assert_refused(folder, b"N" + b"\x94" * 11 + b".", "too long")
    monkeypatch.setattr(unpickler, "_MAX_OPCODES", 100)
    assert_refused(folder, b"\x80\x04" * 101 + b".", "too long")
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    assert_refused(folder, b"N" * 11, "too large")


def test_wrong_contents_are_named(folder):
    with pytest.raises(MediaError, match="there is no motion template"):
        read_released_template(folder / "nowhere.pkl")
    with pytest.raises(MediaError, match="there is no motion template"):
        read_released_template(folder)
    good = released(2)
    short = [{k: v for k, v in good["motion"][0].items() if k != "exp"}, good["motion"][1]]
    bent = [good["motion"][0] | {"exp": np.zeros((1, 63), np.float32)}, good["motion"][1]]
    big = [good["motion"][0] | {"exp": np.full((1, 21, 3), 1e300)}, good["motion"][1]]
    for changes, message in (
        ({"motion": 1}, "not a list of frames"),
        ({"motion": [1, 2]}, "not a list of frames"),
        ({"motion": []}, "0 frames"),
        ({"n_frames": 3}, "n_frames differs"),
        ({"motion": short}, "its frame 0 has no exp"),
        ({"motion": bent}, r"exp of its frame 0 is not an array of numbers \(1, 21, 3\)"),
        ({"motion": big}, "not finite"),
        ({"c_eyes_lst": [1, 2]}, "c_eyes_lst of its frame 0"),
        ({"c_eyes_lst": good["c_eyes_lst"][:1]}, "c_eyes_lst is not a list of one entry per frame"),
        ({"c_lip_lst": None}, "c_lip_lst is not a list"),
        ({"output_fps": "25"}, "output_fps is not a number"),
        ({"output_fps": 0}, "frame rate"),
        ({"output_fps": float("inf")}, "frame rate"),
    ):
        assert_refused(folder, pickle.dumps(good | changes), message)
    del good["c_lip_lst"]
    assert_refused(folder, pickle.dumps(good), "has no c_lip_lst")
    kept = released(1)
    del kept["output_fps"], kept["n_frames"]
    assert read(folder, pickle.dumps(kept)).fps == 25.0


TEMPLATES = [pickle.dumps(released(2), protocol=p) for p in PROTOCOLS]
EVIL = pickle.dumps(Call(os.mkdir, "/tmp/liveportrait-talker-canary"), protocol=4)
PARTS = [b"(", b")", b"R", b"b", b"t", b"}", b"]", b"a", b"s", b"u", b"e", b"\x94", b"h\x00", b"K\x01", b"\x85", b"\x93", FLOATS, RECONSTRUCT, EVIL[2:-1]]  # fmt: skip


def assert_read_or_refused(folder, content: bytes) -> None:
    try:
        assert isinstance(read(folder, content), MotionTemplate)
    except MediaError as error:
        assert "\n" not in str(error)
    assert not Path("/tmp/liveportrait-talker-canary").exists()


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200) | st.lists(st.sampled_from(PARTS) | st.binary(max_size=3), max_size=40).map(b"".join))
def test_random_programs(folder, content):
    assert_read_or_refused(folder, content)
    assert_read_or_refused(folder, b"\x80\x04" + content + b".")


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_templates(folder, data):
    content = bytearray(data.draw(st.sampled_from(TEMPLATES)))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        how = data.draw(st.sampled_from(["change", "insert", "delete"]))
        if how == "change":
            content[at] = data.draw(st.integers(0, 255))
        elif how == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=4) | st.sampled_from(PARTS))
        else:
            del content[at : at + data.draw(st.integers(1, 20))]
    assert_read_or_refused(folder, bytes(content))


@settings(deadline=None, max_examples=100)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary(min_size=1),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
        max_leaves=20,
    ),
    st.sampled_from(PROTOCOLS),
)
def test_plain_data_equals_the_standard_unpickler(content, protocol):
    try:
        content_bytes = pickle.dumps(content, protocol=protocol)
    except UnicodeEncodeError:
        return
    assert unpickle_arrays(content_bytes) == content
