"""Conversion of HDR and wide-gamut colours to BT.709.

Transfer functions: ITU-R BT.2100 (HLG, PQ) and BT.1886. The reference white of 203 cd/m² (ITU-R BT.2408) becomes
white; brighter tones are compressed.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from ..arrays import Floats, Floats32, Image

# Code points of ITU-T H.273.
HLG, PQ = 18, 16
_BT2020, _P3_DCI, _P3_D65 = 9, 11, 12

_REFERENCE_WHITE = 203.0  # cd/m²
_HLG_PEAK = 1000.0  # cd/m², peak of the nominal display for HLG
_HLG_GAMMA = 1.2  # system gamma of that display
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
_KNEE = 0.9  # tones above this fraction of the reference white are compressed
_CODES = 1 << 16
_STEPS = 1 << 12  # entries of the encoding table

# Linear RGB of these primaries → linear RGB of BT.709, white point D65.
_TO_BT709 = {
    _BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32),
    _P3_D65: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]], np.float32),
}
_TO_BT709[_P3_DCI] = _TO_BT709[_P3_D65]  # players ignore the DCI white point, too


def needs_conversion(transfer: int, primaries: int) -> bool:
    """Return whether colours with these H.273 code points must be converted to BT.709."""
    return transfer in (HLG, PQ) or primaries in _TO_BT709


def describe_colours(transfer: int, primaries: int) -> str:
    """Return a description of the colours, for messages."""
    gamut = "BT.2020" if primaries == _BT2020 else "P3" if primaries in _TO_BT709 else "BT.709"
    return {HLG: f"HDR (HLG, {gamut})", PQ: f"HDR (PQ, {gamut})"}.get(transfer, f"wide-gamut ({gamut})")


def to_bt709(codes: npt.NDArray[np.uint16], transfer: int, primaries: int) -> Image:
    """Convert (H, W, 3) uint16, full range, to BT.709 R'G'B' (H, W, 3) uint8."""
    linear = _linear_of_codes(transfer)[codes]
    if transfer == HLG:
        linear *= np.maximum(linear @ _LUMA_2020, 1e-6)[..., None] ** np.float32(_HLG_GAMMA - 1)
        linear *= np.float32(_HLG_PEAK / _REFERENCE_WHITE)
    if primaries in _TO_BT709:
        linear = cv2.transform(linear, _TO_BT709[primaries])
    if transfer in (HLG, PQ):
        linear = _compress(linear)
    steps = np.rint(np.clip(linear, 0, 1) ** np.float32(0.5) * (_STEPS - 1)).astype(np.int32)
    encoded: Image = _codes_of_roots()[steps]
    return encoded


def _compress(linear: Floats32) -> Floats32:
    """Compress tones above the knee to at most 1, by the brightest channel, which preserves hue."""
    brightest = linear.max(axis=-1, keepdims=True)
    over = np.maximum(brightest - np.float32(_KNEE), 0)
    headroom = np.float32(1 - _KNEE)
    limited = np.float32(_KNEE) + headroom * over / (over + headroom)
    compressed: Floats32 = linear * np.where(over > 0, limited / np.maximum(brightest, 1e-6), 1).astype(np.float32)
    return compressed


@lru_cache(maxsize=4)
def _linear_of_codes(transfer: int) -> Floats32:
    """Return (65536,) linear light: scene light for HLG, relative to the reference white for PQ, 0…1 otherwise."""
    e = np.arange(_CODES) / (_CODES - 1)
    linear: Floats
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        linear = np.where(e <= 0.5, e**2 / 3, (np.exp((e - c) / a) + b) / 12)
    elif transfer == PQ:
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = e ** (1 / m2)
        linear = 10_000 / _REFERENCE_WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    else:
        linear = e**2.4
    return linear.astype(np.float32)


@lru_cache(maxsize=1)
def _codes_of_roots() -> Image:
    """Return (4096,) 8-bit codes by the square root of linear light, for the curve of BT.1886."""
    roots = np.arange(_STEPS) / (_STEPS - 1)
    codes: Image = np.rint(255 * roots ** (2 / 2.4)).astype(np.uint8)
    return codes
