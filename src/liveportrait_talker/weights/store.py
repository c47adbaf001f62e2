"""The folder of installed weights, and the verification of its files.

    ROOT/liveportrait/motion_extractor.pth      a released file, as downloaded
    ROOT/converted/motion_extractor.safetensors one converted network, read by `importing.load_state_dict`
    ….receipt.json                              beside each: its checksum, size and modification time when accepted

The checksum is computed when a file arrives, when its size or modification time changed, and by `verify`; otherwise the
receipt is trusted.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import WeightsError
from ..progress import OnStep
from ..system.cache import cache_folder
from . import registry
from .checkpoints import require_networks
from .integrity import FIRST_USE, OWN, PUBLISHED, Receipt, read_receipt, sha256_of, structure_error, write_receipt
from .registry import ReleasedFile

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VerificationResult:
    """Result of `verify` for one file.

    `state`: `verified` (the published checksum), `unchanged` (the recorded checksum), `missing` or `bad`.
    """

    name: str
    path: Path
    state: str
    detail: str

    @property
    def good(self) -> bool:
        """Whether the file may be used."""
        return self.state in ("verified", "unchanged")


@dataclass(frozen=True)
class InstallStatus:
    """A released file, its path where it is present, and which of its networks are converted."""

    file: ReleasedFile
    path: Path | None
    converted: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether all of its networks can be loaded."""
        return self.path is not None or self.converted == self.file.networks


def root() -> Path:
    """Return the folder of all weights: $LPT_MODELS, else models/ in $LPT_CACHE, else in the user's cache folder."""
    try:
        if named := os.environ.get("LPT_MODELS"):
            return Path(named).expanduser()
        if cache := os.environ.get("LPT_CACHE"):
            return Path(cache).expanduser() / "models"
    except RuntimeError as error:
        raise WeightsError(f"{named or cache} is in an unknown home folder: set LPT_MODELS to a folder.") from error
    try:
        # Unlike `cache_folder`, a read-only folder will do.
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return base / "liveportrait-talker" / "models"
    except RuntimeError:  # HOME is not set and the user is unknown
        pass
    try:
        return cache_folder("models")
    except OSError as error:
        raise WeightsError("there is no home folder for the weights: set LPT_MODELS to a folder.") from error


def offline() -> str | None:
    """Return which variable forbids network access, LPT_OFFLINE or HF_HUB_OFFLINE; None where neither does."""
    for variable in ("LPT_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on"):
            return variable
    return None


def released_path(file: ReleasedFile) -> Path:
    """Return the path of a released file in the store."""
    return root() / file.group / file.file_name


def converted_path(network: str) -> Path:
    """Return the path of a converted network in the store."""
    return root() / "converted" / f"{network}.safetensors"


def is_complete(file: ReleasedFile) -> bool:
    """Return whether a released file is present with its published size. Does not compute its checksum."""
    try:
        return released_path(file).is_file() and file.size in (None, released_path(file).stat().st_size)
    except OSError:  # no permission for the folder
        return False


def is_converted(network: str) -> bool:
    """Return whether there is a converted file of this network."""
    try:
        return converted_path(network).is_file()
    except OSError:
        return False


def looks_complete(network: str) -> bool:
    """Return whether there is a converted file of this network with its recorded size."""
    if not is_converted(network):
        return False
    receipt = read_receipt(converted_path(network))
    return receipt is None or converted_path(network).stat().st_size == receipt.size


def path(name: str | Path) -> Path:
    """Return the verified file of a released file's or network's name, or a weight file given by path.

    Raises:
        WeightsError: it is not known, missing or corrupt.
    """
    if name in registry.NETWORKS and is_converted(str(name)):
        require(converted_path(str(name)))
        return converted_path(str(name))
    file = _find(name)
    if file is None:
        own = Path(name)
        if damage := structure_error(own):
            raise WeightsError(f"{own} {damage}.")
        return own
    if not released_path(file).is_file():
        converted = [converted_path(n) for n in file.networks if is_converted(n)]
        if converted:
            raise WeightsError(
                f"{file.name} was imported, so the file itself is not kept: its networks are in {converted[0].parent}."
            )
        raise WeightsError(f"{file.name} is not installed: {how_to_install(file)}.")
    require(released_path(file), file)
    return released_path(file)


