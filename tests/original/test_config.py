"""The 2024 original's config.yaml: every key is honoured, ignored or refused (docs/method/original.md, Config keys)."""

from __future__ import annotations

import builtins
import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from liveportrait_talker.errors import OptionError, TalkerError, WeightsError
from liveportrait_talker.original.config import INFERENCE, WEIGHT_FILES, InferenceConfig, read_inference
from liveportrait_talker.original.schema import Support
from liveportrait_talker.weights.registry import NETWORKS

EXAMPLE = Path(__file__).parents[2] / "examples" / "config.yaml"
CVAE = "audio2coeff.audio2pose_cfg.cvae_cfg"
HEAD = "lp_render.synthetic_headpose_generation_cfg"
DETECTORS = "preprocess.sadtalker_preprocesser_cfg"

# Key, value in the file, field of InferenceConfig, its value.
HONOURED = [
    ("device", "cuda", "device", "cuda"),
    ("fps", 30, "fps", 30.0),
    ("batch_size", 8, "batch_size", 8),
    ("preprocess.use_blink", False, "blink", False),
    ("audio2coeff.flag_pose", True, "head_from_voice", True),
    ("map2lp.semantic_radius", 20, "semantic_radius", 20),
    ("lp_render.driving_smooth_observation_variance", "1e-6", "observation_variance", 1e-6),
    ("lp_render.driving_multiplier", 1.2, "driving_multiplier", 1.2),
    ("lp_render.flag_use_half_precision", True, "half_precision", True),
]
# Key, the accepted value, a refused value.
FIXED = [
    ("preprocess.speech_rate", 16000, 8000),
    ("preprocess.syncnet_mel_step_size", 16, 5),
    (f"{DETECTORS}.pic_size", 256, 512),
    ("audio2coeff.flag_exp", True, False),
    (f"{CVAE}.seq_len", 32, 16),
    (f"{CVAE}.latent_size", 64, 32),
    (f"{CVAE}.audio_emb_in_size", 512, 256),
    (f"{CVAE}.audio_emb_out_size", 6, 7),
    (f"{CVAE}.encoder_layer_sizes", [192, 128], [128, 192]),
    (f"{CVAE}.decoder_layer_sizes", [128, 192], [192]),
    (f"{CVAE}.num_classes", 46, 1),
    ("map2lp.mappingnet_cfg.coeff_nc", 64, 70),
    ("map2lp.mappingnet_cfg.descriptor_nc", 1024, 512),
    ("map2lp.mappingnet_cfg.layer", 3, 4),
    ("map2lp.mappingnet_cfg.num_kp", 6, 21),
    (f"{HEAD}.window_size", 7, 9),
    (f"{HEAD}.threshold", 0.02, 0.05),
]
WITHOUT_EFFECT = [
    "preprocess.liveportrait_input_shape",
    f"{DETECTORS}.model_path",
    f"{DETECTORS}.lm3d_mat_path",
    "map2lp.mappingnet_cfg.num_bins",
    "lp_render.models_config",
    "lp_render.mask_crop_path",
    "lp_render.lip_array_pkl_path",
]


def write(folder: Path, values: dict[str, Any], **sections: Any) -> Path:
    """Write a config.yaml with these keys in its section `inference`."""
    tree = OmegaConf.create({"inference": {}, **sections})
    for key, value in values.items():
        OmegaConf.update(tree, f"inference.{key}", value, force_add=True)
    path = folder / "config.yaml"
    OmegaConf.save(tree, path)
    return path


def refusal(path: Path) -> str:
    """Return the error message for a file."""
    with pytest.raises(TalkerError) as caught:
        read_inference(path)
    text = str(caught.value)
    assert text.endswith((".", "?")) and "\n" not in text
    return text


