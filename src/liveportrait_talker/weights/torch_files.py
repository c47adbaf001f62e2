"""PyTorch's checkpoint files, read without PyTorch's loader.

A checkpoint is a pickle, which is a program. Even restricted to tensors (`weights_only=True`), PyTorch carries it out:
a few bytes may ask for any amount of memory, and before version 2.6 they could run any code. Here an interpreter of
the few opcodes that checkpoints need builds dictionaries, lists, text and numbers, and nothing else. Tensors stay
descriptions, which are compared with the bytes in the file before they are read.

Two formats: a zip file (since PyTorch 1.6), and pickles followed by the storages. Source: `torch/serialization.py` and
`pickletools` of the standard library.
"""

from __future__ import annotations

import io
import pickletools
import re
import struct
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from .integrity import ZIP_START
from .tensors import ITEM_BYTES, UNKNOWN_FORMAT, TensorSpec, is_shape

if TYPE_CHECKING:
    from torch import Tensor

_MAX_NAME, _MAX_ARGUMENTS = 200, 8  # characters of a name; arguments of a function
_MAX_PROGRAM = 4_000_000  # bytes of pickle; the largest released network has 0.1 MB
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
}
_CONSTANT_NAMES = (
    "BININT BININT1 BININT2 LONG1 BINFLOAT SHORT_BINSTRING BINSTRING SHORT_BINUNICODE BINUNICODE BINUNICODE8 "
    "SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8"
)
_CONSTANTS = frozenset(_CONSTANT_NAMES.split())
_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
# What else may be beside tensors, such as in an optimizer's state: it is not built.
_OTHER = frozenset(["collections.Counter", "_codecs.encode", "builtins.bytearray", "builtins.set", "builtins.complex"])


class TorchFileError(Exception):
    """Why a file is not read, as a predicate ("is corrupt: …")."""


@dataclass(frozen=True)
class Storage:
    """The numbers that tensors refer to. `dtype` is None for a format that is not read."""

    dtype: str | None
    key: str


@dataclass(frozen=True)
class StoredTensor:
    """What a file states of a tensor; `TorchFile.describe` checks it. Offset and strides are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class OtherObject:
    """An object that is named in a file and is not built."""

    name: str


@dataclass(frozen=True)
class TorchFile:
    """The content of a checkpoint, and where its storages are."""

    path: Path
    content: Any
    """Dictionaries, lists, text and numbers with `StoredTensor` and `OtherObject`."""
    places: Mapping[str, tuple[int, int]]
    """Key of a storage → its first byte in the file and its number of bytes."""

    def describe(self, tensor: StoredTensor) -> TensorSpec:
        """Return number format and shape. Raises TorchFileError where the file does not hold that many numbers."""
        dtype, (_, size) = tensor.storage.dtype, self.places.get(tensor.storage.key, (0, 0))
        if dtype is None:
            raise TorchFileError(UNKNOWN_FORMAT)
        if not is_shape(tensor.shape) or not is_shape(tensor.stride) or len(tensor.shape) != len(tensor.stride):
            raise TorchFileError("has an impossible shape")
        spec = TensorSpec(dtype, tensor.shape)
        reach = 0  # highest index, from the offset on
        for stride, side in sorted(zip(tensor.stride, tensor.shape, strict=True)):
            if side > 1 and stride <= reach:
                raise TorchFileError("takes the same numbers of the file more than once")
            reach += stride * max(side - 1, 0)
        if spec.size and (not is_shape((tensor.offset,)) or (tensor.offset + reach + 1) * ITEM_BYTES[dtype] > size):
            raise TorchFileError(f"states {spec.size:,} bytes of which the file holds {size:,}")
        return spec

    def read(self, tensor: StoredTensor) -> Tensor:
        """Return a tensor that `describe` accepts, memory-mapped where its bytes are aligned."""
        import torch

        spec = self.describe(tensor)
        empty = torch.empty(0, dtype=getattr(torch, spec.dtype))
        if not spec.size:
            return empty.reshape(spec.shape)
        start, size = self.places[tensor.storage.key]
        storage = self._bytes[start : start + size]
        if start % empty.element_size():
            storage = storage.clone()
        return empty.set_(storage, tensor.offset, tensor.shape, tensor.stride)

    @cached_property
    def _bytes(self) -> Any:
        import torch

        # Not shared: what is written to a tensor does not reach the file.
        mapped: Any = torch.UntypedStorage.from_file(str(self.path), False, self.path.stat().st_size)
        return mapped


def read_torch_file(path: Path) -> TorchFile:
    """Read a checkpoint of either format in which `integrity.structure_error` finds nothing wrong.

    Raises:
        TorchFileError: it is damaged, or holds Python objects.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == ZIP_START
            file.seek(0)
            return _read_zip(path, file) if is_zip else _read_legacy(path, file)
    except TorchFileError:
        raise
    except Exception as error:  # any, of a damaged pickle or zip file
        raise TorchFileError("is corrupt: its list of tensors cannot be read; get it again") from error


def _read_zip(path: Path, file: BinaryIO) -> TorchFile:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        (program,) = (name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl"))
        folder = program.removesuffix("data.pkl")
        order = entries.get(f"{folder}byteorder")
        if order is not None and archive.read(order).decode() != sys.byteorder:
            raise TorchFileError("was written on a computer with another byte order")
        if entries[program].file_size > _MAX_PROGRAM:
            raise TorchFileError("is no state dict: its list of tensors is too long")
        content = _Interpreter().run(io.BytesIO(archive.read(program)))
    places, size = {}, path.stat().st_size
    for name, entry in entries.items():
        if name.startswith(f"{folder}data/"):
            file.seek(entry.header_offset + 26)
            start = entry.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))  # after its name and extra field
            if start + entry.file_size > size:
                raise TorchFileError("is cut short")
            places[name.removeprefix(f"{folder}data/")] = (start, entry.file_size)
    return TorchFile(path, content, places)


