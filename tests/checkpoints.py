"""Checkpoints with synthetic weights in the formats and folders of the released ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from parity import MLP_KEYS, maker, manifest, synthetic_weights

FLAT = ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator")
PARTS = {
    "audio2exp": "sadtalker_audio2exp",
    "audio2pose": "sadtalker_audio2pose",
    "face_3drecon": "sadtalker_face_3drecon",
}


def write_released(folder: Path, salt: str = "") -> Path:
    """Write the seven files to `folder`, and return it."""
    import torch
    from safetensors.torch import save_file

    def tensors(arrays: dict[str, Any]) -> dict[str, Any]:
        return {key: torch.from_numpy(value.copy()) for key, value in arrays.items()}

    base, retargeting, sadtalker = (
        folder / name for name in ("liveportrait/base_models", "liveportrait/retargeting_models", "sadtalker")
    )
    for place in (base, retargeting, sadtalker):
        place.mkdir(parents=True)
    for name in FLAT:
        torch.save(tensors(synthetic_weights(name, salt)), base / f"{name}.pth")
    nested = maker().synthetic_state_dict(manifest("stitching_retargeting_module"), salt)
    assert set(nested) >= set(MLP_KEYS.values())
    torch.save(
        {part: tensors(inner) for part, inner in nested.items()}, retargeting / "stitching_retargeting_module.pth"
    )
    flat = {}
    for part, name in PARTS.items():
        flat |= {f"{part}.{key}": value for key, value in tensors(synthetic_weights(name, salt)).items()}
    discriminator = maker().synthetic_state_dict(manifest("sadtalker_audio2pose_discriminator"), salt)
    flat |= {f"audio2pose.{key}": value for key, value in tensors(discriminator).items()}
    save_file(flat, sadtalker / "SadTalker_V0.0.2_256.safetensors")
    torch.save(tensors(synthetic_weights("mappingnet", salt)), folder / "mappingnet_basic_64inp_onlylip.pt")
    return folder
