"""Coding-independent code points (CICP, ITU-T H.273) for colours, read from still images."""

from __future__ import annotations

import struct
from pathlib import Path

_HEAD = 1 << 20  # bytes to search; the code points precede the pixels
_NCLX = b"\x00\x00\x00\x13colrnclx"  # ISO/IEC 14496-12: a box of 19 bytes


def read_cicp(path: Path, kind: str) -> tuple[int, int] | None:
    """Return (transfer function, primaries) of a HEIF, AVIF or PNG file; None if not given. `kind`: Pillow's format."""
    if kind not in ("HEIF", "AVIF", "PNG"):
        return None
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if kind != "PNG":
        at = head.find(_NCLX)
        numbers = head[at + len(_NCLX) : at + len(_NCLX) + 4] if at >= 0 else b""
        if len(numbers) < 4:
            return None
        primaries, transfer = struct.unpack(">HH", numbers)
        return transfer, primaries
    at = 8
    while at + 12 <= len(head) and head[at + 4 : at + 8] != b"IDAT":
        if head[at + 4 : at + 8] == b"cICP" and at + 10 <= len(head):
            return head[at + 9], head[at + 8]
        at += 12 + int.from_bytes(head[at : at + 4], "big")
    return None
