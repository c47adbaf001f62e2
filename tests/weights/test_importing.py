"""Importing folders of weights and loading the same tensors again."""

from __future__ import annotations

import os
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from released import FLAT, same, write_all

from liveportrait_talker import __version__
from liveportrait_talker.errors import WeightsError
from liveportrait_talker.weights import registry, store
from liveportrait_talker.weights.checkpoints import networks_in
from liveportrait_talker.weights.download import download
from liveportrait_talker.weights.importing import (
    convert_released,
    import_folder,
    load_network,
    load_state_dict,
    metadata,
    missing,
)
from liveportrait_talker.weights.integrity import structure_error

torch = pytest.importorskip("torch")
save_file = pytest.importorskip("safetensors.torch").save_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "released"


def flip(path: Path) -> None:
    """Change one byte of a tensor, leaving size and time."""
    state = path.stat()
    at = state.st_size - 2  # in a safetensors file the tensors come last
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entry = max((e for e in archive.infolist() if "/data/" in e.filename), key=lambda e: e.file_size)
        start = path.read_bytes()[entry.header_offset :][26:30]
        at = entry.header_offset + 30 + sum(struct.unpack("<HH", start)) + 2
    with path.open("rb+") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0xFF]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("layout", ["released", "flat", "renamed"])
def test_a_full_set_comes_back_exactly(tmp_path, folder, layout):
    wanted = write_all(folder)
    (folder / "README.md").write_text("not weights")
    if layout != "released":
        flat = tmp_path / "flat"
        flat.mkdir()
        for number, path in enumerate(sorted(p for p in folder.rglob("*.*") if p.is_file())):
            shutil.move(path, flat / (path.name if layout == "flat" else f"{number}{path.suffix}"))
        folder = flat
    assert missing(registry.NETWORKS) == registry.NETWORKS
    report = import_folder(folder)
    assert tuple(item.network for item in report.imported) == registry.NETWORKS
    assert all(item.fresh for item in report.imported)
    assert not report.skipped and not report.unknown and not report.refused
    assert missing(registry.NETWORKS) == ()
    assert all(item.ready for item in store.installed())
    for network in registry.NETWORKS:
        assert same(load_state_dict(network), wanted[network]), network
        said = metadata(network)
        assert (
            said["network"] == network and said["package_version"] == __version__ and len(said["source_sha256"]) == 64
        )
    assert metadata("mappingnet")["rows"] == "28"
    again = import_folder(folder)
    assert len(again.imported) == 11 and not any(item.fresh for item in again.imported)


def test_loading_is_memory_mapped_and_never_writes_back(folder):
    wanted = write_all(folder)
    import_folder(folder)
    state = load_state_dict("motion_extractor")
    for tensor in state.values():
        tensor.zero_()
    assert same(load_state_dict("motion_extractor"), wanted["motion_extractor"])