def write_text(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_every_key_is_tested():
    rows = [row[0] for row in HONOURED + FIXED] + WITHOUT_EFFECT + list(WEIGHT_FILES)
    assert sorted(rows) == sorted(key.path for key in INFERENCE.keys)
    support = {key.path: key.support for key in INFERENCE.keys}
    assert {support[row[0]] for row in HONOURED} | {support[key] for key in WEIGHT_FILES} == {Support.HONOURED}
    assert {support[row[0]] for row in FIXED} == {Support.FIXED}
    assert {support[key] for key in WITHOUT_EFFECT} == {Support.WITHOUT_EFFECT}


@pytest.mark.parametrize(("key", "value", "field", "found"), HONOURED)
def test_honoured(key, value, field, found, tmp_path):
    changed = read_inference(write(tmp_path, {key: value}))
    plain = read_inference(write(tmp_path, {}))
    assert changed == dataclasses.replace(plain, **{field: found}) != plain


@pytest.mark.parametrize(("key", "only", "other"), FIXED)
def test_fixed(key, only, other, tmp_path):
    assert read_inference(write(tmp_path, {key: only})) == read_inference(write(tmp_path, {}))
    text = refusal(write(tmp_path, {key: other}))
    assert f"inference.{key}" in text and f"is {other}" in text and f"give {only}" in text


@pytest.mark.parametrize("key", WITHOUT_EFFECT)
def test_without_effect(key, tmp_path, caplog):
    plain = read_inference(write(tmp_path, {}))
    assert not caplog.records
    assert read_inference(write(tmp_path, {key: "./somewhere"})) == plain
    assert [key in record.getMessage() for record in caplog.records] == [True]


def test_one_warning_for_all_keys_without_effect(tmp_path, caplog):
    read_inference(write(tmp_path, dict.fromkeys(WITHOUT_EFFECT, 1)))
    assert len(caplog.records) == 1 and caplog.records[0].levelno == logging.WARNING
    assert all(key in caplog.text for key in WITHOUT_EFFECT)


@pytest.mark.parametrize("key", WEIGHT_FILES)
def test_weight_files(key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "weights.pt").touch()
    found = read_inference(write(tmp_path, {key: "./own/weights.pt"})).weights
    assert dict(found) == dict.fromkeys(WEIGHT_FILES[key], Path("own/weights.pt"))
    assert read_inference(write(tmp_path, {key: None})).weights == {}
    for absent in ("./own/nothing.pt", "./own"):
        with pytest.raises(WeightsError) as caught:
            read_inference(write(tmp_path, {key: absent}))
        for word in (key, Path(absent).name, "set the keys to null", "models download --all", "models import DIR"):
            assert word in str(caught.value)


def test_every_network_has_a_weight_file():
    assert sorted(sum(WEIGHT_FILES.values(), ())) == sorted(NETWORKS)


def test_all_missing_weight_files_are_listed(tmp_path):
    text = refusal(write(tmp_path, dict.fromkeys(WEIGHT_FILES, "./nowhere.pt")))
    assert all(key in text for key in WEIGHT_FILES)


@pytest.mark.parametrize("key", [k.path for k in INFERENCE.keys if k.path.startswith("lp_render.")])
def test_keys_in_the_optional_group(key, tmp_path):
    """The keys of `lp_render` may also stand under `liveportrait_cfg`, but not in both places."""
    deeper = key.replace("lp_render.", "lp_render.liveportrait_cfg.")
    row = next((row for row in HONOURED + FIXED if row[0] == key), (key, None))
    assert read_inference(write(tmp_path, {deeper: row[1]})) == read_inference(write(tmp_path, {key: row[1]}))
    assert "the same key" in refusal(write(tmp_path, {key: row[1], deeper: row[1]}))


def test_defaults(tmp_path):
    assert read_inference(write_text(tmp_path, "inference: {fps: null, preprocess: null}")) == InferenceConfig(
        device="auto",
        fps=25.0,
        batch_size=2,
        blink=True,
        head_from_voice=False,
        semantic_radius=None,
        observation_variance=3e-7,
        driving_multiplier=1.0,
        half_precision=False,
        weights={},
    )


def test_the_example_has_the_defaults(tmp_path, caplog):
    assert read_inference(EXAMPLE) == read_inference(write(tmp_path, {}))
    assert not caplog.records
    text = EXAMPLE.read_text()
    for key in INFERENCE.keys:
        assert key.path.rpartition(".")[2] in text


def test_other_sections_are_not_checked(tmp_path):
    others = {"train": {"model_cfg": {"anything": "${nowhere}"}}, "download": None, "threedmm": {"fps": "???"}}
    assert read_inference(write(tmp_path, {"fps": 24}, **others)).fps == 24


@pytest.mark.parametrize("number", ["3e-7", "'3e-7'", "0.0000003", "3.0e-7", "3E-7", "'0.3e-6'"])
def test_numbers_in_any_notation(number, tmp_path):
    text = f"inference: {{lp_render: {{driving_smooth_observation_variance: {number}}}}}"
    assert read_inference(write_text(tmp_path, text)).observation_variance == 3e-7


def test_interpolations(tmp_path, monkeypatch):
    monkeypatch.setenv("LPT_TEST_DEVICE", "cpu")
    monkeypatch.setenv("LPT_TEST_BLINK", "False")
    (tmp_path / "a.pt").touch()
    text = (
        f"train: {{folder: {tmp_path}, model_cfg: {{batch_size: 3}}}}\n"
        "inference:\n  device: ${oc.env:LPT_TEST_DEVICE}\n  batch_size: ${train.model_cfg.batch_size}\n"
        "  preprocess: {use_blink: '${oc.env:LPT_TEST_BLINK}'}\n"
        "  map2lp: {mappingnet_model_path: '${train.folder}/a.pt'}\n"
    )
    found = read_inference(write_text(tmp_path, text))
    assert (found.device, found.batch_size, found.blink) == ("cpu", 3, False)
    assert found.weights == {"mappingnet": tmp_path / "a.pt"}


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("device", 3, "a text"),
        ("device", "", "a text"),
        ("fps", "fast", "a number"),
        ("fps", True, "a number"),
        ("fps", "nan", "a number"),
        ("fps", [25], "a number"),
        ("batch_size", 2.5, "a whole number"),
        ("batch_size", "inf", "a whole number"),
        ("preprocess.use_blink", 1, "true or false"),
        ("preprocess.use_blink", "maybe", "true or false"),
        ("map2lp.mappingnet_model_path", ["a"], "a text"),
        ("map2lp.semantic_radius", {"a": 1}, "a whole number"),
        (f"{CVAE}.encoder_layer_sizes", 192, "a list of whole numbers"),
        (f"{CVAE}.encoder_layer_sizes", ["a"], "a list of whole numbers"),
        ("preprocess", 3, "keys of its own"),
    ],
)
def test_wrong_types(key, value, wanted, tmp_path):
    text = refusal(write(tmp_path, {key: value}))
    assert f"inference.{key} in config.yaml must " in text and wanted in text


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("fsp", "inference.fps"),
        ("preprocess.use_blinks", "inference.preprocess.use_blink"),
        ("use_blink", "inference.preprocess.use_blink"),
        ("lp_render.checkpoint_f", "inference.lp_render.checkpoint_F"),
        ("lp_render.liveportrait_cfg.driving_multiplyer", "inference.lp_render.driving_multiplier"),
        ("map2lp.mappingnet_config.coeff_nc", "inference.map2lp.mappingnet_cfg"),
        ("zzz", None),
    ],
)
def test_unknown_keys(key, meant, tmp_path):
    text = refusal(write(tmp_path, {key: 1}))
    assert "unknown key" in text and f"inference.{key.removesuffix('.coeff_nc')}" in text
    assert (f"did you mean {meant}?" in text) if meant else "did you mean" not in text


