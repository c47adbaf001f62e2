"""Reading the state dict of one network from a checkpoint file. Tensors only, no other pickled objects.

Layouts (docs/method/liveportrait.md, Weights; docs/method/sadtalker.md, Weights): a flat state dict; one under
`state_dict` (Lightning; the MappingNet's keys then begin with `mappingnet.`); a dict of state dicts with `module.` in
front of each key; the same flattened (`retarget_shoulder_module.mlp.0.weight`); SadTalker's file, with a prefix for
each network.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from .integrity import structure_error
from .registry import NETWORKS

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".pth", ".pt", ".ckpt", ".tar", ".bin", ".safetensors")
_MAX_DEPTH = 4  # of nested dicts


@dataclass(frozen=True)
class _Layout:
    """Keys of a network in a checkpoint."""

    prefixes: tuple[str, ...]
    """Tried in turn."""
    required: tuple[str, ...]
    """The network is present where keys begin with each of these."""
    drop: tuple[str, ...] = ()
    """Keys that begin with these are ignored."""


_BARE = ("",)
_LAYOUTS: dict[str, _Layout] = {
    "appearance_feature_extractor": _Layout(_BARE, ("first.conv.", "down_blocks.", "second.", "resblocks_3d.")),
    "motion_extractor": _Layout(_BARE, ("detector.fc_exp.", "detector.fc_kp.")),
    "warping_module": _Layout(_BARE, ("dense_motion_network.mask.",)),
    "spade_generator": _Layout(_BARE, ("G_middle_0.",)),
    "stitching": _Layout(("retarget_shoulder_module.", "retarget_shoulder.", ""), ("mlp.0.",)),
    "retarget_eye": _Layout(("retarget_eye_module.", "retarget_eye.", ""), ("mlp.0.",)),
    "retarget_lip": _Layout(("retarget_mouth_module.", "retarget_mouth.", ""), ("mlp.0.",)),
    "sadtalker_audio2exp": _Layout(("audio2exp.", ""), ("audio_encoder.", "mapping1.")),
    # The file also holds the discriminator used in training.
    "sadtalker_audio2pose": _Layout(("audio2pose.", ""), ("audio_encoder.", "netG."), drop=("netD_motion.",)),
    "sadtalker_face_3drecon": _Layout(("face_3drecon.", ""), ("backbone.", "final_layers.")),
    "mappingnet": _Layout(("mappingnet.", ""), ("first.0.", "fc_exp.")),
}
# These three have the same keys: without a prefix, only the file's `network` metadata distinguishes them.
_AMBIGUOUS = ("stitching", "retarget_eye", "retarget_lip")


def read_state_dict(path: str | Path, network: str) -> dict[str, Tensor]:
    """Return the state dict of `network` from a checkpoint file, on the CPU, memory-mapped where possible.

    Of a safetensors file only the network's own tensors are read. Load the result with `strict=True`.

    Raises:
        WeightsError: the file cannot be read, is corrupt, needs pickle or does not hold the network.
    """
    layout = _layout(network)
    file = _open(Path(path))
    keys = _find_keys(file.keys, layout)
    if keys is None:
        some = ", ".join(sorted(file.keys)[:3]) or "none"
        raise WeightsError(f"{path} does not hold the network {network}: its keys are {some}, ….")
    return {bare: _check_tensor(file.tensor(key), key, path) for bare, key in keys.items()}


def networks_in(path: str | Path) -> tuple[str, ...]:
    """Return the networks in a checkpoint file, by its `network` metadata, else by its keys.

    Raises:
        WeightsError: the file cannot be read, is corrupt or needs pickle.
    """
    file = _open(Path(path))
    stated = file.metadata.get("network")
    if stated in NETWORKS:
        return (stated,)
    found = []
    for network in NETWORKS:
        layout = _layout(network)
        if network in _AMBIGUOUS:
            layout = _Layout(layout.prefixes[:-1], layout.required)
        if _find_keys(file.keys, layout) is not None:
            found.append(network)
    return tuple(found)


def file_metadata(path: str | Path) -> dict[str, str]:
    """Return a safetensors file's metadata; an empty dict for other formats. Raises WeightsError as reading does."""
    return dict(_open_safetensors(Path(path)).metadata) if _is_safetensors(Path(path)) else {}