def test_corrupt_and_partial_files_are_found_and_named(folder):
    write_all(folder)
    base = folder / "liveportrait" / "base_models"
    flip(base / "spade_generator.pth")
    whole = (base / "warping_module.pth").read_bytes()
    (base / "warping_module.pth").write_bytes(whole[: len(whole) // 2])
    (folder / "model.pt").write_bytes(whole[:100])  # not called like a released file: nobody misses it
    report = import_folder(folder)
    assert {left.path.name for left in report.refused} == {"spade_generator.pth", "warping_module.pth"}
    reasons = {left.path.name: left.reason for left in report.refused}
    assert "fails its own checksum" in reasons["spade_generator.pth"]
    assert "of the released 182,180,086 bytes" in reasons["warping_module.pth"]
    assert [left.path.name for left in report.unknown] == ["model.pt"]
    assert missing(registry.NETWORKS) == ("warping_module", "spade_generator")


def test_a_damaged_copy_of_the_released_size_is_refused(folder, release):
    write_all(folder)
    path = folder / "sadtalker" / "SadTalker_V0.0.2_256.safetensors"
    release(path.read_bytes(), name="sadtalker/v0.0.2-256")
    assert {item.trust for item in import_folder(path).imported} == {"published"}
    flip(path)
    report = import_folder(path)
    assert not report.imported and "it has the released size" in report.refused[0].reason


def test_the_published_file_is_preferred(folder, release, tmp_path):
    wanted = write_all(folder)
    good = folder / "liveportrait" / "base_models" / "motion_extractor.pth"
    other = {k: v + 1 if v.is_floating_point() else v for k, v in wanted["motion_extractor"].items()}
    torch.save(other, folder / "a_first.pth")
    renamed = folder / "z_last.pth"
    shutil.move(good, renamed)
    release(renamed.read_bytes())
    report = import_folder(folder)
    assert same(load_state_dict("motion_extractor"), wanted["motion_extractor"])
    assert [(left.path.name) for left in report.skipped] == ["a_first.pth"]
    assert str(renamed) in report.skipped[0].reason


def test_an_import_replaces_what_was_there(folder, tmp_path):
    wanted = write_all(folder)
    import_folder(folder)
    other = {k: v + 1 if v.is_floating_point() else v for k, v in wanted["mappingnet"].items()}
    save_file(other, tmp_path / "own.safetensors", metadata={"network": "mappingnet", "rows": "29", "data": "mine"})
    report = import_folder(tmp_path / "own.safetensors")
    assert [(i.network, i.trust, i.fresh) for i in report.imported] == [("mappingnet", "own", True)]
    assert same(load_state_dict("mappingnet"), other)
    said = metadata("mappingnet")
    assert said["rows"] == "29" and said["data"] == "mine" and said["source"] == "own.safetensors"
    assert same(load_state_dict("mappingnet", file=folder / "mappingnet_basic_64inp_onlylip.pt"), wanted["mappingnet"])


@pytest.mark.parametrize("rows", ["0", "24", "100", "-3", "many", "²", "9" * 5000])
def test_invalid_rows_are_refused(tmp_path, rows, expect):
    state = {"first.0.weight": torch.zeros(2), "fc_exp.weight": torch.zeros(2)}
    expect("mappingnet", state)
    save_file(state, tmp_path / "own.safetensors", metadata={"rows": rows})
    report = import_folder(tmp_path)
    assert not report.imported and f"states windows of '{rows[:79]}" in report.refused[0].reason
    assert len(report.refused[0].reason) < 200
    assert not list(store.root().rglob("*.safetensors"))


def test_shared_and_strided_tensors_are_written_separately(tmp_path, expect):
    weight = torch.randn(4, 6)
    state = {"first.0.weight": weight, "first.0.bias": weight[0], "fc_exp.weight": weight.T, "fc_exp.x": weight[:, 1:3]}
    expect("mappingnet", state)
    torch.save(state, tmp_path / "m.pt")
    import_folder(tmp_path / "m.pt")
    assert same(load_state_dict("mappingnet"), state)


def test_a_changed_converted_file_is_refused_and_named(folder):
    write_all(folder)
    import_folder(folder)
    path = store.converted_path("stitching")
    flip(path)
    bad = [verdict for verdict in store.verify("liveportrait/stitching_retargeting_module") if not verdict.good]
    assert [verdict.path for verdict in bad] == [path] and "is corrupt or was changed" in bad[0].detail
    os.utime(path)  # now its time tells
    with pytest.raises(WeightsError, match=r"stitching.safetensors is corrupt or was changed.*models download"):
        load_state_dict("stitching")
    assert "models import DIR" in bad[0].detail
    import_folder(folder)  # mends it
    assert load_state_dict("stitching")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsError, match=r"stitching.safetensors is cut short"):
        load_state_dict("stitching")


def test_missing_weights_name_the_install_commands():
    command = "liveportrait-talker models download sadtalker/v0.0.2-256, or liveportrait-talker models import DIR"
    with pytest.raises(WeightsError, match=f"sadtalker_audio2exp are not installed: {command}"):
        load_state_dict("sadtalker_audio2exp")
    with pytest.raises(WeightsError, match="no network 'x'"):
        missing(["x"])
    with pytest.raises(WeightsError, match="not installed"):
        store.path("talker/mappingnet")


def test_a_download_that_was_not_converted_is_converted_when_loaded(folder, release, tmp_path):
    wanted = write_all(folder)
    source = folder / "liveportrait" / "base_models"
    release((source / "motion_extractor.pth").read_bytes())
    download("motion_extractor", base=source)
    assert missing(["motion_extractor"]) == ()
    assert same(load_state_dict("motion_extractor"), wanted["motion_extractor"])
    assert metadata("motion_extractor")["trust"] == "published"
    assert not convert_released(registry.find("motion_extractor"))[0].fresh


def test_a_store_that_was_copied_without_receipts_still_loads(folder, caplog):
    wanted = write_all(folder)
    import_folder(folder)
    for receipt in store.root().rglob("*.receipt.json"):
        receipt.unlink()
    assert same(load_state_dict("warping_module"), wanted["warping_module"])
    assert "no checksum is known" in caplog.text


def test_names_and_paths(folder, release):
    write_all(folder)
    own = folder / "mappingnet_basic_64inp_onlylip.pt"
    assert store.path(own) == own and store.path(str(own)) == own
    assert store.verify(own)[0].good
    flip(own)
    assert "fails its own checksum" in store.verify(own)[0].detail
    renamed = folder / "liveportrait" / "base_models" / "spade_generator.pth"
    assert "is not the released" in store.verify(renamed)[0].detail
    with pytest.raises(WeightsError, match=r"no weights named 'x.pth', and no such file: the names are"):
        store.path("x.pth")
    import_folder(folder)
    assert store.path("warping_module") == store.converted_path("warping_module")
    with pytest.raises(WeightsError, match="was imported, so the file itself is not kept"):
        store.path("liveportrait/appearance_feature_extractor")


def test_a_huge_folder_and_a_wrong_place(tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match="does not exist"):
        import_folder(tmp_path / "gone")
    monkeypatch.setattr("liveportrait_talker.weights.importing._MAX_FILES", 3)
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("")
    with pytest.raises(WeightsError, match="give the folder of the weights itself"):
        import_folder(tmp_path)


def test_pickles_in_a_folder_are_not_imported(tmp_path):
    torch.save({"x": Path("y")}, tmp_path / "mapping_00229-model.pth.tar")
    torch.save({"x": Path("y")}, tmp_path / "spade_generator.pth")
    report = import_folder(tmp_path)
    assert "pickle" in report.unknown[0].reason and "pickle" in report.refused[0].reason


def test_a_full_disk(folder, monkeypatch):
    write_all(folder)

    class Usage:
        free = 10

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with pytest.raises(WeightsError, match="the disk is full"):
        import_folder(folder)
    assert not list(store.root().rglob("*.safetensors"))


@pytest.mark.parametrize("name", FLAT)
def test_a_converted_file_is_identified_by_its_metadata(folder, name):
    write_all(folder)
    import_folder(folder / "liveportrait")
    assert networks_in(store.converted_path(name)) == (name,)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("less", "lacks the tensor 'first.0.bias'"),
        ("more", "has the tensor 'fc_exp.extra', which"),
        ("wider", r"the shape \[4\] where \[3\] is needed"),
    ],
)
def test_tensors_that_are_not_the_networks_are_refused(tmp_path, change, word):
    """Defect 27: nothing that is missing goes unnoticed."""

    def build() -> torch.nn.Module:
        return torch.nn.ModuleDict(
            {"first": torch.nn.Sequential(torch.nn.Linear(2, 3)), "fc_exp": torch.nn.Linear(3, 2)}
        )

    state = {key: torch.randn(value.shape) for key, value in build().state_dict().items()}
    path = tmp_path / "mine.safetensors"
    save_file(state, path)
    assert same(load_network("mappingnet", build, file=path).state_dict(), state)
    if change == "less":
        del state["first.0.bias"]
    elif change == "more":
        state["fc_exp.extra"] = torch.zeros(2)
    else:
        state["first.0.bias"] = torch.zeros(4)
    save_file(state, path)
    with pytest.raises(WeightsError, match=rf"mine\.safetensors does not fit the network mappingnet: it.*{word}"):
        load_network("mappingnet", build, file=path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("own", [True, False])
def test_other_floating_numbers_become_float32(tmp_path, dtype, own, expect):
    """They were accepted, and then the first picture ended in a RuntimeError."""

    def build() -> torch.nn.Module:
        return torch.nn.ModuleDict(
            {
                "first": torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)),
                "fc_exp": torch.nn.Linear(3, 2),
            }
        )

    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in build().state_dict().items()}
    path = tmp_path / "mine.safetensors"
    save_file(state, path)
    if not own:
        expect("mappingnet", build().state_dict())
        import_folder(path)
    net = load_network("mappingnet", build, file=path if own else None)
    wanted = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    assert same(net.state_dict(), wanted)
    assert {v.dtype for v in net.state_dict().values()} == {torch.float32, torch.int64}
    assert net["fc_exp"](net["first"](torch.zeros(1, 2))).shape == (1, 2)


def test_bytes_after_the_last_tensor_are_damage(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "a.safetensors"
    save_file({"x": np.zeros(4, np.float32)}, path)
    whole = path.read_bytes()
    assert structure_error(path) is None
    path.write_bytes(whole + b"\0")
    assert structure_error(path) == "is corrupt: there are bytes after its last tensor"
    path.write_bytes(whole[:-1])
    assert "is cut short" in str(structure_error(path))
