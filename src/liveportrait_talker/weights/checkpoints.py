"""Foreign wrappers, all of them: a checkpoint file → the bare state dict of one network. Tensors only, never pickle.

Known layouts (LivePortrait spec, section 2; talker spec, section 3): a flat state dict; one under `state_dict`
(Lightning; our MappingNet's keys then begin with `mappingnet.`); dicts by part with `module.` in front of each key; the
same flattened (`retarget_shoulder_module.mlp.0.weight`); SadTalker's file, its parts told by prefix.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from .integrity import structure_trouble
from .registry import NETWORKS

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".pth", ".pt", ".ckpt", ".tar", ".bin", ".safetensors")
_DEEPEST = 4  # dicts in dicts


@dataclass(frozen=True)
class _Layout:
    """Where a network's tensors are: the prefixes to try, keys that tell it (beginnings), and what to leave out."""

    prefixes: tuple[str, ...]
    signs: tuple[str, ...]
    drop: tuple[str, ...] = ()


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
    # The discriminator of its training is in the file and of no use: strict once exactly that is left out.
    "sadtalker_audio2pose": _Layout(("audio2pose.", ""), ("audio_encoder.", "netG."), drop=("netD_motion.",)),
    "sadtalker_face_3drecon": _Layout(("face_3drecon.", ""), ("backbone.", "final_layers.")),
    "mappingnet": _Layout(("mappingnet.", ""), ("first.0.", "fc_exp.")),
}
# Three networks look alike without their part's name: a file that holds one bare tells which in its metadata.
_AMBIGUOUS = ("stitching", "retarget_eye", "retarget_lip")


def read_state_dict(path: str | Path, network: str) -> dict[str, Tensor]:
    """The tensors of `network` in a checkpoint file, by their bare keys, on the CPU and memory-mapped where possible.

    Of a safetensors file only the network's own tensors are read. The caller loads them strictly.

    Raises:
        WeightsError: the file cannot be read, is corrupt, needs pickle or does not hold the network.
    """
    layout = _layout(network)
    file = _open(Path(path))
    chosen = _choose(file.keys, layout)
    if chosen is None:
        some = ", ".join(sorted(file.keys)[:3]) or "none"
        raise WeightsError(f"{path} does not hold the network {network}: its keys are {some}, ….")
    return {bare: _checked(file.tensor(key), key, path) for bare, key in chosen.items()}


def networks_in(path: str | Path) -> tuple[str, ...]:
    """The networks that a checkpoint file holds, told by its keys; a bare single one also by its `network` metadata.

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
            layout = _Layout(layout.prefixes[:-1], layout.signs)
        if _choose(file.keys, layout) is not None:
            found.append(network)
    return tuple(found)


def file_metadata(path: str | Path) -> dict[str, str]:
    """The texts a safetensors file says of itself; nothing for other formats. Raises WeightsError as reading does."""
    return dict(_open_safetensors(Path(path)).metadata) if _is_safetensors(Path(path)) else {}


@dataclass(frozen=True)
class _Opened:
    keys: tuple[str, ...]
    tensor: Callable[[str], Any]
    metadata: Mapping[str, str]


def _layout(network: str) -> _Layout:
    if network not in _LAYOUTS:
        raise WeightsError(f"there is no network {network!r}: the names are {', '.join(NETWORKS)}.")
    return _LAYOUTS[network]


def _choose(keys: Iterable[str], layout: _Layout) -> dict[str, str] | None:
    """Bare key → key in the file, None where the network is not there."""
    keys = tuple(keys)
    for prefix in layout.prefixes:
        chosen = {key[len(prefix) :]: key for key in keys if key.startswith(prefix)}
        if chosen and all(bare.startswith("module.") for bare in chosen):  # nn.DataParallel's
            chosen = {bare[len("module.") :]: key for bare, key in chosen.items()}
        if layout.drop:
            chosen = {bare: key for bare, key in chosen.items() if not bare.startswith(layout.drop)}
        if all(any(bare.startswith(sign) for bare in chosen) for sign in layout.signs):
            return chosen
    return None


def _open(path: Path) -> _Opened:
    if not path.is_file():
        raise WeightsError(f"{path} does not exist or is no file.")
    if trouble := structure_trouble(path):
        raise WeightsError(f"{path} {trouble}: get it again.")
    return _open_safetensors(path) if _is_safetensors(path) else _open_torch(path)


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"  # after the header's length; a zip or pickle has other beginnings


def _open_safetensors(path: Path) -> _Opened:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise _needs("safetensors") from error
    try:
        file: Any = safe_open(path, framework="pt", device="cpu")
        return _Opened(tuple(file.keys()), file.get_tensor, file.metadata() or {})
    except ImportError as error:
        raise _needs("torch") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is corrupt, no safetensors file can be read from it: get it again.") from error


def _open_torch(path: Path) -> _Opened:
    try:
        import torch
    except ImportError as error:
        raise _needs("torch") from error
    try:
        # Files of before PyTorch 1.6 are no zip and cannot be mapped.
        loaded = torch.load(str(path), map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except MemoryError:
        raise
    except Exception as error:  # what PyTorch raises for a bad file is not written down anywhere
        trouble = structure_trouble(path, deep=True)
        if trouble is None and ("weights_only" in str(error) or "Unpickling" in type(error).__name__):
            raise WeightsError(
                f"{path} holds Python objects that only pickle could make, which can run any code: it was refused and "
                "nothing in it was run; save its tensors alone with safetensors and give that file."
            ) from error
        raise WeightsError(f"{path} {trouble or 'is corrupt, PyTorch cannot read it'}: get it again.") from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds a {type(loaded).__name__} and no state dict: save `module.state_dict()`.")
    flat: dict[str, Any] = {}
    _flatten(loaded, "", flat, path)
    return _Opened(tuple(flat), flat.__getitem__, {})


def _flatten(nested: Mapping[Any, Any], prefix: str, flat: dict[str, Any], path: Path, depth: int = 0) -> None:
    if depth > _DEEPEST:
        raise WeightsError(f"{path} holds dicts in dicts beyond {_DEEPEST} levels: it is no state dict.")
    for key, value in nested.items():
        if isinstance(value, Mapping):
            _flatten(value, f"{prefix}{key}.", flat, path, depth + 1)
        else:
            flat[f"{prefix}{key}"] = value


def _checked(value: Any, key: str, path: str | Path) -> Tensor:
    import torch

    if not isinstance(value, torch.Tensor):
        raise WeightsError(
            f"{path} holds a {type(value).__name__} under {key!r} where a tensor belongs: it is refused."
        )
    if value.layout is not torch.strided or value.is_quantized or value.device.type != "cpu":
        raise WeightsError(f"{path} holds a sparse, quantised or data-less tensor under {key!r}: it is refused.")
    return value.detach()


def _needs(library: str) -> WeightsError:
    return WeightsError(f"reading weights needs {library}: pip install 'liveportrait-talker[neural]' brings it.")
