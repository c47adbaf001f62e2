"""Importing weight files: conversion to one safetensors file per network, and loading them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeightsError
from ..progress import OnProgress, ignore_progress, steps_of
from ..system.devices import require_torch
from . import registry, store, tensors
from .checkpoints import SUFFIXES, file_metadata, networks_in, read_state_dict, require_networks
from .conversion import FORMAT, convert
from .integrity import FIRST_USE, OWN, PUBLISHED, read_receipt, sha256_of, structure_error
from .registry import ReleasedFile
from .tensors import TensorSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_MAX_DEPTH, _MAX_FILES = 5, 5000  # guard against a search through a home folder given by mistake


@dataclass(frozen=True)
class ImportedNetwork:
    """An imported network. `trust`: `published`, `first use` or `own`; `fresh`: converted by this import."""

    network: str
    source: Path
    trust: str
    fresh: bool


@dataclass(frozen=True)
class SkippedFile:
    """A file that was not imported; `reason` is a predicate, such as "is empty"."""

    path: Path
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """Result of an import. `refused`: corrupt or wrong weights; `unknown`: files that are not known weights."""

    imported: tuple[ImportedNetwork, ...]
    skipped: tuple[SkippedFile, ...]
    unknown: tuple[SkippedFile, ...]
    refused: tuple[SkippedFile, ...]


def import_folder(place: str | Path, *, on_progress: OnProgress | None = None) -> ImportReport:
    """Find weights in a folder (or take one file), verify them, and convert them into the store.

    Files are identified by content, so any layout and names will do. Of several files with the same network, one with
    the published checksum is preferred, then one with a released name. An intact file whose checksum is not the
    released one is imported with trust `own`.

    Raises:
        WeightsError: `place` does not exist, or the store cannot be written.
    """
    place = Path(os.path.expanduser(place))  # noqa: PTH111 (pathlib's raises for an unknown user)
    on_progress = on_progress or ignore_progress
    if not place.exists():
        raise WeightsError(f"{place} does not exist: give the folder (or the file) that holds the weights.")
    imported: dict[str, ImportedNetwork] = {}
    skipped: list[SkippedFile] = []
    unknown: list[SkippedFile] = []
    refused: list[SkippedFile] = []
    candidates = []
    for path in [place] if place.is_file() else _weight_files(place):
        file = registry.find_by_file_name(path.name)
        found: tuple[str, ...] = ()
        try:
            found = networks_in(path)
            if not found:
                unknown.append(SkippedFile(path, "holds no known network"))
                continue
            require_networks(path, found)
            sha256, trust = _checksum_and_trust(path, file, on_progress)
        except WeightsError as error:
            expected = found or file is not None or place.is_file()
            reason = str(error).removeprefix(f"{path} ").rstrip(".") + _size_shortfall(path, file)
            (refused if expected else unknown).append(SkippedFile(path, reason))
            continue
        candidates.append((trust != PUBLISHED, file is None, str(path), path, found, sha256, trust))
    for _, _, _, path, found, sha256, trust in sorted(candidates):
        repeated = [network for network in found if network in imported]
        for network in found:
            if network not in imported:
                imported[network] = _import_network(network, path, sha256, trust, on_progress)
        if repeated:
            source = imported[repeated[0]].source
            skipped.append(SkippedFile(path, f"its {', '.join(repeated)} was imported from {source} already"))
    return ImportReport(
        tuple(imported[n] for n in registry.NETWORKS if n in imported), tuple(skipped), tuple(unknown), tuple(refused)
    )


def convert_released(file: ReleasedFile, *, on_progress: OnProgress | None = None) -> tuple[ImportedNetwork, ...]:
    """Convert the networks of a released file that is in the store.

    Raises:
        WeightsError: it is missing or corrupt.
    """
    path = store.path(file.name)
    receipt = store.require(path, file)
    return tuple(
        _import_network(network, path, receipt.sha256, receipt.trust, on_progress or ignore_progress)
        for network in file.networks
    )


def load_state_dict(
    network: str, *, file: str | Path | None = None, expected: Mapping[str, TensorSpec] | None = None
) -> dict[str, Tensor]:
    """Return the state dict of `network`, memory-mapped from its converted file.

    `file` is a checkpoint, or the name of a released file, to read instead. `expected` is what it must hold, by
    default the released network.

    Raises:
        WeightsError: it is not installed (the message has the command), corrupt, of another shape, or torch is missing.
    """
    released = registry.holding(network)
    expected = tensors.expected_tensors(network) if expected is None else expected
    if file is not None:
        return read_state_dict(store.path(file), network, expected=expected)
    path = _converted(network, released)
    try:
        return read_state_dict(path, network, expected=expected)
    except WeightsError as error:
        raise WeightsError(f"{str(error).rstrip('.')}; {store.how_to_install(released)}.") from error


def load_network(
    network: str,
    build: Callable[[], nn.Module],
    *,
    file: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Build a network and load its weights strictly: float32, eval mode, no gradients, on `device`.

    `build` runs on the meta device and the memory-mapped tensors are assigned, which avoids copies. Weights saved as
    float16 or float64 become float32.

    Raises:
        WeightsError: as `load_state_dict` does.
    """
    require_torch(f"the network {network}")
    import torch

    with torch.device("meta"):
        net = build()
    expected = {
        key: TensorSpec(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
        for key, tensor in net.state_dict().items()
    }
    state = load_state_dict(network, file=file, expected=expected)
    net.load_state_dict({k: t.float() if t.is_floating_point() else t for k, t in state.items()}, assign=True)
    return net.eval().requires_grad_(False).to(device)


def checksum(network: str, *, file: str | Path | None = None) -> str:
    """Return the SHA-256 of the file that `load_network` reads for a network. Raises WeightsError as it does."""
    if file is not None:
        return sha256_of(store.path(file))
    return store.require(_converted(network, registry.holding(network))).sha256


def metadata(network: str) -> dict[str, str]:
    """Return the converted file's metadata: `source`, `source_sha256`, `trust`, `package_version`, the source file's
    own metadata and, for the MappingNet, `rows`, the length of its coefficient windows.

    Raises:
        WeightsError: as `load_state_dict` does.
    """
    return file_metadata(_converted(network, registry.holding(network)))


def missing(networks: Iterable[str]) -> tuple[str, ...]:
    """Return those of `networks` that cannot be loaded. Checks sizes only."""
    return tuple(
        network
        for network in networks
        if not (store.looks_complete(network) or store.is_complete(registry.holding(network)))
    )


def _converted(network: str, released: ReleasedFile) -> Path:
    """Return the verified converted file; convert it first where an earlier download ended before that."""
    path = store.converted_path(network)
    if not store.is_converted(network):
        if not store.is_complete(released):
            raise WeightsError(f"the weights of {network} are not installed: {store.how_to_install(released)}.")
        convert_released(released)
    store.require(path, remedy=store.how_to_install(released))
    return path


def _import_network(network: str, path: Path, sha256: str, trust: str, on_progress: OnProgress) -> ImportedNetwork:
    """Convert a network, unless the store has it from the same file."""
    target = store.converted_path(network)
    if _is_converted_from(target, sha256):
        return ImportedNetwork(network, path, trust, fresh=False)
    on_progress(f"convert {network}", 0, 1)
    origin = {"source": path.name, "source_sha256": sha256, "trust": trust}
    state = read_state_dict(path, network, expected=tensors.expected_tensors(network))
    convert(network, state, target, source_metadata=file_metadata(path), origin=origin)
    on_progress(f"convert {network}", 1, 1)
    return ImportedNetwork(network, path, trust, fresh=True)


def _is_converted_from(target: Path, sha256: str) -> bool:
    if not target.is_file() or read_receipt(target) is None:
        return False
    try:
        store.require(target)
        present = file_metadata(target)
    except WeightsError:
        return False
    return present.get("source_sha256") == sha256 and present.get("format") == FORMAT


def _checksum_and_trust(path: Path, file: ReleasedFile | None, on_progress: OnProgress) -> tuple[str, str]:
    """Return the SHA-256 of an intact file and its trust. Raises WeightsError where it is corrupt."""
    if damage := structure_error(path, deep=True):
        raise WeightsError(f"{path} {damage}")
    sha256 = sha256_of(path, steps_of(f"check {path.name}", on_progress))
    published = next((f for f in registry.FILES if f.sha256 == sha256), None)
    if published is not None:
        return sha256, PUBLISHED
    if file is None:
        return sha256, OWN
    if file.sha256 is None:
        return sha256, FIRST_USE
    with path.open("rb") as start:
        is_zip = start.read(2) == b"PK"
    # A zip has passed its own CRCs, so it is another file; without CRCs, a file of the released size is a damaged copy.
    if not is_zip and path.stat().st_size == file.size:
        raise WeightsError(
            f"{path} is corrupt: it has the released size, but its sha256 is {sha256}, not {file.sha256}"
        )
    return sha256, OWN


def _size_shortfall(path: Path, file: ReleasedFile | None) -> str:
    size = path.stat().st_size
    return f" ({size:,} of the released {file.size:,} bytes)" if file and file.size and size < file.size else ""


def _weight_files(folder: Path) -> list[Path]:
    """Return files with a suffix of weights, at most `_MAX_DEPTH` folders deep; links to folders are not followed."""
    found: list[Path] = []
    pending, seen = [(folder, 0)], 0
    while pending:
        current, depth = pending.pop()
        try:
            entries = sorted(current.iterdir())
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > _MAX_FILES:
                raise WeightsError(
                    f"{folder} holds more than {_MAX_FILES:,} files: give the folder of the weights itself."
                )
            if entry.is_dir() and not entry.is_symlink() and depth < _MAX_DEPTH:
                pending.append((entry, depth + 1))
            elif entry.suffix in SUFFIXES and entry.is_file():
                found.append(entry)
    return sorted(found)
