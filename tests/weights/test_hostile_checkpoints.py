"""Files that are made to cost memory, disk or time, or that are not the networks that they seem to be."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
from released import manifest, same, tensors, write_all

from liveportrait_talker import examples
from liveportrait_talker.cli.main import main
from liveportrait_talker.errors import WeightsError
from liveportrait_talker.weights import registry, store
from liveportrait_talker.weights.checkpoints import networks_in, read_state_dict
from liveportrait_talker.weights.conversion import convert
from liveportrait_talker.weights.importing import import_folder, load_network, load_state_dict
from shared import DATA, needs_shared

torch = pytest.importorskip("torch")
save_file = pytest.importorskip("safetensors.torch").save_file

EXAMPLES = Path(examples.__file__).parent
# A few keys by which a file is taken for the network.
SEEMING = {
    "appearance_feature_extractor": ("first.conv.x", "down_blocks.x", "second.x", "resblocks_3d.x"),
    "motion_extractor": ("detector.fc_exp.x", "detector.fc_kp.x"),
    "warping_module": ("dense_motion_network.mask.x",),
    "spade_generator": ("G_middle_0.x",),
    "stitching": ("mlp.0.x",),
    "retarget_eye": ("mlp.0.x",),
    "retarget_lip": ("mlp.0.x",),
    "sadtalker_audio2exp": ("audio2exp.audio_encoder.x", "audio2exp.mapping1.x"),
    "sadtalker_audio2pose": ("audio2pose.audio_encoder.x", "audio2pose.netG.x"),
    "sadtalker_face_3drecon": ("face_3drecon.backbone.x", "face_3drecon.final_layers.x"),
    "mappingnet": ("first.0.x", "fc_exp.x"),
}


def stored() -> list[Path]:
    """What the store holds, apart from locks."""
    return [path for path in store.root().rglob("*") if path.is_file() and path.suffix != ".lock"]


def write_junk(path: Path, network: str, **metadata: str) -> None:
    save_file({key: torch.ones(1) for key in SEEMING[network]}, path, metadata={"network": network} | metadata)


# ------------------------------------------------------------------ not the network that it seems to be


@pytest.mark.parametrize("network", registry.NETWORKS)
def test_junk_is_not_imported(tmp_path, network):
    path = tmp_path / "junk.safetensors"
    write_junk(path, network)
    report = import_folder(tmp_path)
    assert not report.imported and not stored()
    (refused,) = report.refused
    assert refused.path == path and refused.reason.startswith(
        f"does not fit the network {network}: it lacks the tensor"
    )


@pytest.mark.parametrize("network", registry.NETWORKS)
def test_what_an_older_version_imported_is_refused_when_loaded(tmp_path, network, capsys):
    path = store.converted_path(network)
    origin = {"source": "junk", "source_sha256": "0", "trust": "own"}
    convert(network, {"x": torch.ones(1)}, path, source_metadata={}, origin=origin)
    assert main(["models", "list"]) == 0
    assert "ready" not in capsys.readouterr().out
    assert main(["models", "verify", network]) == 2
    assert f"{path} does not" in capsys.readouterr().out
    for load in (load_state_dict, lambda name: load_network(name, torch.nn.Identity)):
        with pytest.raises(
            WeightsError, match=f"{network}.safetensors does not .*; liveportrait-talker models"
        ) as error:
            load(network)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("renderer", ["auto", "neural"])
def test_generate_names_the_wrong_file_in_the_store(tmp_path, capsys, renderer):
    for network in registry.NETWORKS:
        origin = {"source": "junk", "source_sha256": "0", "trust": "own"}
        convert(network, {"x": torch.ones(1)}, store.converted_path(network), source_metadata={}, origin=origin)
    portrait, voice, out = EXAMPLES / "portrait.png", EXAMPLES / "voice.wav", tmp_path / "out.mp4"
    assert main(["generate", str(portrait), str(voice), "-o", str(out), "--renderer", renderer]) == 2
    error = capsys.readouterr().err
    assert error.count("appearance_feature_extractor.safetensors does not") == 1
    assert "models download liveportrait/appearance_feature_extractor" in error
    assert "Traceback" not in error and not out.exists()


def test_one_wrong_file_does_not_keep_the_others_out(tmp_path):
    folder = tmp_path / "released"
    wanted = write_all(folder)
    wrong = {k: v for k, v in wanted["motion_extractor"].items() if k != "detector.fc_exp.bias"}
    path = folder / "liveportrait" / "base_models" / "motion_extractor.pth"
    torch.save(wrong, path)
    report = import_folder(folder)
    assert len(report.imported) == 10
    (refused,) = report.refused
    assert (refused.path, refused.reason) == (
        path,
        "does not fit the network motion_extractor: it lacks the tensor 'detector.fc_exp.bias'"
        f" ({path.stat().st_size:,} of the released 112,545,506 bytes)",
    )


@needs_shared
def test_the_audits_files(tmp_path, capsys):
    assert main(["models", "import", str(DATA / "cases" / "security" / "junk_networks")]) == 2
    out = capsys.readouterr().out
    assert out.count("refused") == 7 and "imported" not in out
    assert main(["models", "import", str(DATA / "cases" / "security" / "strided_3GB.pth")]) == 2
    assert "refused" in capsys.readouterr().out
    assert not stored()


# ------------------------------------------------------------------ tensors larger than their numbers


def strided(shape: tuple[int, ...], stride: tuple[int, ...], numbers: int = 1) -> Any:
    return torch.zeros(numbers).as_strided(shape, stride)


HUGE = {
    "one number": lambda: strided((2**20, 2**10), (0, 0)),
    "one row": lambda: strided((2**20, 2**10), (0, 1), 2**10),
    "more than any disk": lambda: strided((2**20, 2**20, 2**5), (0, 0, 0)),
    "overlapping rows": lambda: strided((100, 100), (1, 1), 199),
    "overlapping by one": lambda: strided((3, 4), (3, 1), 10),
}


@pytest.mark.parametrize("kind", HUGE)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_tensor_of_more_numbers_than_the_file_is_refused(tmp_path, expect, kind, zipped):
    wanted = write_all(tmp_path)
    path = tmp_path / "huge.pth"
    state = {"first.0.weight": HUGE[kind](), "fc_exp.weight": torch.zeros(2)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    for read in (lambda: read_state_dict(path, "mappingnet"), lambda: load_state_dict("mappingnet", file=path)):
        with pytest.raises(
            WeightsError, match=r"its tensor 'first\.0\.weight' takes the same numbers .* more than once"
        ):
            read()
    report = import_folder(tmp_path)
    assert len(report.imported) == 11, "the other files are imported"
    assert [refused.path for refused in report.refused] == [path]
    assert same(load_state_dict("mappingnet"), wanted["mappingnet"])


def test_tensors_that_share_their_numbers_are_bounded_by_the_file(tmp_path):
    numbers = torch.zeros(1000)
    torch.save({f"first.0.{k}": numbers for k in range(100)} | {"fc_exp.x": numbers}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="its tensors state more bytes than the file has"):
        read_state_dict(tmp_path / "x.pth", "mappingnet")


# ------------------------------------------------------------------ pickles


class Writer:
    """Writes the opcodes of a checkpoint by hand."""

    def __init__(self) -> None:
        self.data = b"\x80\x02"

    def text(self, text: str) -> Writer:
        self.data += b"X" + struct.pack("<I", len(text)) + text.encode()
        return self

    def number(self, number: int) -> Writer:
        raw = number.to_bytes(9, "little", signed=True)
        self.data += b"\x8a\x09" + raw
        return self

    def numbers(self, *numbers: int) -> Writer:
        self.data += b"("
        for one in numbers:
            self.number(one)
        self.data += b"t"
        return self

    def raw(self, data: bytes) -> Writer:
        self.data += data
        return self

    def tensor(self, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], count: int = 4) -> Writer:
        self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((").text("storage").raw(b"ctorch\nFloatStorage\n").text("0")
        self.text("cpu").number(count).raw(b"tQ")
        return self.number(offset).numbers(*shape).numbers(*stride).raw(b"\x89}tR")

    def state(self, *pairs: tuple[str, Any]) -> bytes:
        """A dict of text → what the functions write."""
        self.data += b"}"
        for key, write in pairs:
            self.text(key)
            write(self)
            self.data += b"s"
        return self.data + b"."


def state(offset: int, shape: tuple[int, ...], stride: tuple[int, ...], count: int = 4) -> bytes:
    return Writer().state(
        ("first.0.x", lambda w: w.tensor(offset, shape, stride, count)), ("fc_exp.x", lambda w: w.tensor(0, (1,), (1,)))
    )


def call(function: bytes, write: Any) -> bytes:
    def written(w: Writer) -> None:
        write(w.raw(function))
        w.raw(b"\x85R")  # TUPLE1 REDUCE

    return Writer().state(("first.0.x", written), ("fc_exp.x", lambda w: w.tensor(0, (1,), (1,))))


def fan_out() -> bytes:
    """Four levels of dicts, each with a hundred times the same dict of the next level."""
    inner: dict[str, Any] = {"x": 0}
    for _ in range(4):
        inner = {f"first.0.{k}": inner for k in range(100)}
    return pickle.dumps(inner, 2)


def itself() -> bytes:
    loop: dict[str, Any] = {}
    loop["first.0."] = loop["fc_exp."] = loop
    return pickle.dumps(loop, 2)


def slow_key() -> bytes:
    """A dict whose key is a tuple that contains 2**60 tuples: each of 60 holds the one before twice."""
    deep: Any = ()
    for _ in range(60):
        deep = (deep, deep)
    return b"\x80\x02}" + pickle.dumps(deep, 2)[2:-1] + b"K\x01s."


def long_name() -> bytes:
    """A list of a global whose long name is stored once; each use would make a new one."""
    name = b"torch." + b"x" * 50_000
    text = b"X" + struct.pack("<I", len(name)) + name + b"q\x00X\x01\x00\x00\x00yq\x01"
    return b"\x80\x04](" + text + b"\x93" + b"h\x00h\x01\x93" * 10_000 + b"e."


def many_arguments() -> bytes:
    """A tuple of 20,000 arguments, with which a function is called 5,000 times."""
    numbers = b"(" + b"K\x00" * 20_000 + b"tq\x00"
    call = b"ctorch._utils\n_rebuild_tensor_v2\nh\x00R"
    return b"\x80\x02](" + numbers + call * 5000 + b"e."


PICKLES = {
    "a long name": long_name(),
    "many arguments": many_arguments(),
    "bytes from a number": call(b"c__builtin__\nbytearray\n", lambda w: w.number(10**9)),
    "tensor from a number": call(b"ctorch\nFloatTensor\n", lambda w: w.number(10**9)),
    "storage from a number": call(b"ctorch.storage\nUntypedStorage\n", lambda w: w.number(10**9)),
    "size without numbers": state(0, (2**30,), (0,)),
    "highest index": state(0, (2, 2), (2**30, 1)),
    "offset": state(2**30, (1,), (1,)),
    "negative offset": state(-1, (1,), (1,)),
    "negative stride": state(3, (4,), (-1,)),
    "negative size": state(0, (-4,), (1,)),
    "two negative sizes": state(0, (-2, -2), (2, 1)),
    "absurd size": state(0, (2**63, 2**63), (1, 1)),
    "a product that overflows to 0": state(0, (2**32, 2**32), (2**32, 1)),
    "many dimensions": state(0, (2**40,) * 5000, (1,) * 5000),
    "fewer strides": state(0, (4, 1), (1,)),
    "storage of another length": state(0, (1000,), (1,), 1000),
    "the same dict in many places": fan_out(),
    "a dict in itself": itself(),
    "a key that takes for ever": slow_key(),
    "long text": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b".",
    "long bytes": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
    "far memo": b"\x80\x02}r\xff\xff\xff\xff.",
    "nested lists": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
    "nested tuples": b"\x80\x02)" + b"\x85" * 20_000 + b".",
    "pops from nothing": b"\x80\x02tttt.",
    "no end": b"\x80\x02}}}}",
    "code": pickle.dumps(print, 2),
}


def zipped(program: bytes, *more: tuple[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in [("x/data.pkl", program), ("x/data/0", bytes(16)), *more]:
            archive.writestr(name, data)
    return target.getvalue()


def legacy(program: bytes, count: int = 4) -> bytes:
    head = [pickle.dumps(thing, 2) for thing in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join([*head, program, pickle.dumps(["0"], 2), struct.pack("<q", count), bytes(16)])


def refuse_cheaply(path: Path, network: str = "mappingnet") -> str:
    """Return why a file is refused; it may cost 16 MB."""
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError) as error:
            read_state_dict(path, network)
        report = import_folder(path.parent)
        assert tracemalloc.get_traced_memory()[1] < 100 * path.stat().st_size + 16_000_000
    finally:
        tracemalloc.stop()
    assert not report.imported and not stored()
    assert "\n" not in str(error.value) and str(error.value).startswith(f"{path} ")
    return str(error.value)


@pytest.mark.parametrize("name", PICKLES)
@pytest.mark.parametrize("pack", [zipped, legacy])
def test_hostile_pickles_are_refused_cheaply(tmp_path, name, pack):
    path = tmp_path / "x.pth"
    path.write_bytes(pack(PICKLES[name]))
    refuse_cheaply(path)


@pytest.mark.parametrize("pack", [zipped, legacy])
def test_the_hand_written_checkpoint_would_be_good(tmp_path, pack):
    (tmp_path / "x.pth").write_bytes(pack(state(1, (3,), (1,))))
    assert read_state_dict(tmp_path / "x.pth", "mappingnet")["first.0.x"].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("count", [5, 2**40, 2**62, -1])
def test_storages_longer_than_the_file_are_refused(tmp_path, count):
    path = tmp_path / "x.pth"
    path.write_bytes(legacy(state(0, (1,), (1,)), count))
    assert "is cut short" in refuse_cheaply(path)


def test_hostile_zips_are_refused_cheaply(tmp_path):
    path = tmp_path / "x.pth"
    whole = zipped(state(0, (1,), (1,)))
    at = whole.index(b"PK\x01\x02")  # the directory's first entry; its size is 24 bytes on
    claims = whole[: at + 20] + struct.pack("<II", 2**31, 2**31) + whole[at + 28 :]
    entries = whole[: whole.index(b"PK\x05\x06")]
    repeated = entries + entries[at:] * 1000
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2002, 2002, len(repeated) - at, at, 0)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(10_000_000))
    bombs = {
        "size": claims,
        "overlap": repeated + end,
        "compressed": target.getvalue(),
        "compressed behind another start": b"\x80\x02}." + target.getvalue(),
        "long list": zipped(b"\x80\x02" + b"}" * 5_000_000 + b"."),
        "no list": zipped(b"")[:0] + zipped(state(0, (1,), (1,))).replace(b"data.pkl", b"data.pkx"),
        "other byte order": zipped(state(0, (1,), (1,)), ("x/byteorder", b"big")),
    }
    for name, content in bombs.items():
        path.write_bytes(content)
        assert refuse_cheaply(path), name


# ------------------------------------------------------------------ safetensors


def with_header(header: bytes, data: bytes = bytes(8), length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(shape: Any = (1,), offsets: Any = (0, 4), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def header(**first: Any) -> bytes:
    return json.dumps({"first.0.x": entry(**first), "fc_exp.x": entry(offsets=(4, 8))}).encode()


HEADERS = {
    "length": with_header(b"{" * 100, length=2**62),
    "long header": with_header(b"{" + b" " * 9_000_000 + b"}"),
    "beyond the file": with_header(header(shape=(2**30,), offsets=(0, 2**32))),
    "shape and bytes": with_header(header(shape=(2**30,))),
    "overlap": with_header(header(offsets=(4, 8))),
    "gap": with_header(header(shape=(0,), offsets=(2, 2))),
    "negative offset": with_header(header(offsets=(-4, 0))),
    "negative shape": with_header(header(shape=(-1, -1))),
    "fraction": with_header(header(shape=(1.0,))),
    "truth": with_header(header(shape=(True,))),
    "infinity": with_header(header().replace(b"[0, 4]", b"[0, 1e400]")),
    "digits": with_header(header().replace(b"[0, 4]", b"[0, " + b"9" * 10_000 + b"]")),
    "dimensions": with_header(header(shape=(1,) * 100_000)),
    "repeated": with_header(header().replace(b"fc_exp", b"first.0").replace(b"first.0.x", b"fc_exp.x", 2)),
    "depth": with_header(b'{"x":' + b"[" * 200_000),
    "format": with_header(header(dtype="F4")),
    "half bytes": with_header(header(dtype="F16")),
    "no text": with_header(header(dtype=["F32"])),
    "metadata": with_header(header().replace(b"{", b'{"__metadata__": {"rows": [1]}, ', 1)),
}


@pytest.mark.parametrize("name", HEADERS)
def test_hostile_headers_are_refused_cheaply(tmp_path, name):
    path = tmp_path / "x.safetensors"
    path.write_bytes(HEADERS[name])
    refuse_cheaply(path)


def test_many_tiny_tensors_are_refused_cheaply(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({f"first.0.{k}": torch.zeros(1) for k in range(5000)} | {"fc_exp.x": torch.zeros(1)}, path)
    report = import_folder(tmp_path)
    assert "it lacks the tensor" in report.refused[0].reason and len(report.refused[0].reason) < 200


def test_names_are_printed_without_control_characters(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"\x1b[2Jevil\n" + "x" * 10_000: torch.zeros(1)}, path)
    with pytest.raises(WeightsError) as error:
        read_state_dict(path, "mappingnet")
    assert "\x1b" not in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400


# ------------------------------------------------------------------ what is good stays good


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zip_file", [True, False])
def test_every_kind_of_good_checkpoint_is_read_as_torch_reads_it(tmp_path, protocol, zip_file):
    weight = torch.randn(4, 6)
    wanted = {
        "first.0.weight": weight,
        "first.0.row": weight[2],
        "first.0.column": weight[:, 3],
        "first.0.turned": weight.T,
        "first.0.half": weight.half(),
        "first.0.brain": weight.bfloat16(),
        "first.0.double": weight.double()[1:, ::2],
        "first.0.parameter": torch.nn.Parameter(torch.randn(3)),
        "first.0.count": torch.tensor(7),
        "first.0.nothing": torch.zeros(0, 3),
        "fc_exp.flags": torch.tensor([True, False]),
        "fc_exp.bytes": torch.arange(5, dtype=torch.uint8),
    }
    path = tmp_path / "x.pt"
    beside = {"epoch": 3, "lr": 1e-3, "none": None, "names": ["a", ("b", 1)], "optimizer": {"state": {0: {"step": 1}}}}
    torch.save(
        {"state_dict": wanted, **beside}, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zip_file
    )
    read = read_state_dict(path, "mappingnet")
    assert same(read, torch.load(path, weights_only=protocol < 4)["state_dict"])  # torch's restricted loader: 2 and 3
    assert all(tensor.stride() == wanted[key].stride() for key, tensor in read.items())
    for tensor in read.values():
        tensor.zero_()  # not in the file
    assert same(read_state_dict(path, "mappingnet"), {k: v.detach() for k, v in wanted.items()})


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_damaged_files_give_tensors_or_a_sentence(tmp_path, kind):
    path = tmp_path / f"x.{kind}"
    state = tensors(manifest("mappingnet"), 1)
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole, rng = path.read_bytes(), random.Random(0)
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 8])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        try:
            networks_in(path)
            read_state_dict(path, "mappingnet")
        except WeightsError as error:
            assert str(path) in str(error)
