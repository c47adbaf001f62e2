"""Headers of safetensors files, read without the library of that name.

A header is JSON: name → number format, shape and byte range of each tensor; `__metadata__` is text → text.
Source: the description of the format at https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from .tensors import TensorSpec, is_shape

_MAX_HEADER = 8_000_000  # bytes; the format allows 100 MB, the largest released file has 0.2 MB
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


class HeaderError(Exception):
    """What is wrong with a safetensors file, as a predicate."""


def read_header(path: Path) -> tuple[dict[str, TensorSpec], dict[str, str]]:
    """Return name → description of a safetensors file's tensors, and its metadata.

    Raises:
        HeaderError: the header is not one of the format, or the data that it describes is not there.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(9)
        length = struct.unpack("<Q", start[:8])[0] if size >= 8 else 0
        if not 2 <= length <= _MAX_HEADER or start[8:] != b"{":
            raise HeaderError("is corrupt: it has no safetensors header")
        if size < 8 + length:
            raise HeaderError(f"is cut short: {size:,} bytes, and the header alone takes {8 + length:,}")
        header = b"{" + file.read(length - 1)
    try:
        entries = json.loads(header, object_pairs_hook=_without_repeats)
        metadata = entries.pop("__metadata__", {})
        if not all(type(value) is str for value in metadata.values()):
            raise ValueError
        tensors = {name: _spec(entry) for name, entry in entries.items()}
        ranges = sorted(entry["data_offsets"] for entry in entries.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HeaderError("is corrupt: its safetensors header cannot be read") from error
    end = 0
    for first, last in ranges:  # without gaps and overlaps, as the format requires
        if first != end:
            raise HeaderError("is corrupt: its safetensors header describes overlapping tensors, or gaps")
        end = last
    held = size - 8 - length
    if held < end:
        raise HeaderError(f"is cut short: {held:,} of {end:,} bytes of tensors are there")
    if held > end:
        raise HeaderError("is corrupt: there are bytes after its last tensor")
    return tensors, metadata


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError
    return entries


def _spec(entry: dict[str, Any]) -> TensorSpec:
    """Return the description of a tensor. Raises ValueError where its shape and its bytes differ."""
    code, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(code) is not str or not is_shape(shape) or not is_shape((first, last)) or first > last:
        raise ValueError
    spec = TensorSpec(_DTYPES.get(code, code), tuple(shape))
    if code in _DTYPES and spec.size != last - first:
        raise ValueError
    return spec
