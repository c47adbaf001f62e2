"""Files of released or own weights → one safetensors file per network, made once; and the way back, `load`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeightsError
from ..progress import OnProgress, ignore_progress
from ..system.devices import require_torch
from . import registry, store
from .checkpoints import SUFFIXES, file_metadata, networks_in, read_state_dict
from .conversion import FORMAT, convert
from .integrity import FIRST_USE, OWN, PUBLISHED, read_receipt, sha256_of, structure_trouble
from .registry import ReleasedFile

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_DEEPEST, _MOST_FILES = 5, 5000  # so that a home folder given by mistake is not read through


@dataclass(frozen=True)
class Imported:
    """One network that is ready now. `trust`: `published`, `first use` or `own`; `fresh`: it was made now."""

    network: str
    source: Path
    trust: str
    fresh: bool


@dataclass(frozen=True)
class Left:
    """A file that was not taken, and why (a sentence without its subject)."""

    path: Path
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """What an import did. `refused`: should have been weights but is corrupt; `unknown`: something else."""

    imported: tuple[Imported, ...]
    skipped: tuple[Left, ...]
    unknown: tuple[Left, ...]
    refused: tuple[Left, ...]


def import_folder(place: str | Path, *, on_progress: OnProgress | None = None) -> ImportReport:
    """Find weights in a folder (or take one file), check them, and convert them into the store.

    Files are told by what they hold, so they may lie flat, in the released folders or under other names. Of two files
    with the same network the one with the published sum wins, then the one with a released name. A file that is whole
    but has another sum than the released one is taken as your own, and the report says so.

    Raises:
        WeightsError: the place does not exist, or the store cannot be written.
    """
    place = Path(place).expanduser()
    tell = on_progress or ignore_progress
    if not place.exists():
        raise WeightsError(f"{place} does not exist: give the folder (or the file) that holds the weights.")
    imported: dict[str, Imported] = {}
    skipped: list[Left] = []
    unknown: list[Left] = []
    refused: list[Left] = []
    candidates = []
    for path in [place] if place.is_file() else _weight_files(place):
        file = registry.by_file_name(path.name)
        try:
            found = networks_in(path)
            if not found:
                unknown.append(Left(path, "holds no network that is known here"))
                continue
            sha256, trust = _judge(path, file, tell)
        except WeightsError as error:
            wanted = file is not None or place.is_file()
            reason = str(error).removeprefix(f"{path} ").rstrip(".") + _how_much(path, file)
            (refused if wanted else unknown).append(Left(path, reason))
            continue
        candidates.append((trust != PUBLISHED, file is None, str(path), path, found, sha256, trust))
    for _, _, _, path, found, sha256, trust in sorted(candidates):
        twice = [network for network in found if network in imported]
        for network in found:
            if network not in imported:
                imported[network] = _take(network, path, sha256, trust, tell)
        if twice:
            skipped.append(Left(path, f"its {', '.join(twice)} came from {imported[twice[0]].source} already"))
    return ImportReport(
        tuple(imported[n] for n in registry.NETWORKS if n in imported), tuple(skipped), tuple(unknown), tuple(refused)
    )


def convert_released(file: ReleasedFile, *, on_progress: OnProgress | None = None) -> tuple[Imported, ...]:
    """Convert the networks of a released file that is in the store.

    Raises:
        WeightsError: it is not there or not as it should be.
    """
    path = store.path(file.name)
    receipt = store.require(path, file)
    tell = on_progress or ignore_progress
    return tuple(_take(network, path, receipt.sha256, receipt.trust, tell) for network in file.networks)


def load(network: str, *, file: str | Path | None = None) -> dict[str, Tensor]:
    """The state dict of `network`, memory-mapped from its converted file: bare keys, as released. For strict loading.

    `file` reads a checkpoint of your own instead, or a released file by its name.

    Raises:
        WeightsError: it is not installed (the text has the command), corrupt, or torch is missing.
    """
    released = registry.holding(network)
    if file is not None:
        return read_state_dict(store.path(file), network)
    return read_state_dict(_ready(network, released), network)


def loaded(
    network: str,
    build: Callable[[], nn.Module],
    *,
    file: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """The network that `build` makes, with its weights, strictly loaded: float32, eval mode, no gradients, on `device`.

    It is built without memory and takes the mapped tensors as they are, so that nothing is made twice. Other floating
    numbers, of a file saved in float16 or float64, become float32, as what is sent through the network is.

    Raises:
        WeightsError: as `load` does, or the file's tensors are not this network's.
    """
    require_torch(f"the network {network}")
    import torch

    tensors = {k: t.float() if t.is_floating_point() else t for k, t in load(network, file=file).items()}
    with torch.device("meta"):
        net = build()
    try:
        net.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(
            f"{file or store.converted_path(network)} does not fit the network {network}: {error}"
        ) from error
    return net.eval().requires_grad_(False).to(device)


def metadata(network: str) -> dict[str, str]:
    """What the converted file says of itself: `source`, `source_sha256`, `trust`, `package_version`; for the MappingNet
    also `rows`, the length of its coefficient windows; and whatever its own export said.

    Raises:
        WeightsError: as `load` does.
    """
    return file_metadata(_ready(network, registry.holding(network)))


def missing(networks: Iterable[str]) -> tuple[str, ...]:
    """Those of `networks` that cannot be loaded. Quick: nothing is read or summed."""
    gone = []
    for network in networks:
        released = registry.holding(network)
        if not (store.looks_whole(network) or store.is_whole(released)):
            gone.append(network)
    return tuple(gone)


def _ready(network: str, released: ReleasedFile) -> Path:
    """The trusted converted file; made now where a download was stopped before that."""
    path = store.converted_path(network)
    if not store.is_converted(network):
        if not store.is_whole(released):
            raise WeightsError(f"the weights of {network} are not installed: {store.how_to_install(released)}.")
        convert_released(released)
    store.require(path, mend=store.how_to_install(released))
    return path


def _take(network: str, path: Path, sha256: str, trust: str, tell: OnProgress) -> Imported:
    """Convert, unless the store has the network from the very same file."""
    target = store.converted_path(network)
    if _same(target, sha256):
        return Imported(network, path, trust, fresh=False)
    tell(f"convert {network}", 0, 1)
    notes = {"source": path.name, "source_sha256": sha256, "trust": trust}
    convert(network, read_state_dict(path, network), target, own_notes=file_metadata(path), notes=notes)
    tell(f"convert {network}", 1, 1)
    return Imported(network, path, trust, fresh=True)


def _same(target: Path, sha256: str) -> bool:
    if not target.is_file() or read_receipt(target) is None:
        return False
    try:
        store.require(target)
        said = file_metadata(target)
    except WeightsError:
        return False
    return said.get("source_sha256") == sha256 and said.get("format") == FORMAT


def _judge(path: Path, file: ReleasedFile | None, tell: OnProgress) -> tuple[str, str]:
    """The sum of a whole file, and how far it is to be trusted. Raises WeightsError where it is corrupt."""
    if trouble := structure_trouble(path, deep=True):
        raise WeightsError(f"{path} {trouble}")
    sha256 = sha256_of(path, lambda done, total: tell(f"check {path.name}", done, total))
    published = next((f for f in registry.FILES if f.sha256 == sha256), None)
    if published is not None:
        return sha256, PUBLISHED
    if file is None:
        return sha256, OWN
    if file.sha256 is None:
        return sha256, FIRST_USE
    with path.open("rb") as start:
        sums_itself = start.read(2) == b"PK"
    # A zip has just passed its own sums, so it is another file. What has none and the very size is a damaged copy.
    if not sums_itself and path.stat().st_size == file.size:
        raise WeightsError(
            f"{path} is corrupt: it has the released size, but its sha256 is {sha256}, not {file.sha256}"
        )
    return sha256, OWN


def _how_much(path: Path, file: ReleasedFile | None) -> str:
    size = path.stat().st_size
    return f" ({size:,} of the released {file.size:,} bytes)" if file and file.size and size < file.size else ""


def _weight_files(folder: Path) -> list[Path]:
    """Files that could be weights, by their suffix, at most five folders down, links to folders not followed."""
    found: list[Path] = []
    waiting, seen = [(folder, 0)], 0
    while waiting:
        here, depth = waiting.pop()
        try:
            entries = sorted(here.iterdir())
        except OSError:
            continue
        for entry in entries:
            seen += 1
            if seen > _MOST_FILES:
                raise WeightsError(
                    f"{folder} holds more than {_MOST_FILES:,} files: give the folder of the weights itself."
                )
            if entry.is_dir() and not entry.is_symlink() and depth < _DEEPEST:
                waiting.append((entry, depth + 1))
            elif entry.suffix in SUFFIXES and entry.is_file():
                found.append(entry)
    return sorted(found)
