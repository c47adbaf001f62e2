"""All checkpoint layouts, and files that must be refused."""

from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from liveportrait_talker.errors import WeightsError
from liveportrait_talker.weights.checkpoints import file_metadata, networks_in, read_state_dict

torch = pytest.importorskip("torch")
save_file = pytest.importorskip("safetensors.torch").save_file


def numbers(*keys: str) -> dict[str, Any]:
    return {key: torch.randn(2, 3) for key in keys}


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


FLAT = {
    "appearance_feature_extractor": ("first.conv.weight", "down_blocks.0.x", "second.bias", "resblocks_3d.3dr0.x"),
    "motion_extractor": ("detector.fc_exp.weight", "detector.fc_kp.bias"),
    "warping_module": ("dense_motion_network.mask.weight", "third.conv.weight"),
    "spade_generator": ("fc.weight", "G_middle_0.conv_0.weight_orig"),
    "mappingnet": ("first.0.weight", "encoder0.1.weight", "fc_exp.bias"),
}
MLPS = {"stitching": "retarget_shoulder", "retarget_eye": "retarget_eye", "retarget_lip": "retarget_mouth"}
PARTS = {
    "sadtalker_audio2exp": ("audio2exp", ("audio_encoder.0.weight", "mapping1.bias")),
    "sadtalker_audio2pose": ("audio2pose", ("audio_encoder.audio_encoder.0.weight", "netG.encoder.x")),
    "sadtalker_face_3drecon": ("face_3drecon", ("backbone.conv1.weight", "final_layers.0.weight")),
}


@pytest.mark.parametrize("network", FLAT)
@pytest.mark.parametrize("wrapper", ["flat", "module", "state_dict", "both", "ordered", "old format", "safetensors"])
def test_flat_files(tmp_path, network, wrapper):
    path, wanted = tmp_path / "some.name.pth", numbers(*FLAT[network])
    inner = {f"module.{k}": v for k, v in wanted.items()} if wrapper in ("module", "both") else wanted
    if wrapper == "safetensors":
        path = tmp_path / "x.safetensors"
        save_file(inner, path)
    elif wrapper == "old format":
        torch.save(inner, path, _use_new_zipfile_serialization=False)
    elif wrapper == "ordered":
        torch.save(OrderedDict(inner), path)
    else:
        torch.save({"state_dict": inner, "epoch": 3} if wrapper in ("state_dict", "both") else inner, path)
    assert same(read_state_dict(path, network), wanted)
    assert networks_in(path) == (network,)


@pytest.mark.parametrize("wrapper", ["released", "bare", "kijai", "kijai short", "kijai module"])
def test_the_three_in_one_file(tmp_path, wrapper):
    wanted = {network: numbers("mlp.0.weight", "mlp.0.bias", "mlp.2.weight") for network in MLPS}
    path = tmp_path / "x"
    if wrapper in ("released", "bare"):
        front = "module." if wrapper == "released" else ""
        nested: dict[str, Any] = {
            outer: OrderedDict((front + k, v) for k, v in wanted[network].items()) for network, outer in MLPS.items()
        }
        torch.save(nested | {"something_else": numbers("module.x"), "step": 7}, path)
    else:
        tail = {"kijai": "_module.", "kijai short": ".", "kijai module": "_module.module."}[wrapper]
        save_file({outer + tail + k: v for n, outer in MLPS.items() for k, v in wanted[n].items()}, path)
    for network in MLPS:
        assert same(read_state_dict(path, network), wanted[network])
    assert networks_in(path) == ("stitching", "retarget_eye", "retarget_lip")


def test_a_bare_mlp_is_identified_by_its_metadata(tmp_path):
    wanted = numbers("mlp.0.weight", "mlp.0.bias")
    save_file(wanted, tmp_path / "a.safetensors", metadata={"network": "retarget_eye"})
    save_file(wanted, tmp_path / "b.safetensors")
    assert networks_in(tmp_path / "a.safetensors") == ("retarget_eye",)
    assert networks_in(tmp_path / "b.safetensors") == ()
    assert same(read_state_dict(tmp_path / "b.safetensors", "stitching"), wanted)


def test_sadtalkers_file_by_prefix_without_the_discriminator(tmp_path, monkeypatch):
    path = tmp_path / "SadTalker.safetensors"
    wanted = {network: numbers(*keys) for network, (_, keys) in PARTS.items()}
    everything = {f"{PARTS[n][0]}.{k}": v for n in PARTS for k, v in wanted[n].items()}
    everything |= numbers("audio2pose.netD_motion.seq.0.weight", "generator.audio2exp.trap", "kp_extractor.x")
    everything |= numbers("audio2pose.netD_motional")  # not the discriminator: exactly netD_motion.* is dropped
    wanted["sadtalker_audio2pose"]["netD_motional"] = everything["audio2pose.netD_motional"]
    save_file(everything, path)
    assert networks_in(path) == tuple(PARTS)
    for network in PARTS:
        assert same(read_state_dict(path, network), wanted[network])


