"""Stand-ins for the released files: every key of the manifests, with small tensors, in the released formats."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shared import SHARED

PLACES = (
    Path(os.environ.get("LPT_FIXTURES", "nowhere")) / "manifests",
    Path(__file__).parents[1] / "goldens" / "manifests",
    SHARED / "fixtures" / "manifests",
)
FLAT = ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator")
PARTS = ("audio2exp", "audio2pose", "face_3drecon")


def manifest(name: str) -> dict[str, Any]:
    for place in PLACES:
        if (place / f"{name}.json").is_file():
            return json.loads((place / f"{name}.json").read_text())
    pytest.skip("the manifests are neither in LPT_FIXTURES nor beside this checkout")


def tensors(shapes: dict[str, Any], seed: int = 0, largest: int = 3) -> dict[str, Any]:
    """Random tensors for a manifest, each side at most `largest`."""
    import torch

    torch.manual_seed(seed)

    def one(key: str, shape: Any) -> Any:
        if isinstance(shape, dict):
            return {k: one(k, s) for k, s in shape.items()}
        if key.endswith("num_batches_tracked"):
            return torch.tensor(seed)
        return torch.randn([min(side, largest) for side in shape])

    return {key: one(key, shape) for key, shape in shapes.items()}


def write_all(folder: Path) -> dict[str, dict[str, Any]]:
    """All seven files in the released layout. Returns network → what loading it must give."""
    import torch
    from safetensors.torch import save_file

    wanted: dict[str, dict[str, Any]] = {}
    base, retargeting = folder / "liveportrait" / "base_models", folder / "liveportrait" / "retargeting_models"
    base.mkdir(parents=True)
    retargeting.mkdir(parents=True)
    for number, name in enumerate(FLAT):
        wanted[name] = tensors(manifest(name), number)
        torch.save(wanted[name], base / f"{name}.pth")
    nested = tensors(manifest("stitching_retargeting_module"), 5)
    nested["retarget_brow"] = {"module.mlp.0.weight": torch.zeros(2)}  # the released file has more than we need
    torch.save(nested, retargeting / "stitching_retargeting_module.pth")
    for outer, network in (
        ("retarget_shoulder", "stitching"),
        ("retarget_eye", "retarget_eye"),
        ("retarget_mouth", "retarget_lip"),
    ):
        wanted[network] = {k.removeprefix("module."): v for k, v in nested[outer].items()}
    sadtalker: dict[str, Any] = {"generator.first.conv.weight": torch.zeros(3), "kp_extractor.x": torch.zeros(3)}
    for number, part in enumerate(PARTS):
        wanted[f"sadtalker_{part}"] = tensors(manifest(f"sadtalker_{part}"), 10 + number)
        sadtalker |= {f"{part}.{k}": v for k, v in wanted[f"sadtalker_{part}"].items()}
    discriminator = tensors(manifest("sadtalker_audio2pose_discriminator"), 20)
    sadtalker |= {f"audio2pose.{k}": v for k, v in discriminator.items()}
    (folder / "sadtalker").mkdir()
    save_file(sadtalker, folder / "sadtalker" / "SadTalker_V0.0.2_256.safetensors")
    wanted["mappingnet"] = tensors(manifest("mappingnet"), 30)
    torch.save(wanted["mappingnet"], folder / "mappingnet_basic_64inp_onlylip.pt")
    return wanted


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """The same keys and the very same numbers and types."""
    import torch

    return left.keys() == right.keys() and all(
        left[k].dtype == right[k].dtype and torch.equal(left[k], right[k]) for k in left
    )
