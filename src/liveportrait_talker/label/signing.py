"""Content credentials are written into a complete file before it gets its name."""

from __future__ import annotations

import errno
import io
import os
import shutil
import threading
from base64 import b64decode
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ..errors import MediaError, OptionError
from .certificates import Certificate
from .library import FORMATS, new_context, reason_of
from .manifest import build_manifest

_MORE_BYTES = 1_000_000  # than the file has; credentials are about 10 kB
_SETTINGS = {
    "builder": {
        "thumbnail": {"enabled": False},
        "created_assertion_labels": ["c2pa.actions", "c2pa.ingredient"],  # we state them ourselves
    }
}
_PIXEL = b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNgAAAAAgAB5Sfe/AAAAABJRU5ErkJggg=="
)  # a PNG


def check_certificate(certificate: Certificate) -> None:
    """Sign and verify a picture of one pixel. Raises OptionError where C2PA does not accept the certificate."""
    import c2pa

    manifest = build_manifest(title="test", description="test", trained=False, opened=False, ingredients=())
    try:
        _sign(io.BytesIO(_PIXEL), io.BytesIO(), "image/png", manifest, certificate)
    except c2pa.C2paError as error:
        hint = "label make-key --overwrite makes another; " if certificate.is_self_made else ""
        raise OptionError(
            f"the certificate in {certificate.folder} cannot sign content credentials ({reason_of(error)}): "
            f"{hint}--no-credentials writes none"
        ) from error


def sign_file(path: Path, manifest: dict[str, Any], certificate: Certificate) -> None:
    """Write content credentials into a file, which is replaced when they are complete.

    Args:
        path: a file with one of the suffixes of `FORMATS`.
        manifest: see `build_manifest`.
        certificate: signs it.

    Raises:
        MediaError: the file cannot hold them.
        OSError: the folder cannot be written; ENOSPC where a copy of the file does not fit on the disk.
    """
    import c2pa

    signed = path.with_name(f"{path.stem}.signed{path.suffix}")
    if path.stat().st_size + _MORE_BYTES > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(signed))
    failures: list[Exception] = []

    def write() -> None:
        try:
            with path.open("rb") as source, signed.open("w+b") as target:
                _sign(source, target, FORMATS[path.suffix.lower()], manifest, certificate)
        except Exception as error:
            failures.append(error)

    # Ctrl-C does not interrupt a thread: the library would take it for the end of the file.
    thread = threading.Thread(target=write, name="content credentials")
    try:
        try:
            thread.start()
            thread.join()
        finally:
            thread.join()
        if failures:
            raise failures[0]
        signed.replace(path)
    except c2pa.C2paError as error:
        raise MediaError(
            f"content credentials could not be written ({reason_of(error)}): --no-credentials writes none"
        ) from error
    finally:
        with suppress(OSError):
            signed.unlink()


def _sign(
    source: IO[bytes], target: IO[bytes], media_type: str, manifest: dict[str, Any], certificate: Certificate
) -> None:
    import c2pa

    info = c2pa.C2paSignerInfo(certificate.algorithm, certificate.chain, certificate.key, None)  # no timestamp
    with (
        c2pa.Signer.from_info(info) as signer,
        new_context(**_SETTINGS) as context,
        c2pa.Builder(manifest, context=context) as builder,
    ):
        builder.sign(signer, media_type, source, target)
