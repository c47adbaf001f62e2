"""Downloading released files into the store: mirrors in turn, checksum, atomic rename."""

from __future__ import annotations

import logging
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import WeightsError
from ..progress import OnProgress, OnStep, ignore_progress, steps_of
from ..system.locks import file_lock
from ..system.partial_files import discard, require_space, write_chunk
from . import registry, store
from .checkpoints import require_networks
from .importing import convert_released
from .integrity import FIRST_USE, PUBLISHED, read_receipt, receipt_path, sha256_of, structure_error, write_receipt
from .registry import ReleasedFile
from .transfer import MAX_BYTES, RetryPolicy, SourceError, fetch

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20
Source = str | Path


def download_and_convert(
    names: Sequence[str], *, base: str | Path | None = None, on_progress: OnProgress | None = None
) -> Iterator[tuple[ReleasedFile, Path]]:
    """Download files, or groups of files, by name and convert them; yield each with its path.

    Raises WeightsError for the first file that cannot be downloaded.
    """
    for file in registry.select(names):
        path = download(file.name, base=base, on_progress=on_progress)
        convert_released(file, on_progress=on_progress)
        yield file, path


def download(
    name: str,
    *,
    base: str | Path | None = None,
    on_progress: OnProgress | None = None,
    retry_policy: RetryPolicy | None = None,
) -> Path:
    """Download a released file into the store unless it is there already. Return its path.

    `base` is an http(s) address or a folder to use instead of the published mirrors, with files in the released layout
    or flat. `on_progress` is called with bytes.

    Raises:
        WeightsError: the name is not known, LPT_OFFLINE is set, no mirror serves the file, its checksum is wrong, or
            the disk is full.
    """
    file = registry.find(name)
    target = store.released_path(file)
    with file_lock(target):
        if _is_intact(file, target):
            return target
        sources = _sources(file, base)
        part = target.with_name(target.name + ".part")
        errors = []
        for source in sources:
            try:
                _fetch_file(source, file, part, target, on_progress or ignore_progress, retry_policy or RetryPolicy())
                return target
            except SourceError as error:
                errors.append(f"{_describe_source(source)} {error}")
    raise WeightsError(_failure_message(file, base, part, errors))


def _is_intact(file: ReleasedFile, target: Path) -> bool:
    if not target.is_file():
        return False
    try:
        receipt = store.require(target, file)
    except WeightsError as error:
        _log.warning("%s is downloaded again: %s", file.name, error)
        return False
    if receipt.trust == PUBLISHED:
        return True
    try:
        require_networks(target, file.networks)
    except WeightsError as error:
        _log.warning("%s is downloaded again: %s", file.name, error)
        receipt_path(target).unlink(missing_ok=True)  # its checksum is that of a wrong file
        return False
    return True


def _fetch_file(
    source: Source, file: ReleasedFile, part: Path, target: Path, on_progress: OnProgress, retry_policy: RetryPolicy
) -> None:
    """Download, verify, rename. Where a resumed part fails the verification, download it once more from the start."""
    receipt = read_receipt(target)  # of a file that was deleted or is corrupt: its checksum is still valid
    expected = file.sha256 or (receipt.sha256 if receipt else None)
    resumed = part.exists()
    on_bytes = steps_of(f"download {file.name}", on_progress)
    if isinstance(source, Path):
        _copy(source, part, file, on_bytes)
    else:
        has_checksum = expected is not None
        fetch(source, part, size=file.size, has_checksum=has_checksum, retry_policy=retry_policy, on_bytes=on_bytes)
    try:
        actual = _verify_part(part, file, expected, on_progress)
    except SourceError:
        discard(part)
        if not resumed:
            raise
        return _fetch_file(source, file, part, target, on_progress, retry_policy)
    part.replace(target)
    discard(part)  # its sidecar
    trust = PUBLISHED if file.sha256 else FIRST_USE
    write_receipt(target, sha256=actual, origin=str(source), trust=trust)
    if expected is None:
        _log.warning(
            "no checksum is published for %s: that of this download (sha256 %s) is required from now on.",
            file.name,
            actual,
        )
    return None


