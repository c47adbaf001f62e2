"""NumPy's arrays as a pickle describes them, made from their bytes without calling anything the pickle names.

Source: what NumPy 1 and 2 write at protocols 2–5: `_reconstruct`, then a state; or `_frombuffer`; scalars; bytes at
protocol 2 as text to be encoded. Only plain numbers: no objects, no records, no text.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

# Module, in NumPy 1's and NumPy 2's spelling → what it is called here. Nothing of it is ever looked up.
_MODULES = {
    "numpy.core.multiarray": "multiarray",
    "numpy._core.multiarray": "multiarray",
    "numpy.core.numeric": "numeric",
    "numpy._core.numeric": "numeric",
    "numpy": "numpy",
    "_codecs": "_codecs",
}
_KNOWN = frozenset(
    [
        "multiarray._reconstruct",
        "multiarray.scalar",
        "numeric._frombuffer",
        "numpy.ndarray",
        "numpy.dtype",
        "_codecs.encode",
    ]
)
_NUMBERS = frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"])


class Refused(Exception):
    """Why a pickle is not read, as the end of a sentence."""


class PickledArray:
    """An array, which exists before its numbers do: others may point to it meanwhile."""

    value: npt.NDArray[Any] | None = None


class Name:
    """A global's name, which stands for nothing but itself. Raises Refused for one that no array needs."""

    def __init__(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise Refused("it names something by what is no name")
        self.name = f"{_MODULES.get(module, '?')}.{name}"
        if self.name not in _KNOWN:
            raise Refused(f"it wants to use {_printable(f'{module}.{name}')}, which no array needs")


class Dtype:
    """The type of an array's numbers; their byte order is told later."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="


def finish(unfinished: Any, state: Any) -> None:
    """Give a `Dtype` or a `PickledArray` the state that its pickle has for it. Raises Refused for any other."""
    if type(unfinished) is Dtype and type(state) is tuple and state[:1] == (3,) and len(state) == 8:
        if any(part is not None for part in state[2:5]):
            raise Refused("it holds an array of records")
        if type(state[1]) is not str or state[1] not in ("<", ">", "|", "="):
            raise Refused("it holds an array of no known byte order")
        unfinished.order = state[1]
    elif type(unfinished) is PickledArray and type(state) is tuple and len(state) == 5:
        _, shape, dtype, fortran, raw = state
        unfinished.value = array_of(raw, dtype, shape, "F" if fortran is True else "C")
    else:
        raise Refused("it finishes what it never began")


def made(name: str, given: tuple[Any, ...]) -> Any:
    """What calling `name`, one of `Name`'s, would make of `given`. Raises Refused for any use that no array has."""
    kinds = tuple(type(part) for part in given)
    if name == "numpy.dtype" and kinds[:1] == (str,) and len(given) <= 3:
        if given[0] not in _NUMBERS:
            raise Refused(f"it holds an array of {_printable(given[0])}, not of plain numbers")
        return Dtype(given[0])
    if name == "multiarray._reconstruct" and kinds == (Name, tuple, bytes) and given[0].name == "numpy.ndarray":
        return PickledArray()
    if name == "numeric._frombuffer" and kinds == (bytes, Dtype, tuple, str):
        array = PickledArray()
        array.value = array_of(given[0], given[1], given[2], given[3])
        return array
    if name == "multiarray.scalar" and kinds == (Dtype, bytes):
        return array_of(given[1], given[0], (), "C").item()
    if name == "_codecs.encode" and kinds == (str, str) and given[1] == "latin1":
        try:
            return given[0].encode("latin-1")
        except UnicodeEncodeError:
            raise Refused("it holds text that is none") from None
    raise Refused(f"it uses {name} in a way that no array needs")


def array_of(raw: Any, dtype: Any, shape: Any, order: str) -> npt.NDArray[Any]:
    """The numbers in `raw`, which must be exactly as many as `shape` says. Raises Refused."""
    if type(raw) is not bytes or type(dtype) is not Dtype or type(shape) is not tuple or order not in ("C", "F"):
        raise Refused("it holds an array that is none")
    if len(shape) > 8 or not all(type(n) is int and 0 < n <= 2**31 for n in shape):
        raise Refused("it holds an array of no possible shape")
    kind = np.dtype(dtype.order + dtype.code)
    if math.prod(shape) * kind.itemsize != len(raw):
        raise Refused("it holds an array with more or fewer numbers than it says")
    return np.frombuffer(raw, dtype=kind).reshape(shape, order="F" if order == "F" else "C")


def _printable(text: str) -> str:
    """Somebody else's words, fit for a message."""
    return ascii(text[:80])[1:-1]