def require(
    path: Path,
    file: ReleasedFile | None = None,
    *,
    remedy: str = "liveportrait-talker models import DIR",
    full: bool = False,
    on_bytes: OnStep | None = None,
) -> Receipt:
    """Verify a file in the store, as a copy of the released `file` if given, and return its receipt.

    `full` computes the checksum even if size and modification time have not changed. `remedy` is the command for error
    messages where `file` is None.

    Raises:
        WeightsError: it is truncated, corrupt or another file.
    """
    receipt = read_receipt(path)
    remedy = f"get it again: {how_to_install(file) if file else remedy}"
    size, published = path.stat().st_size, file.sha256 if file else None
    if file and file.size is not None and size != file.size:
        raise WeightsError(f"{path} has {size:,} bytes where {file.size:,} are published; {remedy}.")
    known = published or (receipt.sha256 if receipt else None)
    if receipt and not full and receipt.sha256 == known and receipt.matches(path):
        return receipt
    if damage := structure_error(path):
        raise WeightsError(f"{path} {damage}; {remedy}.")
    actual = sha256_of(path, on_bytes)
    if known is not None and actual != known:
        kind = "published" if published else "recorded"
        raise WeightsError(
            f"{path} is corrupt or was changed: its sha256 is {actual}, not the {kind} {known}; {remedy}."
        )
    if receipt and receipt.matches(path):
        return receipt
    if receipt:
        return write_receipt(path, sha256=actual, origin=receipt.origin, trust=receipt.trust)
    if known is None:
        if file:
            require_networks(path, file.networks)
        _log.warning("no checksum is known for %s: it is trusted as it is now (sha256 %s).", path, actual)
    trust = PUBLISHED if published else FIRST_USE if file else OWN
    return write_receipt(path, sha256=actual, origin=str(path), trust=trust)


def verify(name: str | Path, on_bytes: OnStep | None = None) -> tuple[VerificationResult, ...]:
    """Compute the checksums of a released file and its converted networks, or of one weight file given by path.

    Raises:
        WeightsError: the name is not known.
    """
    file = _find(name)
    if file is None:
        return (_verify_external(Path(name), on_bytes),)
    released = released_path(file)
    found = [_verify_stored(file.name, file.networks, released, file, on_bytes)] if released.is_file() else []
    for network in file.networks:
        if is_converted(network):
            path = converted_path(network)
            found.append(_verify_stored(network, (network,), path, None, on_bytes, how_to_install(file)))
    if not found:
        return (VerificationResult(file.name, released, "missing", f"is not installed: {how_to_install(file)}"),)
    return tuple(found)


def installed() -> tuple[InstallStatus, ...]:
    """Return the status of every released file. Reads sizes and the lists of tensors only."""
    return tuple(
        InstallStatus(
            file,
            released_path(file) if is_complete(file) and _holds(released_path(file), file.networks) else None,
            tuple(n for n in file.networks if looks_complete(n) and _holds(converted_path(n), (n,))),
        )
        for file in registry.FILES
    )


def _holds(path: Path, networks: tuple[str, ...]) -> bool:
    try:
        require_networks(path, networks)
    except WeightsError:
        return False
    return True


def how_to_install(file: ReleasedFile) -> str:
    """Return the commands that install a file, for the end of a message."""
    return f"liveportrait-talker models download {file.name}, or liveportrait-talker models import DIR"


def _find(name: str | Path) -> ReleasedFile | None:
    """Return the released file of a name, None for the path of a file. Raises WeightsError where it is neither."""
    try:
        return registry.find(str(name))
    except WeightsError:
        if Path(name).is_file():
            return None
        raise WeightsError(
            f"there are no weights named {str(name)!r}, and no such file: the names are {', '.join(registry.names())}."
        ) from None


def _verify_stored(
    name: str,
    networks: tuple[str, ...],
    path: Path,
    file: ReleasedFile | None,
    on_bytes: OnStep | None,
    remedy: str = "",
) -> VerificationResult:
    try:
        receipt = require(path, file, remedy=remedy, full=True, on_bytes=on_bytes)
        if receipt.trust != PUBLISHED:
            require_networks(path, networks)
    except WeightsError as error:
        return VerificationResult(name, path, "bad", str(error))
    if receipt.trust == PUBLISHED and file is not None:
        return VerificationResult(name, path, "verified", "has the published sha256")
    since = "its first download; no checksum is published" if file else f"its conversion from {receipt.origin}"
    return VerificationResult(name, path, "unchanged", f"has not changed since {since}")


def _verify_external(path: Path, on_bytes: OnStep | None) -> VerificationResult:
    """Verify a file outside the store, by the published checksum where it has a released file name."""
    damage = structure_error(path, deep=True)
    file = registry.find_by_file_name(path.name)
    if damage is not None:
        size = f" ({path.stat().st_size:,} of the released {file.size:,} bytes)" if file and file.size else ""
        return VerificationResult(str(path), path, "bad", f"{path} {damage}{size}.")
    actual = sha256_of(path, on_bytes)
    if file is None or file.sha256 is None:
        detail = f"is intact; no checksum is published to compare with ({actual})"
        return VerificationResult(str(path), path, "unchanged", detail)
    if actual == file.sha256:
        return VerificationResult(str(path), path, "verified", f"is the released {file.name}")
    return VerificationResult(
        str(path), path, "bad", f"{path} is not the released {file.name}: its sha256 is {actual}, not {file.sha256}."
    )
