"""Write HEIC images as phones do: a grid of HEVC tiles with a colour profile, rotated and mirrored by properties.

Boxes as in ISO/IEC 14496-12 and 23008-12.
"""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np


def write_tiled(
    path: Path,
    image: np.ndarray,
    *,
    tile: int = 128,
    quarter_turns: int = 0,
    mirror: int | None = None,
    icc: bytes = b"",
    primaries: int = 1,
) -> Path:
    """Write `image` (H, W, 3) in tiles.

    Args:
        path: the file to write.
        image: as stored, before rotation and mirroring.
        tile: px; the last row and column of tiles exceed the image.
        quarter_turns: `irot`, counter-clockwise.
        mirror: `imir`; 0 swaps top and bottom, 1 left and right.
        icc: the colour profile.
        primaries: code point of H.273, if there is no profile.
    """
    height, width, _ = image.shape
    rows, columns = -(-height // tile), -(-width // tile)
    padded = np.pad(image, ((0, rows * tile - height), (0, columns * tile - width), (0, 0)), mode="edge")
    tiles = [
        _encode(padded[y : y + tile, x : x + tile])
        for y in range(0, rows * tile, tile)
        for x in range(0, columns * tile, tile)
    ]
    grid = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    data = [grid, *(slices for _, slices in tiles)]
    ids = range(1, len(data) + 1)
    properties = [_box(b"hvcC", _decoder_configuration(tiles[0][0])), _size(tile, tile), _size(width, height)]
    of_grid, of_tile = [3], [1 | 0x80, 2]
    properties.append(
        _box(b"colr", b"prof" + icc) if icc else _box(b"colr", b"nclx" + struct.pack(">HHHB", primaries, 13, 6, 0x80))
    )
    of_grid.append(len(properties))
    of_tile.append(len(properties))
    if quarter_turns:
        properties.append(_box(b"irot", bytes([quarter_turns])))
        of_grid.append(len(properties) | 0x80)
    if mirror is not None:
        properties.append(_box(b"imir", bytes([mirror])))
        of_grid.append(len(properties) | 0x80)
    associations = b"".join(
        struct.pack(">HB", number, len(chosen)) + bytes(chosen)
        for number, chosen in ((number, of_grid if number == 1 else of_tile) for number in ids)
    )

    def meta(first_byte: int) -> bytes:
        offsets, at = b"", first_byte
        for number, part in zip(ids, data, strict=True):
            offsets += struct.pack(">HHHII", number, 0, 1, at, len(part))
            at += len(part)
        infos = b"".join(
            _box(b"infe", struct.pack(">BBBBHH", 2, 0, 0, int(n > 1), n, 0) + (b"grid" if n == 1 else b"hvc1") + b"\0")
            for n in ids
        )
        references = struct.pack(">HH", 1, len(tiles)) + b"".join(struct.pack(">H", n) for n in ids[1:])
        return _full(
            b"meta",
            _full(b"hdlr", struct.pack(">I", 0) + b"pict" + bytes(13))
            + _full(b"pitm", struct.pack(">H", 1))
            + _full(b"iinf", struct.pack(">H", len(data)) + infos)
            + _full(b"iref", _box(b"dimg", references))
            + _box(
                b"iprp",
                _box(b"ipco", b"".join(properties)) + _full(b"ipma", struct.pack(">I", len(data)) + associations),
            )
            + _full(b"iloc", struct.pack(">BBH", 0x44, 0, len(data)) + offsets),
        )

    start = _box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    path.write_bytes(start + meta(len(start) + len(meta(0)) + 8) + _box(b"mdat", b"".join(data)))
    return path


def _encode(image: np.ndarray) -> tuple[list[bytes], bytes]:
    """Return the parameter sets, and the slices prefixed with their lengths."""
    encoder = av.CodecContext.create("libx265", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.framerate = image.shape[1], image.shape[0], "yuvj444p", 25
    encoder.options = {"x265-params": "log-level=none:info=0:keyint=1:qp=4:range=full:colormatrix=smpte170m"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame = frame.reformat(format="yuvj444p", dst_colorspace="ITU601", dst_color_range="JPEG")
    stream = b"".join(bytes(p) for f in (frame, None) for p in encoder.encode(f))
    units = [u.rstrip(b"\0") for u in stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if u]
    kinds = [(unit[0] >> 1) & 63 for unit in units]
    sets = [unit for unit, kind in zip(units, kinds, strict=True) if kind in (32, 33, 34)]
    slices = [unit for unit, kind in zip(units, kinds, strict=True) if kind < 32]
    return sets, b"".join(struct.pack(">I", len(s)) + s for s in slices)


def _decoder_configuration(sets: list[bytes]) -> bytes:
    profile = sets[1].replace(b"\0\0\3", b"\0\0")[3:15]
    fixed = bytes([1]) + profile + bytes([0xF0, 0, 0xFC, 0xFC | 3, 0xF8, 0xF8, 0, 0, 0x0F, len(sets)])
    return fixed + b"".join(
        bytes([0x80 | ((unit[0] >> 1) & 63)]) + struct.pack(">HH", 1, len(unit)) + unit for unit in sets
    )


def _size(width: int, height: int) -> bytes:
    return _full(b"ispe", struct.pack(">II", width, height))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def _full(kind: bytes, content: bytes) -> bytes:
    return _box(kind, bytes(4) + content)