def test_only_the_needed_tensors_are_read(tmp_path, monkeypatch):
    import safetensors

    path, read = tmp_path / "x.safetensors", []
    save_file(numbers("audio2exp.audio_encoder.x", "audio2exp.mapping1.x", "generator.huge"), path)
    real = safetensors.safe_open

    class Watched:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.file = real(*args, **kwargs)
            self.keys, self.metadata = self.file.keys, self.file.metadata

        def get_tensor(self, key: str) -> Any:
            read.append(key)
            return self.file.get_tensor(key)

    monkeypatch.setattr(safetensors, "safe_open", Watched)
    read_state_dict(path, "sadtalker_audio2exp")
    assert sorted(read) == ["audio2exp.audio_encoder.x", "audio2exp.mapping1.x"]


@pytest.mark.parametrize("front", ["mappingnet.", "mappingnet.module."])
def test_lightning_checkpoints(tmp_path, front):
    wanted = numbers(*FLAT["mappingnet"])
    state = {front + k: v for k, v in wanted.items()} | numbers("motion_extractor.detector.fc_exp.weight", "loss.x")
    path = tmp_path / "epoch00003-val_loss0.01.ckpt"
    torch.save(
        {"state_dict": state, "epoch": 3, "hyper_parameters": {"lr": 2e-4}, "optimizer_states": [{"step": 1}]}, path
    )
    assert same(read_state_dict(path, "mappingnet"), wanted)
    assert networks_in(path) == ("mappingnet",)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("deep", [True, False])
def test_pickle_is_refused_and_not_run(tmp_path, zipped, deep):
    path, mark = tmp_path / "evil.pth", tmp_path / "pwned"
    bomb: Any = Bomb(mark)
    torch.save(
        {"state_dict": numbers("detector.fc_exp.w", "detector.fc_kp.w"), "x": [bomb]} if deep else bomb,
        path,
        _use_new_zipfile_serialization=zipped,
    )
    for read in (lambda: read_state_dict(path, "motion_extractor"), lambda: networks_in(path)):
        with pytest.raises(WeightsError, match=r"evil.pth contains pickled Python objects.*nothing in it"):
            read()
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the trap works
    assert mark.exists()


def test_values_other_than_tensors_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    torch.save(numbers(*FLAT["motion_extractor"]) | {"detector.epoch": 3}, path)
    with pytest.raises(WeightsError, match=r"holds a int instead of a tensor under 'detector.epoch'"):
        read_state_dict(path, "motion_extractor")
    torch.save(numbers(*FLAT["motion_extractor"]) | {"detector.x": torch.eye(3).to_sparse()}, path)
    with pytest.raises(WeightsError, match=r"under 'detector.x': it is refused"):
        read_state_dict(path, "motion_extractor")
    for thing in ([1, 2], torch.zeros(2), "text"):
        torch.save(thing, path)
        with pytest.raises(WeightsError, match="not a state dict"):
            read_state_dict(path, "motion_extractor")
    nest: dict[str, Any] = {}
    for _ in range(9):
        nest = {"a": nest}
    torch.save(nest, path)
    with pytest.raises(WeightsError, match="it is not a state dict"):
        read_state_dict(path, "motion_extractor")


def test_another_network_is_named(tmp_path):
    path = tmp_path / "x.pth"
    torch.save(numbers(*FLAT["motion_extractor"]), path)
    with pytest.raises(
        WeightsError, match=r"does not hold the network mappingnet: its keys are 'detector.fc_exp.weight'"
    ):
        read_state_dict(path, "mappingnet")
    with pytest.raises(WeightsError, match=r"no network 'nonsense': the names are appearance_feature_extractor"):
        read_state_dict(path, "nonsense")
    with pytest.raises(WeightsError, match="does not exist"):
        read_state_dict(tmp_path / "gone.pth", "mappingnet")


@pytest.mark.parametrize("kind", ["pth", "old", "safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.01, 0.3, 0.7, 0.999])
def test_truncated_files_are_reported(tmp_path, kind, keep):
    path = tmp_path / f"x.{kind}"
    state = {k: torch.randn(30, 30) for k in FLAT["motion_extractor"]}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(WeightsError, match=rf"x\.{kind} (is (cut short|corrupt|empty|no weights)|holds)"):
        read_state_dict(path, "motion_extractor")


def test_noise_web_pages_and_pointers(tmp_path):
    path = tmp_path / "x.pth"
    for body, said in (
        (b"\x00" * 500, "not a weights file"),
        (b"\xff" * 8 + b"{}", "is corrupt"),
        (b"<html></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00" + b'{"a":{"x":1}}   ', "header cannot be read"),
        (b"\x80\x02" + b"\x00" * 100, "corrupt|pickle"),
        (b"PK\x03\x04" + b"\x00" * 100, "directory cannot be read"),
    ):
        path.write_bytes(body)
        with pytest.raises(WeightsError, match=said):
            read_state_dict(path, "motion_extractor")


def test_compressed_zips_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x00" * 1_000_000)
    with pytest.raises(WeightsError, match="compressed entries"):
        read_state_dict(path, "motion_extractor")


def test_metadata(tmp_path):
    save_file(numbers("a"), tmp_path / "x.safetensors", metadata={"rows": "29"})
    assert file_metadata(tmp_path / "x.safetensors") == {"rows": "29"}
    torch.save(numbers("a"), tmp_path / "x.pth")
    assert file_metadata(tmp_path / "x.pth") == {}
