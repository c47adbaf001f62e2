"""The keys of the original's config.yaml and their support (docs/method/original.md, Config keys)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from .schema import Key, Kind, Section, fixed, honoured, read_section, without_effect

SECTIONS = ("inference", "train", "download", "threedmm")
_SIZES = "the released networks have this size only"
_CVAE = "audio2coeff.audio2pose_cfg.cvae_cfg"
_DETECTORS = "preprocess.sadtalker_preprocesser_cfg"
_HEAD = "lp_render.synthetic_headpose_generation_cfg"
_PIC_SIZE = "the networks take images of 256 px"
_RATE = "coefficients have 25 rows a second"


def _mappingnet(group: str) -> tuple[Key, ...]:
    sizes = {"coeff_nc": 64, "descriptor_nc": 1024, "layer": 3, "num_kp": 6}
    keys = (fixed(f"{group}.{name}", Kind.INTEGER, size, _SIZES) for name, size in sizes.items())
    return (*keys, without_effect(f"{group}.num_bins"))


INFERENCE = Section(
    "inference",
    (
        honoured("device", Kind.TEXT, "auto"),  # the original's default is mps (docs/earlier_systems.md, defect 58)
        honoured("fps", Kind.NUMBER, 25.0),
        honoured("batch_size", Kind.INTEGER, 2),
        honoured("sadtalker_checkpoint_path", Kind.TEXT, None),
        honoured("preprocess.use_blink", Kind.FLAG, True),
        fixed("preprocess.speech_rate", Kind.INTEGER, 16000, "the networks take audio at 16 kHz"),
        fixed("preprocess.syncnet_mel_step_size", Kind.INTEGER, 16, "the networks take windows of 16 mel frames"),
        without_effect("preprocess.liveportrait_input_shape"),
        fixed(f"{_DETECTORS}.pic_size", Kind.INTEGER, 256, _PIC_SIZE),
        without_effect(f"{_DETECTORS}.model_path"),
        without_effect(f"{_DETECTORS}.lm3d_mat_path"),
        fixed("audio2coeff.flag_exp", Kind.FLAG, True, "without expression coefficients the mouth does not move"),
        honoured("audio2coeff.flag_pose", Kind.FLAG, False),
        fixed(f"{_CVAE}.seq_len", Kind.INTEGER, 32, _SIZES),
        fixed(f"{_CVAE}.latent_size", Kind.INTEGER, 64, _SIZES),
        fixed(f"{_CVAE}.audio_emb_in_size", Kind.INTEGER, 512, _SIZES),
        fixed(f"{_CVAE}.audio_emb_out_size", Kind.INTEGER, 6, _SIZES),
        fixed(f"{_CVAE}.encoder_layer_sizes", Kind.SIZES, [192, 128], _SIZES),
        fixed(f"{_CVAE}.decoder_layer_sizes", Kind.SIZES, [128, 192], _SIZES),
        fixed(f"{_CVAE}.num_classes", Kind.INTEGER, 46, _SIZES),
        honoured("map2lp.semantic_radius", Kind.INTEGER, None),  # None: stated by the weights
        honoured("map2lp.mappingnet_model_path", Kind.TEXT, None),
        *_mappingnet("map2lp.mappingnet_cfg"),
        honoured("lp_render.driving_smooth_observation_variance", Kind.NUMBER, 3e-7),
        without_effect("lp_render.models_config"),
        *(honoured(f"lp_render.checkpoint_{network}", Kind.TEXT, None) for network in "FMWGS"),
        honoured("lp_render.flag_use_half_precision", Kind.FLAG, False),
        without_effect("lp_render.mask_crop_path"),
        without_effect("lp_render.lip_array_pkl_path"),
        honoured("lp_render.driving_multiplier", Kind.NUMBER, 1.0),
        fixed(f"{_HEAD}.window_size", Kind.INTEGER, 7, "the gate of the head motion averages over 0.28 s"),
        fixed(f"{_HEAD}.threshold", Kind.NUMBER, 0.02, "the gate of the head motion has a fixed threshold"),
    ),
    optional_groups=("lp_render.liveportrait_cfg",),
)
TRAIN = Section(
    "train",
    (
        honoured("checkpoint_save_path", Kind.TEXT, "/mnt/ckpts"),
        without_effect("logging_save_path"),  # logs are written beside the checkpoints
        honoured("device", Kind.TEXT, "auto"),
        honoured("batch_size", Kind.INTEGER, 64),
        honoured("num_workers", Kind.INTEGER, 0),
        honoured("learning_rate", Kind.NUMBER, 2e-4),
        honoured("train_dataset_folder_path", Kind.TEXT, "/mnt/train"),
        without_effect("val_dataset_folder_path"),  # the data set is split by speaker
        honoured("dataset_cfg.semantic_radius", Kind.INTEGER, 14),
        fixed("dataset_cfg.input_size", Kind.INTEGER, 256, "the motion extractor takes images of 256 px"),
        # Targets are extracted before training.
        without_effect("motionextraction_cfg.models_config_path"),
        without_effect("motionextraction_cfg.motion_extractor_checkpoint_path"),
        *_mappingnet("mappingnet_cfg"),
        fixed("loss_cfg.reduction", Kind.TEXT, "mean", "a sum would depend on the batch size"),
    ),
    optional_groups=("model_cfg",),
)
DOWNLOAD = Section(
    "download",
    (
        fixed("target_fps", Kind.NUMBER, 25.0, _RATE),
        honoured("dataset_folder_path", Kind.TEXT, "/mnt/train"),
        honoured("raw_folder_path", Kind.TEXT, "/mnt/raw_train"),
    ),
)
THREEDMM = Section(
    "threedmm",
    (
        honoured("device", Kind.TEXT, "auto"),
        fixed("fps", Kind.NUMBER, 25.0, _RATE),
        honoured("batch_size", Kind.INTEGER, 28),
        honoured("dataset_folder_path", Kind.TEXT, "/mnt/train"),
        honoured("raw_folder_path", Kind.TEXT, "/mnt/raw_train"),
        honoured("sadtalker_checkpoint_path", Kind.TEXT, None),
        honoured("motion_extractor_checkpoint_path", Kind.TEXT, None),  # not in the original
        fixed("preprocesser_cfg.pic_size", Kind.INTEGER, 256, _PIC_SIZE),
        without_effect("preprocesser_cfg.model_path"),
        without_effect("preprocesser_cfg.frontality_threshold"),
        without_effect("preprocesser_cfg.lm3d_mat_path"),
    ),
)

WEIGHT_FILES: Mapping[str, tuple[str, ...]] = {
    "sadtalker_checkpoint_path": ("sadtalker_audio2exp", "sadtalker_audio2pose", "sadtalker_face_3drecon"),
    "map2lp.mappingnet_model_path": ("mappingnet",),
    "lp_render.checkpoint_F": ("appearance_feature_extractor",),
    "lp_render.checkpoint_M": ("motion_extractor",),
    "lp_render.checkpoint_W": ("warping_module",),
    "lp_render.checkpoint_G": ("spade_generator",),
    "lp_render.checkpoint_S": ("stitching", "retarget_eye", "retarget_lip"),
}
"""Names of the networks in each weight file."""


@dataclass(frozen=True)
class InferenceConfig:
    """The section `inference`.

    `weights` maps network names to the files that the configuration gives; other networks use the installed weights.
    """

    device: str
    fps: float
    batch_size: int
    blink: bool
    head_from_voice: bool
    semantic_radius: int | None
    observation_variance: float
    driving_multiplier: float
    half_precision: bool
    weights: Mapping[str, Path]


def read_inference(path: Path) -> InferenceConfig:
    """Read the section `inference` of a file; relative paths in it are relative to the working directory.

    Raises:
        OptionError: the file cannot be read, or a key is unknown, has a wrong type or an unsupported value.
        WeightsError: a weight file does not exist.
    """
    values = read_section(path, INFERENCE, SECTIONS)
    return InferenceConfig(
        device=values["device"],
        fps=values["fps"],
        batch_size=values["batch_size"],
        blink=values["preprocess.use_blink"],
        head_from_voice=values["audio2coeff.flag_pose"],
        semantic_radius=values["map2lp.semantic_radius"],
        observation_variance=values["lp_render.driving_smooth_observation_variance"],
        driving_multiplier=values["lp_render.driving_multiplier"],
        half_precision=values["lp_render.flag_use_half_precision"],
        weights=_find_weights(values, path.name),
    )


def _find_weights(values: Mapping[str, Any], file_name: str) -> dict[str, Path]:
    files = {key: Path(values[key]) for key in WEIGHT_FILES if values[key] is not None}
    missing = [f"{INFERENCE.name}.{key} ({file})" for key, file in files.items() if not file.is_file()]
    if missing:
        raise WeightsError(
            f"weight files given in {file_name} do not exist: {', '.join(missing)}; correct the paths, or set the keys "
            "to null and run `liveportrait-talker models download --all` (or `models import DIR`)."
        )
    return {network: file for key, file in files.items() for network in WEIGHT_FILES[key]}
