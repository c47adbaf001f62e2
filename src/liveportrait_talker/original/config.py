"""What becomes of every key of the original's config.yaml (spec talker.md §14.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from .schema import Kind, Section, fixed, honoured, read_section, without_effect

SECTIONS = ("inference", "train", "download", "threedmm")
"""A compatible file has them all; each command reads its own."""

_SIZES = "the released networks have this one size"

INFERENCE = Section(
    "inference",
    (
        honoured("device", Kind.TEXT, "auto"),  # the original's default, mps, is few machines' (defect 58)
        honoured("fps", Kind.NUMBER, 25.0),
        honoured("batch_size", Kind.WHOLE, 2),
        honoured("sadtalker_checkpoint_path", Kind.TEXT, None),
        honoured("preprocess.use_blink", Kind.FLAG, True),
        fixed("preprocess.speech_rate", Kind.WHOLE, 16000, "the networks hear 16 000 samples a second"),
        fixed("preprocess.syncnet_mel_step_size", Kind.WHOLE, 16, "the networks hear 16 rows at a time"),
        without_effect("preprocess.liveportrait_input_shape"),
        fixed("preprocess.sadtalker_preprocesser_cfg.pic_size", Kind.WHOLE, 256, "the networks see 256 px"),
        without_effect("preprocess.sadtalker_preprocesser_cfg.model_path"),
        without_effect("preprocess.sadtalker_preprocesser_cfg.lm3d_mat_path"),
        fixed("audio2coeff.flag_exp", Kind.FLAG, True, "without expression no mouth moves"),
        honoured("audio2coeff.flag_pose", Kind.FLAG, False),
        fixed("audio2coeff.audio2pose_cfg.cvae_cfg.seq_len", Kind.WHOLE, 32, _SIZES),
        fixed("audio2coeff.audio2pose_cfg.cvae_cfg.latent_size", Kind.WHOLE, 64, _SIZES),
        fixed("audio2coeff.audio2pose_cfg.cvae_cfg.audio_emb_in_size", Kind.WHOLE, 512, _SIZES),
        fixed("audio2coeff.audio2pose_cfg.cvae_cfg.audio_emb_out_size", Kind.WHOLE, 6, _SIZES),
        fixed("audio2coeff.audio2pose_cfg.cvae_cfg.encoder_layer_sizes", Kind.SIZES, [192, 128], _SIZES),
        fixed("audio2coeff.audio2pose_cfg.cvae_cfg.decoder_layer_sizes", Kind.SIZES, [128, 192], _SIZES),
        fixed("audio2coeff.audio2pose_cfg.cvae_cfg.num_classes", Kind.WHOLE, 46, _SIZES),
        honoured("map2lp.semantic_radius", Kind.WHOLE, None),  # else what the weights say
        honoured("map2lp.mappingnet_model_path", Kind.TEXT, None),
        fixed("map2lp.mappingnet_cfg.coeff_nc", Kind.WHOLE, 64, _SIZES),
        fixed("map2lp.mappingnet_cfg.descriptor_nc", Kind.WHOLE, 1024, _SIZES),
        fixed("map2lp.mappingnet_cfg.layer", Kind.WHOLE, 3, _SIZES),
        fixed("map2lp.mappingnet_cfg.num_kp", Kind.WHOLE, 6, _SIZES),
        without_effect("map2lp.mappingnet_cfg.num_bins"),
        honoured("lp_render.driving_smooth_observation_variance", Kind.NUMBER, 3e-7),
        without_effect("lp_render.models_config"),
        honoured("lp_render.checkpoint_F", Kind.TEXT, None),
        honoured("lp_render.checkpoint_M", Kind.TEXT, None),
        honoured("lp_render.checkpoint_W", Kind.TEXT, None),
        honoured("lp_render.checkpoint_G", Kind.TEXT, None),
        honoured("lp_render.checkpoint_S", Kind.TEXT, None),
        honoured("lp_render.flag_use_half_precision", Kind.FLAG, False),
        without_effect("lp_render.mask_crop_path"),
        without_effect("lp_render.lip_array_pkl_path"),
        honoured("lp_render.driving_multiplier", Kind.NUMBER, 1.0),
        fixed(
            "lp_render.synthetic_headpose_generation_cfg.window_size",
            Kind.WHOLE,
            7,
            "the head's gate averages over 0.28 s, seven frames of 25 a second",
        ),
        fixed(
            "lp_render.synthetic_headpose_generation_cfg.threshold",
            Kind.NUMBER,
            0.02,
            "the head's gate opens at 0.02 of the lips' range",
        ),
    ),
    open_folders=("lp_render.liveportrait_cfg",),
)

# The networks in each weight file.
WEIGHT_FILES: Mapping[str, tuple[str, ...]] = {
    "sadtalker_checkpoint_path": ("sadtalker_audio2exp", "sadtalker_audio2pose", "sadtalker_face_3drecon"),
    "map2lp.mappingnet_model_path": ("mappingnet",),
    "lp_render.checkpoint_F": ("appearance_feature_extractor",),
    "lp_render.checkpoint_M": ("motion_extractor",),
    "lp_render.checkpoint_W": ("warping_module",),
    "lp_render.checkpoint_G": ("spade_generator",),
    "lp_render.checkpoint_S": ("stitching", "retarget_eye", "retarget_lip"),
}


@dataclass(frozen=True)
class InferenceConfig:
    """The section `inference` of a config.yaml, in our terms.

    `weights` maps the name of a network to the file that the configuration names for it; a network that is not in it
    comes from the installed weights.
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
    """The section `inference` of the file `path`; a relative path in it counts from the working directory.

    Raises:
        OptionError: the file cannot be read, or a key is unknown, of a wrong type, or has a value this software lacks.
        WeightsError: a weight file that it names does not exist.
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
        weights=_weights(values, path.name),
    )


def _weights(values: Mapping[str, Any], file_name: str) -> dict[str, Path]:
    named = {key: Path(values[key]) for key in WEIGHT_FILES if values[key] is not None}
    missing = [f"{INFERENCE.name}.{key} ({file})" for key, file in named.items() if not file.is_file()]
    if missing:
        several = len(missing) > 1
        raise WeightsError(
            f"{file_name} names {'files that do' if several else 'a file that does'} not exist: {', '.join(missing)}; "
            f"put {'them' if several else 'it'} there, or set {'these keys' if several else 'the key'} to null and run "
            "`liveportrait-talker models download --all` (or `models import DIR`)."
        )
    return {network: file for key, file in named.items() for network in WEIGHT_FILES[key]}