def _read_legacy(path: Path, file: BinaryIO) -> TorchFile:
    program = io.BytesIO(file.read(_MAX_PROGRAM))
    interpreter = _Interpreter()
    magic = interpreter.run(program)
    if magic != _LEGACY_MAGIC:
        raise TorchFileError("is not a checkpoint of PyTorch")
    interpreter.run(program)  # version of the format
    if interpreter.run(program)["little_endian"] is not (sys.byteorder == "little"):
        raise TorchFileError("was written on a computer with another byte order")
    content = interpreter.run(program)
    keys = interpreter.run(program)
    places, start, size = {}, program.tell(), path.stat().st_size
    for key in keys:
        file.seek(start)
        (count,) = struct.unpack("<q", file.read(8))
        length = count * ITEM_BYTES[interpreter.storages[key].dtype or ""]
        if not 0 <= length <= size - start - 8:
            raise TorchFileError(f"is cut short: {size:,} bytes, and the data of its storages does not fit")
        places[key] = (start + 8, length)
        start += 8 + length
    return TorchFile(path, content, places)


class _Interpreter:
    """Interpreter of pickles; `storages` are those that they refer to, by key."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}

    def run(self, program: io.BytesIO) -> Any:
        """Return what the pickle at the current position describes, and leave the position after it.

        Raises:
            TorchFileError: it holds Python objects.
            Exception: it is damaged.
        """
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[int, Any] = {}
        argument: Any
        for opcode, argument, _ in pickletools.genops(program):
            name = opcode.name
            if name in _CONSTANTS:
                stack.append(argument)
            elif name in ("BINGET", "LONG_BINGET"):
                stack.append(memo[argument])
            elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[len(memo) if argument is None else argument] = stack[-1]
            elif name in _LITERALS:
                stack.append(_LITERALS[name])
            elif name in _EMPTY:
                stack.append(_EMPTY[name]())
            elif name == "MARK":
                marks.append(len(stack))
            elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
                stack.append(tuple(_pop(stack, len(stack) - int(name[-1]))))
            elif name == "TUPLE":
                stack.append(tuple(_pop(stack, marks.pop())))
            elif name in ("APPEND", "APPENDS"):
                items = _pop(stack, len(stack) - 1 if name == "APPEND" else marks.pop())
                if type(stack[-1]) is list:
                    stack[-1].extend(items)
            elif name in ("SETITEM", "SETITEMS"):
                items = _pop(stack, len(stack) - 2 if name == "SETITEM" else marks.pop())
                if type(stack[-1]) is dict:
                    # Tensors have text as keys. Other keys are dropped: hashing them may take any time.
                    stack[-1].update((k, v) for k, v in zip(items[::2], items[1::2], strict=True) if type(k) is str)
            elif name == "BINPERSID":
                stack.append(self._storage(stack.pop()))
            elif name in ("GLOBAL", "STACK_GLOBAL"):
                words = argument.split(" ", 1) if name == "GLOBAL" else _pop(stack, len(stack) - 2)
                stack.append(_named(*words))
            elif name in ("REDUCE", "NEWOBJ"):
                function, arguments = _pop(stack, len(stack) - 2)
                stack.append(_call(function, arguments))
            elif name == "BUILD":
                stack.pop()  # attributes, such as the versions of modules in a state dict
            elif name == "STOP":
                return stack.pop()
            elif name not in ("PROTO", "FRAME"):
                raise _python_objects(f"opcode {name}")
        raise EOFError

    def _storage(self, reference: tuple[Any, ...]) -> Storage:
        word, kind, key, _, _, *view = reference
        if word != "storage" or type(key) is not str or type(kind) is not OtherObject or view not in ([], [None]):
            raise ValueError
        known = re.fullmatch(r"torch\.(?:cuda\.)?(\w+)Storage", kind.name)
        return self.storages.setdefault(key, Storage(_STORAGES.get(known[1]) if known else None, key))


def _pop(stack: list[Any], start: int) -> list[Any]:
    """Remove and return the entries from `start` on. Raises IndexError where they are not there."""
    if not 0 <= start <= len(stack):
        raise IndexError
    items = stack[start:]
    del stack[start:]
    return items


def _named(module: str, name: str) -> OtherObject:
    if len(module) + len(name) > _MAX_NAME:  # each use of a name makes a new one
        raise _python_objects(f"{module[:40]}…")
    full_name = f"{module.replace('__builtin__', 'builtins')}.{name}"
    if module.partition(".")[0] != "torch" and full_name not in _OTHER | {"collections.OrderedDict"}:
        raise _python_objects(full_name)
    return OtherObject(full_name)


def _call(function: OtherObject, arguments: tuple[Any, ...]) -> Any:
    """Return the dictionary or the description of a tensor that a function makes; else the function's name."""
    if type(function) is not OtherObject or len(arguments) > _MAX_ARGUMENTS:
        raise TypeError
    if function.name == "collections.OrderedDict" and not arguments:
        return {}
    if function.name in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
        return arguments[0]
    if function.name in ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2") and not any(arguments[6:]):
        storage, offset, shape, stride = arguments[:4]
        if type(storage) is not Storage or type(shape) is not tuple or type(stride) is not tuple:
            raise TypeError
        return StoredTensor(storage, offset, shape, stride)
    return OtherObject(function.name)


def _python_objects(name: str) -> TorchFileError:
    return TorchFileError(
        f"contains pickled Python objects ({name[:80]!r}), which could run arbitrary code: it was refused and nothing "
        "in it was run; save its tensors with safetensors and use that file"
    )
