"""Integrity of weight files: checksums, receipts, and checks of the file structure."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from .safetensors_files import HeaderError, read_header
from .tensors import quoted

PUBLISHED, FIRST_USE, OWN = "published", "first use", "own"
ZIP_START = b"PK\x03\x04"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Receipt:
    """Record of a file's acceptance, stored beside it as FILE.receipt.json.

    `trust` is `published` (the checksum is the released one), `first use` (none is published; that of the first
    download) or `own` (not a released file, or a converted one). An unchanged size and modification time count as an
    unchanged file.
    """

    sha256: str
    size: int  # bytes
    mtime_ns: int
    origin: str
    trust: str

    def matches(self, path: Path) -> bool:
        """Return whether the file has the recorded size and modification time."""
        state = path.stat()
        return (state.st_size, state.st_mtime_ns) == (self.size, self.mtime_ns)


def receipt_path(path: Path) -> Path:
    """Return the path of the receipt of `path`."""
    return path.with_name(path.name + ".receipt.json")


def read_receipt(path: Path) -> Receipt | None:
    """Return the receipt of the file `path`, None where there is no readable one."""
    try:
        fields = json.loads(receipt_path(path).read_text(encoding="utf-8"))
        return Receipt(
            str(fields["sha256"]),
            int(fields["size"]),
            int(fields["mtime_ns"]),
            str(fields["origin"]),
            str(fields["trust"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_receipt(path: Path, *, sha256: str, origin: str, trust: str) -> Receipt:
    """Record that `path` was accepted with this checksum."""
    state = path.stat()
    receipt = Receipt(sha256, state.st_size, state.st_mtime_ns, origin, trust)
    partial = receipt_path(path).with_suffix(f".{os.getpid()}.part")
    # In a read-only store the checksum is computed each time instead.
    with contextlib.suppress(OSError):
        partial.write_text(json.dumps(asdict(receipt), indent=1), encoding="utf-8")
        partial.replace(receipt_path(path))
    return receipt


def sha256_of(path: Path, on_bytes: Callable[[int, int], None] | None = None) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    total, done, digest = path.stat().st_size, 0, hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if on_bytes is not None:
                on_bytes(done, total)
    return digest.hexdigest()


def structure_error(path: Path, *, deep: bool = False) -> str | None:
    """Return what is wrong with the structure of a weight file ("is empty", …), None where nothing is.

    Detects truncation without a known checksum: a safetensors header states the size, a PyTorch zip file ends with its
    directory. `deep` also verifies the zip's CRCs, which detects flipped bits.
    """
    size = path.stat().st_size
    if size == 0:
        return "is empty"
    with path.open("rb") as file:
        start = file.read(64)
        if start.startswith(b"version https://git-lfs"):
            return "is a Git LFS pointer, not the file itself (git lfs pull fetches it)"
        if start.lstrip()[:1] == b"<":
            return "is a web page, not weights"
        if start.startswith(ZIP_START):
            return _zip_error(path, deep=deep)
        if path.suffix == ".safetensors" or start[8:9] == b"{":
            try:
                read_header(path)
            except HeaderError as error:
                return str(error)
            return None
    return None if start.startswith(b"\x80") else "is not a weights file (neither PyTorch nor safetensors)"


def _zip_error(path: Path, *, deep: bool) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            # PyTorch never compresses; a compressed file could expand to any size.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                return "holds compressed entries, which PyTorch never writes"
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                return "is corrupt: its entries overlap, or are larger than the file"
            bad = archive.testzip() if deep else None
    except Exception:  # zipfile raises half a dozen kinds for a damaged file
        return "is cut short or corrupt: its directory cannot be read"
    return None if bad is None else f"is corrupt: its entry {quoted(bad)} fails its own checksum"