def _verify_part(part: Path, file: ReleasedFile, expected: str | None, on_progress: OnProgress) -> str:
    """Return the SHA-256 of a downloaded file. Raises SourceError where the file is wrong or truncated."""
    size = part.stat().st_size
    if file.size is not None and size != file.size:
        raise SourceError(f"has a file of {size:,} bytes where {file.size:,} are published")
    actual = sha256_of(part, steps_of(f"check {file.name}", on_progress))
    if expected is not None and actual != expected:
        first = "" if file.sha256 else f", that of the first download ({file.file_name}.receipt.json in the store)"
        raise SourceError(f"sent a wrong file: its sha256 is {actual}, expected {expected}{first}")
    if file.sha256 is None:
        if damage := structure_error(part, deep=True):
            raise SourceError(f"sent a file that {damage}")
        try:
            require_networks(part, file.networks)
        except WeightsError as error:
            detail = str(error).removeprefix(f"{part} ").rstrip(".")
            raise SourceError(f"sent a file that {detail}") from error
    return actual


def _copy(source: Path, part: Path, file: ReleasedFile, on_bytes: OnStep) -> None:
    discard(part)
    try:
        total = source.stat().st_size
        limit = file.size or MAX_BYTES
        if total > limit:
            raise SourceError(f"is a file of {total:,} bytes: the limit is {limit:,}")
        require_space(part, total)
        done = 0
        with source.open("rb") as reader, part.open("wb") as sink:
            while chunk := reader.read(_CHUNK):
                write_chunk(sink, chunk, part)
                done += len(chunk)
                on_bytes(done, total)
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror})") from error


def _sources(file: ReleasedFile, base: str | Path | None) -> list[Source]:
    """Return the files or addresses to try, in order."""
    places = [f"{file.folder}/{file.file_name}".lstrip("/"), file.file_name]
    if base is not None and "://" not in str(base):
        folder = Path(os.path.expanduser(base))  # noqa: PTH111 (pathlib's raises for an unknown user)
        if not folder.is_dir():
            raise WeightsError(f"--from {base} is neither a folder nor an http(s) address.")
        found: list[Source] = [folder / place for place in places if (folder / place).is_file()]
        if not found:
            raise WeightsError(f"{folder} has no {file.file_name}, neither itself nor in {file.folder or 'it'}/.")
        return found[:1]
    if variable := store.offline():
        raise WeightsError(
            f"{file.name} is not installed and {variable} forbids downloads: unset it, or import a folder that "
            f"has {file.file_name}: liveportrait-talker models import DIR."
        )
    if base is None:
        return [_apply_hub_endpoint(address) for address in file.sources]
    address = urllib.parse.urlsplit(str(base))
    if address.scheme not in ("http", "https") or not address.netloc:
        raise WeightsError(f"--from {base} is neither a folder nor an http(s) address.")
    return list(dict.fromkeys(f"{str(base).rstrip('/')}/{place}" for place in places))


def _apply_hub_endpoint(address: str) -> str:
    """Replace Hugging Face's host by the mirror in HF_ENDPOINT, as huggingface_hub does."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    official = "https://huggingface.co/"
    return f"{endpoint}/{address.removeprefix(official)}" if endpoint and address.startswith(official) else address


def _describe_source(source: Source) -> str:
    """Return the source for a message; of an address the host and path, without credentials and query."""
    if isinstance(source, Path):
        return str(source)
    address = urllib.parse.urlsplit(source)
    return f"{address.hostname}{address.path}"


def _failure_message(file: ReleasedFile, base: str | Path | None, part: Path, errors: list[str]) -> str:
    by_hand = f"download {file.sources[0]} by hand, then: liveportrait-talker models import FILE"
    if base is not None and "://" not in str(base):
        by_hand = "import your own files with liveportrait-talker models import DIR"
    kept = "The partial file is kept: try again" if part.exists() else "Try again"
    return f"could not get {file.name}: {'; '.join(errors)}. {kept}, or {by_hand}."
