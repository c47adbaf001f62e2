"""Reading the state dict of one network from a checkpoint file. Tensors only, no other pickled objects.

What a file states of its tensors is compared with its size, and where asked for with the network, before they are read.

Layouts (docs/method/liveportrait.md, Weights; docs/method/sadtalker.md, Weights): a flat state dict; one under
`state_dict` (Lightning; the MappingNet's keys then begin with `mappingnet.`); a dict of state dicts with `module.` in
front of each key; the same flattened (`retarget_shoulder_module.mlp.0.weight`); SadTalker's file, with a prefix for
each network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError
from . import tensors
from .conversion import window_rows
from .integrity import structure_error
from .registry import NETWORKS
from .safetensors_files import HeaderError, read_header
from .tensors import UNKNOWN_FORMAT, TensorSpec, quoted
from .torch_files import OtherObject, StoredTensor, TorchFileError, read_torch_file

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


def read_state_dict(
    path: str | Path, network: str, *, expected: Mapping[str, TensorSpec] | None = None
) -> dict[str, Tensor]:
    """Return the state dict of `network` from a checkpoint file, on the CPU, memory-mapped where possible.

    Of a file only the network's own tensors are read; with `expected`, only if these are its names and shapes.

    Raises:
        WeightsError: the file cannot be read, is corrupt, holds pickled objects or does not hold the network.
    """
    file = _open(Path(path))
    keys = _select(file, network, expected)
    return {bare: file.tensor(key) for bare, key in keys.items()}


def require_networks(path: str | Path, networks: Iterable[str]) -> None:
    """Check that a file holds these networks, by names, shapes and number formats; read none of their numbers.

    Raises:
        WeightsError: as `read_state_dict` does, or it states a length of windows that the MappingNet cannot have.
    """
    file = _open(Path(path))
    for network in networks:
        _select(file, network, tensors.expected_tensors(network))
        if network == "mappingnet":
            window_rows(file.metadata, path)


def networks_in(path: str | Path) -> tuple[str, ...]:
    """Return the networks in a checkpoint file, by its `network` metadata, else by its keys.

    Raises:
        WeightsError: the file cannot be read, is corrupt or holds pickled objects.
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
    """An opened file. `spec` and `tensor` raise WeightsError for what is not a tensor, or not in the file."""

    path: Path
    keys: tuple[str, ...]
    spec: Callable[[str], TensorSpec]
    tensor: Callable[[str], Tensor]
    metadata: Mapping[str, str]


def _select(file: _Checkpoint, network: str, expected: Mapping[str, TensorSpec] | None) -> dict[str, str]:
    """Return key without prefix → key in the file of a network's tensors, which can be read."""
    keys = _find_keys(file.keys, _layout(network))
    if keys is None:
        some = ", ".join(map(quoted, sorted(file.keys)[:3])) or "none"
        raise WeightsError(f"{file.path} does not hold the network {network}: its keys are {some}, ….")
    found = {bare: file.spec(key) for bare, key in keys.items()}
    if sum(spec.size for spec in found.values()) > file.path.stat().st_size:  # by tensors that share their numbers
        raise WeightsError(f"{file.path} is not a valid checkpoint: its tensors state more bytes than the file has.")
    if expected is not None and (detail := tensors.misfit(expected, found)):
        raise WeightsError(f"{file.path} does not fit the network {network}: {detail}.")
    return keys


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
    try:
        if error := structure_error(path):
            raise WeightsError(f"{path} {error}: get it again.")
        return _open_safetensors(path) if _is_safetensors(path) else _open_torch(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}).") from error


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"  # after the header's length


def _open_safetensors(path: Path) -> _Checkpoint:
    try:
        specs, metadata = read_header(path)
    except HeaderError as error:
        raise WeightsError(f"{path} {error}: get it again.") from error

    def spec(key: str) -> TensorSpec:
        if specs[key].dtype not in tensors.ITEM_BYTES:
            raise WeightsError(f"{path} is not a valid checkpoint: its tensor {quoted(key)} {UNKNOWN_FORMAT}.")
        return specs[key]

    @cache
    def opened() -> Any:
        from safetensors import safe_open

        return safe_open(path, framework="pt", device="cpu")

    def tensor(key: str) -> Tensor:
        try:
            value: Tensor = opened().get_tensor(key)
        except ImportError as error:
            raise _missing_library(error.name or "torch") from error
        except Exception as error:  # SafetensorError, which is not imported before the file is opened
            raise WeightsError(f"{path} is corrupt, it cannot be read as safetensors: get it again.") from error
        return value

    return _Checkpoint(path, tuple(specs), spec, tensor, metadata)


def _open_torch(path: Path) -> _Checkpoint:
    try:
        file = read_torch_file(path)
    except TorchFileError as error:
        raise WeightsError(f"{path} {structure_error(path, deep=True) or error}.") from error
    content = file.content
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {_kind(content)}, not a state dict: save `module.state_dict()`.")
    flat: dict[str, Any] = {}
    _flatten(content, "", flat, path, [path.stat().st_size])

    def stored(key: str) -> StoredTensor:
        value = flat[key]
        if not isinstance(value, StoredTensor):
            raise WeightsError(f"{path} holds a {_kind(value)} instead of a tensor under {quoted(key)}: it is refused.")
        return value

    def spec(key: str) -> TensorSpec:
        try:
            return file.describe(stored(key))
        except TorchFileError as error:
            raise WeightsError(f"{path} is not a valid checkpoint: its tensor {quoted(key)} {error}.") from error

    def tensor(key: str) -> Tensor:
        try:
            return file.read(stored(key))
        except ImportError as error:
            raise _missing_library("torch") from error

    return _Checkpoint(path, tuple(flat), spec, tensor, {})


def _flatten(
    nested: Mapping[str, Any], prefix: str, flat: dict[str, Any], path: Path, budget: list[int], depth: int = 0
) -> None:
    """Add the entries of nested dicts to `flat`. `budget` is a number of characters.

    A pickle may hold the same dict in many places, so that a small file describes any number of keys.
    """
    if depth > _MAX_DEPTH:
        raise WeightsError(f"{path} nests dicts more than {_MAX_DEPTH} levels deep: it is not a state dict.")
    for key, value in nested.items():
        budget[0] -= len(prefix) + len(key) + 1
        if budget[0] < 0:
            raise WeightsError(
                f"{path} is not a valid checkpoint: the keys that it describes are longer than the file."
            )
        if isinstance(value, dict):
            _flatten(value, f"{prefix}{key}.", flat, path, budget, depth + 1)
        else:
            flat[f"{prefix}{key}"] = value


def _kind(value: Any) -> str:
    """Return the kind of an object in a PyTorch file, for a message."""
    if isinstance(value, OtherObject):
        return quoted(value.name)
    return "tensor" if isinstance(value, StoredTensor) else type(value).__name__


def _missing_library(name: str) -> WeightsError:
    return WeightsError(f"reading weights needs {name}: pip install 'liveportrait-talker[neural]'.")
