"""Writing one network's tensors as a safetensors file with its origin as metadata."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import WeightsError
from ..system.locks import file_lock
from ..system.partial_files import is_disk_full, require_space, weights_disk_full
from .integrity import OWN, sha256_of, write_receipt
from .registry import MAPPINGNET_ROWS
from .tensors import quoted

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "1"  # increased when the keys or metadata of converted files change, so that old ones are converted again
WINDOW_ROWS = range(25, 100)
"""Valid lengths of the MappingNet's windows; its receptive field is 25 rows."""
_ROWS_TEXTS = frozenset(map(str, WINDOW_ROWS))  # exact spelling: int() would also take "+28" or " 28"


def convert(
    network: str,
    tensors: Mapping[str, Tensor],
    target: Path,
    *,
    source_metadata: Mapping[str, str],
    origin: Mapping[str, str],
) -> None:
    """Write `tensors` to `target` atomically, with its receipt.

    The source file's own metadata is kept; `origin`, which includes `source`, overrides it.

    Raises:
        WeightsError: the disk is full or cannot be written, or the source's `rows` are invalid.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    metadata = {**source_metadata, **origin, "network": network, "package_version": __version__, "format": FORMAT}
    if network == "mappingnet":
        metadata["rows"] = str(window_rows(source_metadata, origin["source"]))
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    with file_lock(target):
        separate = _separate_storage(tensors)
        require_space(partial, sum(t.numel() * t.element_size() for t in separate.values()))
        try:
            save_file(separate, partial, metadata=metadata)
            with partial.open("rb+") as written:
                os.fsync(written.fileno())
            partial.chmod(0o644)  # safetensors writes 0600; a store may be shared
            sha256 = sha256_of(partial)
            partial.replace(target)
        except (OSError, SafetensorError) as error:
            if is_disk_full(error):
                raise weights_disk_full(partial) from error
            raise WeightsError(f"cannot write {target}: {error}.") from error
        finally:
            partial.unlink(missing_ok=True)
        write_receipt(target, sha256=sha256, origin=origin["source"], trust=OWN)


def window_rows(metadata: Mapping[str, str], source: str | Path) -> int:
    """Return a MappingNet's window length from its file's metadata, by default that of the released network.

    Raises:
        WeightsError: it is not in WINDOW_ROWS; the message names `source`.
    """
    text = metadata.get("rows", str(MAPPINGNET_ROWS))
    if text not in _ROWS_TEXTS:
        low, high = WINDOW_ROWS[0], WINDOW_ROWS[-1]
        raise WeightsError(f"{source} states windows of {quoted(text)} rows: {low} … {high} are possible.")
    return int(text)


def _separate_storage(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors that share no storage, as safetensors requires; copy only where needed."""
    seen: set[int] = set()
    separate = {}
    for key, tensor in tensors.items():
        address = tensor.untyped_storage().data_ptr()
        shared = address in seen and tensor.is_contiguous()
        separate[key] = tensor.clone() if shared else tensor.contiguous()
        seen.add(address)
    return separate
