"""The networks' tensors by name, shape and number format, with which a file is compared before its data is read.

`tensors.json` is made by `scripts/list_tensors.py` from the definitions of the networks on torch's meta device. Those
are in packages that this one may not import, and the list is also read where torch is not installed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
"""Number formats of tensors that are read, by torch's names."""
UNKNOWN_FORMAT = "is of a number format that networks do not have"
_FLOATS = ("float64", "float32", "float16", "bfloat16")
_MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class TensorSpec:
    """Number format, by torch's name, and shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


def is_shape(value: object) -> bool:
    """Return whether a list or tuple from a file is the shape of a tensor: few sizes, none absurd."""
    return (
        isinstance(value, (list, tuple))
        and len(value) <= _MAX_DIMENSIONS
        and all(type(side) is int and 0 <= side < 2**48 for side in value)
    )


@cache
def expected_tensors(network: str) -> Mapping[str, TensorSpec]:
    """Return name → description of the tensors of a network, as it is saved in float32."""
    return {
        name: TensorSpec("int64" if name.endswith(".num_batches_tracked") else "float32", tuple(shape))
        for name, shape in _shapes()[network].items()
    }


def misfit(expected: Mapping[str, TensorSpec], found: Mapping[str, TensorSpec]) -> str | None:
    """Return which tensor keeps a file from being a network's ("it lacks …"), None where all fit.

    Floating-point numbers may have another format than the network's.
    """
    if missing := [name for name in expected if name not in found]:
        return f"it lacks the tensor {quoted(missing[0])}{_and_more(missing)}"
    if foreign := [name for name in found if name not in expected]:
        return f"it has the tensor {quoted(foreign[0])}{_and_more(foreign)}, which the network does not have"
    for name, wanted in expected.items():
        dtype, shape = found[name].dtype, found[name].shape
        if shape != wanted.shape:
            return f"its tensor {quoted(name)} has the shape {list(shape)} where {list(wanted.shape)} is needed"
        if dtype != wanted.dtype and not (dtype in _FLOATS and wanted.dtype in _FLOATS):
            return f"its tensor {quoted(name)} holds {dtype} numbers where {wanted.dtype} is needed"
    return None


def quoted(text: str) -> str:
    """Return text from a file for a message: short, without control characters."""
    return repr(text if len(text) <= 80 else f"{text[:79]}…")


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1:,} more" if len(names) > 1 else ""


@cache
def _shapes() -> dict[str, dict[str, list[int]]]:
    shapes: dict[str, dict[str, list[int]]] = json.loads(
        Path(__file__).with_name("tensors.json").read_text(encoding="utf-8")
    )
    return shapes
