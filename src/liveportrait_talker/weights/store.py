"""Where weights lie on this machine, and whether they may be trusted.

    ROOT/liveportrait/motion_extractor.pth      a released file, as it was downloaded
    ROOT/converted/motion_extractor.safetensors one network, converted once: what `importing.load` reads
    ….receipt.json                              beside each: its sum, size and time when it was accepted

A file is summed when it comes, when its size or time changed, and by `verify`; otherwise its receipt is enough.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import WeightsError
from . import registry
from .integrity import FIRST_USE, OWN, PUBLISHED, Receipt, read_receipt, sha256_of, structure_trouble, write_receipt
from .registry import ReleasedFile

_log = logging.getLogger(__name__)
OnBytes = Callable[[int, int], None]


@dataclass(frozen=True)
class Verdict:
    """What `verify` found. `state`: `verified` (the published sum), `unchanged` (the sum it came with), `missing`,
    `bad`; `detail` is one sentence."""

    name: str
    path: Path
    state: str
    detail: str

    @property
    def good(self) -> bool:
        """May the file be used?"""
        return self.state in ("verified", "unchanged")


@dataclass(frozen=True)
class Installed:
    """A released file and what of it is here: the file itself, and which of its networks are converted."""

    file: ReleasedFile
    path: Path | None
    converted: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Can all of its networks be loaded?"""
        return self.path is not None or self.converted == self.file.networks


def root() -> Path:
    """The folder of all weights: $LPT_MODELS, else models/ in $LPT_CACHE, else in the user's cache folder."""
    if named := os.environ.get("LPT_MODELS"):
        return Path(named).expanduser()
    if cache := os.environ.get("LPT_CACHE"):
        return Path(cache).expanduser() / "models"
    # Not `cache.cache_folder`: weights in a folder that can only be read are as good.
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no HOME, and an unknown user
        base = Path(tempfile.gettempdir())
    return base / "liveportrait-talker" / "models"


def offline() -> str | None:
    """The variable that forbids the network, None where none does: LPT_OFFLINE or HF_HUB_OFFLINE."""
    for variable in ("LPT_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on"):
            return variable
    return None


def released_path(file: ReleasedFile) -> Path:
    """Where a released file lies once it is downloaded."""
    return root() / file.group / file.file_name


def converted_path(network: str) -> Path:
    """Where a converted network lies."""
    return root() / "converted" / f"{network}.safetensors"


def is_whole(file: ReleasedFile) -> bool:
    """Is a released file here, with its published size? Nothing is summed."""
    try:
        return released_path(file).is_file() and file.size in (None, released_path(file).stat().st_size)
    except OSError:  # a folder that may not be entered
        return False


def is_converted(network: str) -> bool:
    """Is there a converted file of this network? Nothing is read."""
    try:
        return converted_path(network).is_file()
    except OSError:
        return False


def looks_whole(network: str) -> bool:
    """Is there a converted file of this network, as large as when it was made? Its tensors are not read."""
    if not is_converted(network):
        return False
    receipt = read_receipt(converted_path(network))
    return receipt is None or converted_path(network).stat().st_size == receipt.size


def path(name: str | Path) -> Path:
    """The trusted file of a name: a released file, a converted network, or a file of your own by its path.

    Raises:
        WeightsError: it is not known, not here, or not as it should be.
    """
    if name in registry.NETWORKS and is_converted(str(name)):
        require(converted_path(str(name)))
        return converted_path(str(name))
    file = _known(name)
    if file is None:
        own = Path(name)
        if trouble := structure_trouble(own):
            raise WeightsError(f"{own} {trouble}.")
        return own
    if not released_path(file).is_file():
        converted = [converted_path(n) for n in file.networks if is_converted(n)]
        if converted:
            raise WeightsError(
                f"{file.name} was imported, so its own file is not kept: the networks are in {converted[0].parent}."
            )
        raise WeightsError(f"{file.name} is not installed: {how_to_install(file)}.")
    require(released_path(file), file)
    return released_path(file)


