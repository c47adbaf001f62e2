"""Numbers out of a pickle, without a way to execute anything.

Source: Python's description of the pickle protocols 2–5. A pickle is a program for a stack machine, and one of its
instructions calls any function by name. This machine has the few instructions that dicts, lists and NumPy's arrays
need and no way to call: a global is a name and stays one, and what it would have made of an array's bytes is made in
`pickled_arrays`. Everything else is refused by its name. Work and memory are bounded by the pickle's size and counts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from .pickled_arrays import Name, PickledArray, Refused, finish, made

__all__ = ["PickledArray", "Refused", "pickled_numbers"]

_MAX_STEPS = 6_000_000
_MAX_MEMO = 2_000_000
_MAX_STACK = 4096  # pickles come in batches of 1000 entries
_MAX_MARKS = 32
_LONGEST_TUPLE = 16

# Instructions that other pickles use, for the message.
_REFUSED = {
    b"P": "PERSID", b"Q": "BINPERSID", b"i": "INST", b"o": "OBJ", b"\x81": "NEWOBJ", b"\x92": "NEWOBJ_EX",
    b"\x82": "EXT1", b"\x83": "EXT2", b"\x84": "EXT4", b"\x97": "NEXT_BUFFER", b"\x98": "READONLY_BUFFER",
    b"\x8f": "EMPTY_SET", b"\x90": "ADDITEMS", b"\x91": "FROZENSET", b"\x8b": "LONG4", b"I": "INT", b"L": "LONG",
    b"F": "FLOAT", b"S": "STRING", b"T": "BINSTRING", b"U": "SHORT_BINSTRING", b"V": "UNICODE", b"g": "GET",
    b"p": "PUT", b"0": "POP", b"1": "POP_MARK", b"2": "DUP", b"d": "DICT", b"l": "LIST",
}  # fmt: skip


def pickled_numbers(data: bytes) -> Any:
    """What a pickle of protocol 2–5 describes: dicts, lists, tuples, text, numbers, bytes, `PickledArray`.

    Lists and dicts may hold themselves: look, do not recurse.

    Raises:
        Refused: it is damaged, too long, or holds anything else.
    """
    return _Machine(data).run()


class _Machine:
    """The stack machine, over one pickle in memory."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._encoded = 0

    def run(self) -> Any:
        """What the pickle describes: dicts, lists, tuples, text, numbers, bytes, arrays, names."""
        for _ in range(_MAX_STEPS):
            code = self._take(1)
            if code == b".":
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                name = _REFUSED.get(code, f"0x{code[0]:02x}")
                raise Refused(f"it holds the instruction {name}, which no array needs")
            step(self)
            if len(self._stack) > _MAX_STACK or len(self._marked) > _MAX_MARKS:
                raise Refused("it is nested too deeply")
        raise Refused("it is too long")

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise Refused("it is cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def _number(self, kind: str) -> Any:
        return struct.unpack("<" + kind, self._take(struct.calcsize("<" + kind)))[0]

    def _text(self, kind: str) -> str:
        return self._decoded(self._take(self._number(kind)))

    def _line(self) -> str:
        end = self._data.find(b"\n", self._at, self._at + 256)
        if end < 0:
            raise Refused("it names something without an end")
        line = self._take(end - self._at)
        self._at += 1
        return self._decoded(line)

    @staticmethod
    def _decoded(raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise Refused("it holds text that is none") from None

    def _pop(self) -> Any:
        if not self._stack:
            raise Refused("it takes what it never made")
        return self._stack.pop()

    def _top(self, kind: type[Any]) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            raise Refused(f"it fills a {kind.__name__} that is none")
        return self._stack[-1]

    def _since_mark(self) -> list[Any]:
        if not self._marked:
            raise Refused("it takes what it never made")
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _protocol(self) -> None:
        version = self._take(1)[0]
        if not 2 <= version <= 5:
            raise Refused(f"it is a pickle of protocol {version}; 2 to 5 are read")

    def _frame(self) -> None:
        self._take(8)  # a length for readers that buffer, which this one need not

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _remember(self, index: int) -> None:
        if len(self._memo) >= _MAX_MEMO:
            raise Refused("it remembers too much")
        if not self._stack:
            raise Refused("it remembers what it never made")
        self._memo[index] = self._stack[-1]

    def _recall(self, index: int) -> None:
        if index not in self._memo:
            raise Refused("it recalls what it never made")
        self._stack.append(self._memo[index])

    def _tuple(self, items: list[Any]) -> None:
        # Tuples describe arrays here: numbers, names, and a shape in them at the most.
        if len(items) > _LONGEST_TUPLE or any(
            type(x) in (list, dict) or (type(x) is tuple and any(type(y) is tuple for y in x)) for x in items
        ):
            raise Refused("it is nested too deeply")
        self._stack.append(tuple(items))

    def _few(self, count: int) -> None:
        self._tuple([self._pop() for _ in range(count)][::-1])

    def _append(self, items: list[Any]) -> None:
        self._top(list).extend(items)

    def _set(self, items: list[Any]) -> None:
        keys = items[::2]
        if len(items) % 2 or not all(type(key) is str for key in keys):
            raise Refused("it has an entry whose name is no text")
        self._top(dict).update(zip(keys, items[1::2], strict=True))

    def _set_one(self) -> None:
        value = self._pop()
        self._set([self._pop(), value])

    def _whole_number(self) -> None:
        length = self._take(1)[0]
        if length > 8:
            raise Refused("it holds a number larger than any in a template")
        self._stack.append(int.from_bytes(self._take(length), "little", signed=True))

    def _stack_global(self) -> None:
        name = self._pop()
        self._stack.append(Name(self._pop(), name))

    def _call(self) -> None:
        """Make what the call would have made, without calling."""
        given, what = self._pop(), self._pop()
        if type(what) is not Name or type(given) is not tuple:
            raise Refused("it calls what is no name")
        value = made(what.name, given)
        if type(value) is bytes:  # from text, which may be recalled any number of times
            self._encoded += len(value)
            if self._encoded > len(self._data):
                raise Refused("it says the same too often")
        self._stack.append(value)

    def _build(self) -> None:
        state = self._pop()
        finish(self._stack[-1] if self._stack else None, state)


_STEPS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": _Machine._protocol,
    b"\x95": _Machine._frame,
    b"(": _Machine._mark,
    b"}": lambda m: m._stack.append({}),
    b"]": lambda m: m._stack.append([]),
    b")": lambda m: m._stack.append(()),
    b"t": lambda m: m._tuple(m._since_mark()),
    b"\x85": lambda m: m._few(1),
    b"\x86": lambda m: m._few(2),
    b"\x87": lambda m: m._few(3),
    b"a": lambda m: m._append([m._pop()]),
    b"e": lambda m: m._append(m._since_mark()),
    b"s": _Machine._set_one,
    b"u": lambda m: m._set(m._since_mark()),
    b"N": lambda m: m._stack.append(None),
    b"\x88": lambda m: m._stack.append(True),
    b"\x89": lambda m: m._stack.append(False),
    b"K": lambda m: m._stack.append(m._number("B")),
    b"M": lambda m: m._stack.append(m._number("H")),
    b"J": lambda m: m._stack.append(m._number("i")),
    b"\x8a": _Machine._whole_number,
    b"G": lambda m: m._stack.append(struct.unpack(">d", m._take(8))[0]),
    b"\x8c": lambda m: m._stack.append(m._text("B")),
    b"X": lambda m: m._stack.append(m._text("I")),
    b"\x8d": lambda m: m._stack.append(m._text("Q")),
    b"C": lambda m: m._stack.append(m._take(m._number("B"))),
    b"B": lambda m: m._stack.append(m._take(m._number("I"))),
    b"\x8e": lambda m: m._stack.append(m._take(m._number("Q"))),
    b"\x96": lambda m: m._stack.append(m._take(m._number("Q"))),  # a bytearray
    b"q": lambda m: m._remember(m._number("B")),
    b"r": lambda m: m._remember(m._number("I")),
    b"\x94": lambda m: m._remember(len(m._memo)),
    b"h": lambda m: m._recall(m._number("B")),
    b"j": lambda m: m._recall(m._number("I")),
    b"c": lambda m: m._stack.append(Name(m._line(), m._line())),
    b"\x93": _Machine._stack_global,
    b"R": _Machine._call,
    b"b": _Machine._build,
}