@dataclass(frozen=True)
class _Checkpoint:
    keys: tuple[str, ...]
    tensor: Callable[[str], Any]
    metadata: Mapping[str, str]


def _layout(network: str) -> _Layout:
    if network not in _LAYOUTS:
        raise WeightsError(f"there is no network {network!r}: the names are {', '.join(NETWORKS)}.")
    return _LAYOUTS[network]


def _find_keys(keys: tuple[str, ...], layout: _Layout) -> dict[str, str] | None:
    """Return key without prefix → key in the file, None where the network is absent."""
    for prefix in layout.prefixes:
        found = {key[len(prefix) :]: key for key in keys if key.startswith(prefix)}
        if found and all(bare.startswith("module.") for bare in found):  # of nn.DataParallel
            found = {bare[len("module.") :]: key for bare, key in found.items()}
        if layout.drop:
            found = {bare: key for bare, key in found.items() if not bare.startswith(layout.drop)}
        if all(any(bare.startswith(start) for bare in found) for start in layout.required):
            return found
    return None


def _open(path: Path) -> _Checkpoint:
    if not path.is_file():
        raise WeightsError(f"{path} does not exist or is not a file.")
    if error := structure_error(path):
        raise WeightsError(f"{path} {error}: get it again.")
    return _open_safetensors(path) if _is_safetensors(path) else _open_torch(path)


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"  # after the header's length


def _open_safetensors(path: Path) -> _Checkpoint:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise _missing_library("safetensors") from error
    try:
        file: Any = safe_open(path, framework="pt", device="cpu")
        return _Checkpoint(tuple(file.keys()), file.get_tensor, file.metadata() or {})
    except ImportError as error:
        raise _missing_library("torch") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is corrupt, it cannot be read as safetensors: get it again.") from error


def _open_torch(path: Path) -> _Checkpoint:
    try:
        import torch
    except ImportError as error:
        raise _missing_library("torch") from error
    try:
        # Files from before PyTorch 1.6 are not zip files and cannot be memory-mapped.
        content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except MemoryError:
        raise
    except Exception as error:  # the exceptions of torch.load are not documented
        damage = structure_error(path, deep=True)
        if damage is None and ("weights_only" in str(error) or "Unpickling" in type(error).__name__):
            raise WeightsError(
                f"{path} contains pickled Python objects, which could run arbitrary code: it was refused and nothing "
                "in it was run; save its tensors with safetensors and use that file."
            ) from error
        raise WeightsError(f"{path} {damage or 'is corrupt, PyTorch cannot read it'}: get it again.") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not a state dict: save `module.state_dict()`.")
    flat: dict[str, Any] = {}
    _flatten(content, "", flat, path)
    return _Checkpoint(tuple(flat), flat.__getitem__, {})


def _flatten(nested: Mapping[Any, Any], prefix: str, flat: dict[str, Any], path: Path, depth: int = 0) -> None:
    if depth > _MAX_DEPTH:
        raise WeightsError(f"{path} nests dicts more than {_MAX_DEPTH} levels deep: it is not a state dict.")
    for key, value in nested.items():
        if isinstance(value, Mapping):
            _flatten(value, f"{prefix}{key}.", flat, path, depth + 1)
        else:
            flat[f"{prefix}{key}"] = value


def _check_tensor(value: Any, key: str, path: str | Path) -> Tensor:
    import torch

    if not isinstance(value, torch.Tensor):
        raise WeightsError(f"{path} holds a {type(value).__name__} instead of a tensor under {key!r}: it is refused.")
    if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
        raise WeightsError(f"{path} holds a sparse, quantised or meta tensor under {key!r}: it is refused.")
    return value.detach()


def _missing_library(name: str) -> WeightsError:
    return WeightsError(f"reading weights needs {name}: pip install 'liveportrait-talker[neural]'.")