def require(
    path: Path,
    file: ReleasedFile | None = None,
    *,
    mend: str = "liveportrait-talker models import DIR",
    full: bool = False,
    on_bytes: OnBytes | None = None,
) -> Receipt:
    """The receipt of a file in the store that may be trusted; summed anew if it changed, or for `full`.

    Raises:
        WeightsError: it is cut, corrupt or another file: the text names it and the command that mends it (`mend`).
    """
    receipt = read_receipt(path)
    mend = f"get it again: {how_to_install(file) if file else mend}"
    size, published = path.stat().st_size, file.sha256 if file else None
    if file and file.size is not None and size != file.size:
        raise WeightsError(f"{path} has {size:,} bytes where {file.size:,} are published; {mend}.")
    known = published or (receipt.sha256 if receipt else None)
    if receipt and not full and receipt.sha256 == known and receipt.matches(path):
        return receipt
    if trouble := structure_trouble(path):
        raise WeightsError(f"{path} {trouble}; {mend}.")
    actual = sha256_of(path, on_bytes)
    if known is not None and actual != known:
        whose = "is published" if published else "it had when it came"
        raise WeightsError(
            f"{path} is corrupt or was changed: its sha256 is {actual}, not the {known} that {whose}; {mend}."
        )
    if receipt and receipt.matches(path):
        return receipt
    if receipt:
        return write_receipt(path, sha256=actual, origin=receipt.origin, trust=receipt.trust)
    if known is None:
        _log.warning("no sum is known for %s: it is trusted as it is now (sha256 %s).", path, actual)
    trust = PUBLISHED if published else FIRST_USE if file else OWN
    return write_receipt(path, sha256=actual, origin=str(path), trust=trust)


def verify(name: str | Path, on_bytes: OnBytes | None = None) -> tuple[Verdict, ...]:
    """Sum every file of a name anew: the released file, its converted networks; or one file of your own.

    Raises:
        WeightsError: the name is not known.
    """
    file = _known(name)
    if file is None:
        return (_own_verdict(Path(name), on_bytes),)
    released = released_path(file)
    found = [_verdict(file.name, released, file, on_bytes)] if released.is_file() else []
    for network in file.networks:
        if is_converted(network):
            found.append(_verdict(network, converted_path(network), None, on_bytes, how_to_install(file)))
    if not found:
        return (Verdict(file.name, released, "missing", f"is not installed: {how_to_install(file)}"),)
    return tuple(found)


def installed() -> tuple[Installed, ...]:
    """Every released file, with what of it is here. Quick: nothing is summed."""
    here = []
    for file in registry.FILES:
        converted = tuple(filter(looks_whole, file.networks))
        here.append(Installed(file, released_path(file) if is_whole(file) else None, converted))
    return tuple(here)


def how_to_install(file: ReleasedFile) -> str:
    """The two ways to get a file, for the end of a sentence."""
    return f"liveportrait-talker models download {file.name}, or liveportrait-talker models import DIR"


def _known(name: str | Path) -> ReleasedFile | None:
    """The released file of a name; None for a path of the user's own. Raises WeightsError where it is neither."""
    try:
        return registry.find(str(name))
    except WeightsError:
        if Path(name).is_file():
            return None
        raise WeightsError(
            f"there are no weights named {str(name)!r}, and no such file: the names are {', '.join(registry.names())}."
        ) from None


def _verdict(name: str, path: Path, file: ReleasedFile | None, on_bytes: OnBytes | None, mend: str = "") -> Verdict:
    try:
        receipt = require(path, file, mend=mend, full=True, on_bytes=on_bytes)
    except WeightsError as error:
        return Verdict(name, path, "bad", str(error))
    if receipt.trust == PUBLISHED and file is not None:
        return Verdict(name, path, "verified", "has the published sha256")
    since = "since its first download; no sum is published" if file else f"since it was made from {receipt.origin}"
    return Verdict(name, path, "unchanged", f"has not changed {since}")


def _own_verdict(path: Path, on_bytes: OnBytes | None) -> Verdict:
    """A file outside the store: judged by the published sum where it is called like a released file."""
    trouble = structure_trouble(path, deep=True)
    file = registry.by_file_name(path.name)
    if trouble is not None:
        size = f" ({path.stat().st_size:,} of the released {file.size:,} bytes)" if file and file.size else ""
        return Verdict(str(path), path, "bad", f"{path} {trouble}{size}.")
    actual = sha256_of(path, on_bytes)
    if file is None or file.sha256 is None:
        return Verdict(str(path), path, "unchanged", f"is whole; no sum is published to hold it against ({actual})")
    if actual == file.sha256:
        return Verdict(str(path), path, "verified", f"is the released {file.name}")
    return Verdict(
        str(path), path, "bad", f"{path} is not the released {file.name}: its sha256 is {actual}, not {file.sha256}."
    )
