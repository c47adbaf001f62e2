"""FFmpeg's constants for colour and for accurate conversion, which only recent versions of PyAV name."""

from __future__ import annotations

BT709 = 1
"""Matrix, primaries and transfer function of BT.709: the same number for all three."""
UNSPECIFIED = 2
LIMITED_RANGE = 1
"""Luma 16…235, usual for video."""
FULL_RANGE = 2
"""0…255, usual for images."""

# Flags of libswscale; fixed by its ABI.
_BICUBIC = 0x4
_AREA = 0x20
_FULL_CHROMA_OUT = 0x2000
_FULL_CHROMA_IN = 0x4000
_ACCURATE_ROUNDING = 0x40000

TO_RGB = _BICUBIC | _ACCURATE_ROUNDING | _FULL_CHROMA_OUT | _FULL_CHROMA_IN
"""Exact to 2 levels, without bias; the default flags darken by one level."""
TO_YUV = _AREA | _ACCURATE_ROUNDING | _FULL_CHROMA_IN
"""Exact to 8-bit rounding, and as fast as the default flags."""