def test_unknown_sections(tmp_path):
    assert "inferance; did you mean inference?" in refusal(write_text(tmp_path, "inferance: {fps: 25}"))
    assert "unknown section, 3" in refusal(write_text(tmp_path, "3: {fps: 25}"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no section inference"),
        ("train: {}", "no section inference"),
        ("inference:", "no section inference"),
        ("inference: 25", "must be a section"),
        ("inference: [fps]", "must be a section"),
        ("[1, 2]", "no configuration"),
        ("25", "no configuration"),
        ("inference: {fps: 25", "not valid YAML, line"),
        ("inference: {fps: 25, fps: 30}", "duplicate key fps"),
        ("inference: !!python/object/apply:os.system [ls]", "not valid YAML, line 1"),
        ("inference: {fps: '${nowhere.fps}'}", "inference.fps: Interpolation key 'nowhere.fps' not found"),
        ("inference: {fps: '???'}", "inference.fps: Missing mandatory value"),
        ("inference: {fps: '${'}", "inference.fps"),
        ("inference: {1: 2}", "unknown key, inference.1"),
        (b"inference: \xff\xfe", "UTF-8"),
        ("inference: \x00", "not valid YAML"),
    ],
)
def test_invalid_files(text, message, tmp_path):
    assert message in refusal(write_text(tmp_path, text))


def test_unreadable_files(tmp_path):
    assert f"there is no file {tmp_path / 'nothing.yaml'}" in refusal(tmp_path / "nothing.yaml")
    assert "cannot be read" in refusal(tmp_path)


def test_byte_order_mark(tmp_path):
    assert read_inference(write_text(tmp_path, "\ufeffinference: {fps: 24}")).fps == 24


def test_missing_omegaconf(monkeypatch):
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("omegaconf"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OptionError, match="pip install omegaconf"):
        read_inference(EXAMPLE)


@pytest.mark.parametrize(
    "text",
    [
        "inference: " + "[" * 100_000,
        "inference: " + "- " * 10_000,
        "inference:\n  seed: " + "9" * 5000,
        'inference:\n  output_dir: "a\\0b"',
        "inference: &a\n  b: *a",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
    ],
    ids=["deep", "deep blocks", "long number", "null byte", "recursive", "expanding"],
)
def test_hostile_files_are_refused(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(OptionError, match=r"config\.yaml"):
        read_inference(path)
