"""One network's tensors → one safetensors file that says where it is from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import WeightsError
from ..system.locks import only_one
from ..system.partial_files import full, is_full, make_room
from .integrity import OWN, sha256_of, write_receipt
from .registry import MAPPINGNET_ROWS

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "1"  # of the converted file: raised when its keys or metadata change, so that old ones are made anew
WINDOW_ROWS = range(25, 100)
"""How long the MappingNet's windows may be: its kernels reach over 25 rows."""
_ROWS_TEXTS = frozenset(map(str, WINDOW_ROWS))


def convert(
    network: str, tensors: Mapping[str, Tensor], target: Path, *, own_notes: Mapping[str, str], notes: Mapping[str, str]
) -> None:
    """Write `tensors` to `target`: to a temporary file, then renamed; with its receipt.

    `own_notes` is what the source file said of itself and is kept; `notes` is what we say of it and wins.

    Raises:
        WeightsError: the disk is full or cannot be written, or the source states nonsense about its windows.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    said = {**own_notes, **notes, "network": network, "package_version": __version__, "format": FORMAT}
    if network == "mappingnet":
        said["rows"] = str(window_rows(own_notes, notes["source"]))
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    with only_one(target):
        apart = _unshared(tensors)
        make_room(partial, sum(t.numel() * t.element_size() for t in apart.values()))
        try:
            save_file(apart, partial, metadata=said)
            with partial.open("rb+") as written:
                os.fsync(written.fileno())
            partial.chmod(0o644)  # safetensors makes it readable for its maker alone; a store may be shared
            sha256 = sha256_of(partial)
            partial.replace(target)
        except (OSError, SafetensorError) as error:
            if is_full(error):
                raise full(partial) from error
            raise WeightsError(f"cannot write {target}: {error}.") from error
        finally:
            partial.unlink(missing_ok=True)
        write_receipt(target, sha256=sha256, origin=notes["source"], trust=OWN)


def window_rows(notes: Mapping[str, str], source: str | Path) -> int:
    """The window length that a MappingNet's file states in what it says of itself; the released one's where it is mute.

    Raises:
        WeightsError: it is not one of WINDOW_ROWS; the text names `source`.
    """
    text = notes.get("rows", str(MAPPINGNET_ROWS))
    if text not in _ROWS_TEXTS:
        least, most = WINDOW_ROWS[0], WINDOW_ROWS[-1]
        raise WeightsError(f"{source} says that its windows have {text!r} rows: {least} … {most} make sense.")
    return int(text)


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """safetensors wants each tensor in one piece and in memory of its own; a mapped one is left where it is."""
    seen: set[int] = set()
    apart = {}
    for key, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        shared = memory in seen and tensor.is_contiguous()
        apart[key] = tensor.clone() if shared else tensor.contiguous()
        seen.add(memory)
    return apart
