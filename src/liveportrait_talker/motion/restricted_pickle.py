"""Restricted unpickling of dictionaries, lists, text, numbers and NumPy arrays.

A pickle is a program that may call any function by name. Two checks keep a file from doing so. `_check_opcodes` reads
the whole program first: only the opcodes that such data need, bounded in number, stack and memo. Then
`_Unpickler.find_class` resolves the few names that NumPy 1 and 2 write at protocols 2–5 to functions of this module;
nothing that a pickle names is ever imported or called.

Source: the opcode descriptions of the standard library's `pickletools`.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_MAX_OPCODES = 6_000_000
_MAX_MEMO = 2_000_000
_MAX_STACK = 4096  # picklers write lists in batches of 1000 entries
_MAX_MARKS = 32

# Opcode → (entries it takes from the stack, entries it puts there); None: all above the mark.
_PUSHES = (
    "NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT SHORT_BINUNICODE BINUNICODE BINUNICODE8 "
    "SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_LIST EMPTY_TUPLE EMPTY_DICT GLOBAL BINGET LONG_BINGET"
)
_EFFECTS: dict[str, tuple[int | None, int]] = dict.fromkeys(_PUSHES.split(), (0, 1)) | {
    **dict.fromkeys(("PROTO", "FRAME", "MARK", "BINPUT", "LONG_BINPUT", "MEMOIZE"), (0, 0)),
    "TUPLE": (None, 1),
    "TUPLE1": (1, 1),
    "TUPLE2": (2, 1),
    "TUPLE3": (3, 1),
    "APPEND": (1, 0),
    "APPENDS": (None, 0),
    "SETITEM": (2, 0),
    "SETITEMS": (None, 0),
    "STACK_GLOBAL": (2, 1),
    "REDUCE": (2, 1),
    "BUILD": (1, 0),
    "STOP": (1, 0),
}
_DTYPES = frozenset(["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"])


class UnsafePickleError(Exception):
    """Why a pickle is not read, as the end of a sentence."""


class PickledArray:
    """Stand-in for an array: created by `_reconstruct` before its data, which other objects may refer to meanwhile."""

    __slots__ = ("_make", "value")

    def __init__(self, make: Callable[..., npt.NDArray[Any]]) -> None:
        self._make = make
        self.value: npt.NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        if type(state) is not tuple or len(state) != 5:
            raise UnsafePickleError("it holds an array with an unknown state")
        _, shape, dtype, fortran, data = state
        self.value = self._make(data, dtype, shape, "F" if fortran is True else "C")


def unpickle_arrays(data: bytes) -> Any:
    """Return what a pickle of protocol 2–5 describes, with a `PickledArray` in place of each array.

    Lists and dictionaries may contain themselves: do not recurse into them.

    Raises:
        UnsafePickleError: the pickle is damaged, too long, or holds anything else.
    """
    try:
        return _Unpickler(_check_opcodes(data)).load()
    except UnsafePickleError:
        raise
    except Exception as error:  # pickle documents that damaged data may raise any exception
        raise UnsafePickleError("it is damaged") from error


def _check_opcodes(data: bytes) -> bytes:
    """Return the checked program without its FRAME opcodes.

    Frames are optional, and CPython's unpickler misreads opcodes that cross the end of one: it would run a program that
    was not checked. Of each entry of the stack only this is kept: whether it is text. Dictionary keys must be, because
    only the hash of text is salted, and hashing tuples recurses on the C stack.

    Raises:
        UnsafePickleError: the program is outside the limits.
        IndexError, KeyError, ValueError: the program is damaged.
    """
    pieces: list[bytes] = []
    piece_start = 0
    stack: list[bool] = []
    marks: list[int] = []
    memo: dict[int, bool] = {}
    argument: Any
    position: Any
    for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
        name = opcode.name
        if name not in _EFFECTS:
            raise UnsafePickleError(f"it holds the opcode {name}, which no array needs")
        if name == "PROTO" and not 2 <= argument <= 5:
            raise UnsafePickleError(f"it is a pickle of protocol {argument}; 2 to 5 are read")
        if name == "FRAME":
            pieces.append(data[piece_start:position])
            piece_start = position + 9
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            index = len(memo) if argument is None else argument
            if index >= _MAX_MEMO:  # the memo is an array as long as the largest index
                raise UnsafePickleError("it is too long")
            memo[index] = stack[-1]
        taken, pushed = _EFFECTS[name]
        start = marks.pop() if taken is None else len(stack) - taken
        if start < (marks[-1] if marks else 0):
            raise IndexError
        if name in ("SETITEM", "SETITEMS") and not all(stack[start::2]):
            raise UnsafePickleError("it holds a dictionary with a key that is not text")
        del stack[start:]
        if pushed:
            stack.append(memo[argument] if name in ("BINGET", "LONG_BINGET") else "UNICODE" in name)
        if len(stack) > _MAX_STACK or len(marks) > _MAX_MARKS:
            raise UnsafePickleError("it is nested too deeply")
        if count >= _MAX_OPCODES:
            raise UnsafePickleError("it is too long")
    return b"".join([*pieces, data[piece_start:]])


class _Unpickler(pickle.Unpickler):
    """Unpickler of a checked program whose every global is a `_StandIn`."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._budget = 2 * len(data)  # bytes: once for text that is encoded, once for arrays

    def find_class(self, module: str, name: str) -> _StandIn:
        """Return the stand-in for a global, or raise UnsafePickleError."""
        full_name = f"{module.replace('numpy._core.', 'numpy.core.')}.{name}"
        functions = {
            "numpy.core.multiarray._reconstruct": self._reconstruct,
            "numpy.core.multiarray.scalar": self._scalar,
            "numpy.core.numeric._frombuffer": self._from_buffer,
            "numpy.ndarray": None,
            "numpy.dtype": _Dtype,
            "_codecs.encode": self._encode,
        }
        if full_name not in functions:
            raise UnsafePickleError(f"it refers to {_printable(f'{module}.{name}')}, which no array needs")
        return _StandIn(full_name, functions[full_name])

    def persistent_load(self, pid: Any) -> Any:
        """Refuse persistent ids."""
        raise UnsafePickleError("it refers to an object outside the file")

    def _reconstruct(self, subtype: _StandIn, shape: tuple[int, ...], code: bytes) -> PickledArray:
        if type(subtype) is not _StandIn or subtype.name != "numpy.ndarray":
            raise TypeError
        return PickledArray(self._array)

    def _from_buffer(self, data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> PickledArray:
        array = PickledArray(self._array)
        array.value = self._array(data, dtype, shape, order)
        return array

    def _scalar(self, dtype: _Dtype, data: bytes) -> Any:
        return self._array(data, dtype, (), "C").item()

    def _encode(self, text: str, encoding: str) -> bytes:
        """Encode text: how protocol 2 stores bytes."""
        if type(text) is not str or encoding != "latin1":
            raise TypeError
        self._spend(len(text))
        return text.encode("latin-1")

    def _array(self, data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
        if type(data) not in (bytes, bytearray) or type(dtype) is not _Dtype or type(shape) is not tuple:
            raise UnsafePickleError("it holds an array that is not made of bytes, a dtype and a shape")
        if len(shape) > 8 or not all(type(n) is int and 0 < n <= 2**31 for n in shape):
            raise UnsafePickleError("it holds an array of an impossible shape")
        if math.prod(shape) * dtype.value.itemsize != len(data):
            raise UnsafePickleError("it holds an array whose shape and data disagree")
        self._spend(len(data))
        return np.frombuffer(bytes(data), dtype=dtype.value).reshape(shape, order="F" if order == "F" else "C")

    def _spend(self, size: int) -> None:
        """Keep a small file that repeats itself by the memo from becoming large."""
        self._budget -= size
        if self._budget < 0:
            raise UnsafePickleError("it holds more data than its size")


class _StandIn:
    """Replacement of a global: callable, without attributes that can be set, and refusing a state."""

    __slots__ = ("_function", "name")

    def __init__(self, name: str, function: Callable[..., Any] | None) -> None:
        self.name = name
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self._function(*arguments)  # type: ignore[misc]  # None for `numpy.ndarray`, which is not called
        except (TypeError, UnicodeError) as error:
            raise UnsafePickleError(f"it calls {self.name} in a way that no array needs") from error

    def __setstate__(self, state: Any) -> None:
        raise UnsafePickleError(f"it changes {self.name}")


class _Dtype:
    """A plain numeric dtype; its byte order comes with the state."""

    __slots__ = ("value",)

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if type(code) is not str:
            raise TypeError
        if code not in _DTYPES:
            raise UnsafePickleError(f"it holds an array of {_printable(code)}, not of plain numbers")
        self.value = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if type(state) is not tuple or len(state) != 8 or state[0] != 3 or state[2:5] != (None, None, None):
            raise UnsafePickleError("it holds an array of records or of an unknown kind")
        if type(state[1]) is not str or state[1] not in ("<", ">", "|", "="):
            raise UnsafePickleError("it holds an array of an unknown byte order")
        self.value = np.dtype(state[1] + self.value.str[1:])


def _printable(text: str) -> str:
    """Return text from the file as short ASCII, to be quoted in a message."""
    return ascii(text[:80])[1:-1]
