"""Released files into the store: mirrors in turn, summed, renamed when whole."""

from __future__ import annotations

import logging
import os
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import WeightsError
from ..progress import OnProgress, ignore_progress
from ..system.locks import only_one
from ..system.partial_files import discard, make_room, write
from . import registry, store
from .importing import convert_released
from .integrity import FIRST_USE, PUBLISHED, read_receipt, sha256_of, structure_trouble, write_receipt
from .registry import ReleasedFile
from .transfer import LARGEST, Patience, SourceError, fetch

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20
Source = str | Path


def download_and_convert(
    names: Sequence[str], *, base: str | Path | None = None, on_progress: OnProgress | None = None
) -> Iterator[tuple[ReleasedFile, Path]]:
    """Fetch files, or groups of files, by name and convert them; yield each with its path when it is ready.

    Raises WeightsError for the first file that cannot be had.
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
    patience: Patience | None = None,
) -> Path:
    """The released file `name`, fetched into the store unless it is there already. Returns its path.

    `base` (an http(s) address or a folder) takes the place of the published mirrors; files are looked for there in the
    released layout and flat. `on_progress(stage, done, total)` counts bytes; total is 0 where it is not known.

    Raises:
        WeightsError: the name is not known, the network is switched off or no mirror serves the file, its sum is wrong,
            or the disk is full.
    """
    file = registry.find(name)
    target = store.released_path(file)
    with only_one(target):
        if _is_here(file, target):
            return target
        sources = _sources(file, base)
        tell = on_progress or ignore_progress
        part = target.with_name(target.name + ".part")
        troubles = []
        for source in sources:
            try:
                _obtain(source, file, part, target, tell, patience or Patience())
                return target
            except SourceError as error:
                troubles.append(f"{_place(source)} {error}")
    raise WeightsError(_sentence(file, base, part, troubles))


def _is_here(file: ReleasedFile, target: Path) -> bool:
    if not target.is_file():
        return False
    try:
        store.require(target, file)
    except WeightsError as error:
        _log.warning("%s is fetched again: %s", file.name, error)
        return False
    return True


def _obtain(source: Source, file: ReleasedFile, part: Path, target: Path, tell: OnProgress, patience: Patience) -> None:
    """Fetch, sum, rename. A part from an earlier run that spoils the sum is dropped, and the source asked once more."""
    receipt = read_receipt(target)  # of a file that has gone or is corrupt: its sum holds still
    expected = file.sha256 or (receipt.sha256 if receipt else None)
    resumed = part.exists()

    def on_bytes(done: int, total: int) -> None:
        tell(f"download {file.name}", done, total)

    if isinstance(source, Path):
        _copy(source, part, file, on_bytes)
    else:
        fetch(source, part, size=file.size, summed=expected is not None, patience=patience, on_bytes=on_bytes)
    try:
        actual = _accepted(part, file, expected, tell)
    except SourceError:
        discard(part)
        if not resumed:
            raise
        return _obtain(source, file, part, target, tell, patience)
    part.replace(target)
    discard(part)  # the note beside it
    trust = PUBLISHED if file.sha256 else FIRST_USE
    write_receipt(target, sha256=actual, origin=str(source), trust=trust)
    if expected is None:
        _log.warning(
            "no sum is published for %s: the one that came (sha256 %s) is kept, and asked for from now on.",
            file.name,
            actual,
        )
    return None


def _accepted(part: Path, file: ReleasedFile, expected: str | None, tell: OnProgress) -> str:
    """The sum of a fetched file. Raises SourceError where it is not the one wanted, or the file is cut."""
    size = part.stat().st_size
    if file.size is not None and size != file.size:
        raise SourceError(f"has a file of {size:,} bytes where {file.size:,} are published")
    actual = sha256_of(part, lambda done, total: tell(f"check {file.name}", done, total))
    if expected is not None and actual != expected:
        raise SourceError(f"sent a wrong file: its sha256 is {actual}, not the {expected} that is known")
    if expected is None and (trouble := structure_trouble(part, deep=True)):
        raise SourceError(f"sent a file that {trouble}")
    return actual


def _copy(source: Path, part: Path, file: ReleasedFile, on_bytes: Callable[[int, int], None]) -> None:
    discard(part)
    try:
        total = source.stat().st_size
        most = file.size or LARGEST
        if total > most:
            raise SourceError(f"is a file of {total:,} bytes: more than the {most:,} that are taken")
        make_room(part, total)
        done = 0
        with source.open("rb") as reader, part.open("wb") as sink:
            while chunk := reader.read(_CHUNK):
                write(sink, chunk, part)
                done += len(chunk)
                on_bytes(done, total)
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror})") from error


def _sources(file: ReleasedFile, base: str | Path | None) -> list[Source]:
    """Where to look, in turn. Names come from the registry alone, never from the network."""
    places = [f"{file.folder}/{file.file_name}".lstrip("/"), file.file_name]
    if base is not None and "://" not in str(base):
        folder = Path(base).expanduser()
        if not folder.is_dir():
            raise WeightsError(f"--from {base} is no folder and no http(s) address.")
        found: list[Source] = [folder / place for place in places if (folder / place).is_file()]
        if not found:
            raise WeightsError(f"{folder} has no {file.file_name}, neither itself nor in {file.folder or 'it'}/.")
        return found[:1]
    if variable := store.offline():
        raise WeightsError(
            f"{file.name} is not installed and {variable} switches the network off: unset it, or give a folder that "
            f"has {file.file_name}: liveportrait-talker models import DIR."
        )
    if base is None:
        return [_hub(address) for address in file.sources]
    address = urllib.parse.urlsplit(str(base))
    if address.scheme not in ("http", "https") or not address.netloc:
        raise WeightsError(f"--from {base} is no folder and no http(s) address.")
    return list(dict.fromkeys(f"{str(base).rstrip('/')}/{place}" for place in places))


def _hub(address: str) -> str:
    """HF_ENDPOINT names a mirror of the whole Hugging Face hub, as it does for its own library."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    official = "https://huggingface.co/"
    return f"{endpoint}/{address.removeprefix(official)}" if endpoint and address.startswith(official) else address


def _place(source: Source) -> str:
    """The source in a sentence: of an address the host and path, without what may be secret in it."""
    if isinstance(source, Path):
        return str(source)
    address = urllib.parse.urlsplit(source)
    return f"{address.hostname}{address.path}"


def _sentence(file: ReleasedFile, base: str | Path | None, part: Path, troubles: list[str]) -> str:
    by_hand = f"fetch {file.sources[0]} by hand, then: liveportrait-talker models import FILE"
    if base is not None and "://" not in str(base):
        by_hand = "liveportrait-talker models import DIR takes files of your own"
    kept = "What came so far is kept: try again" if part.exists() else "Try again"
    return f"could not get {file.name}: {'; '.join(troubles)}. {kept}, or {by_hand}."
