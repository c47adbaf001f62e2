"""FFmpeg's numbers for colour and careful conversion, which PyAV names only in its newest versions."""

from __future__ import annotations

BT709 = 1
"""The HD matrix, primaries and transfer curve: one number for all three."""
UNSPECIFIED = 2
LIMITED_RANGE = 1
"""Luma 16…235, as video has it."""
FULL_RANGE = 2
"""0…255, as pictures have it."""

# Flags of libswscale, fixed by its binary interface.
_BICUBIC = 0x4
_AREA = 0x20
_FULL_CHROMA_OUT = 0x2000
_FULL_CHROMA_IN = 0x4000
_ACCURATE_ROUNDING = 0x40000

TO_RGB = _BICUBIC | _ACCURATE_ROUNDING | _FULL_CHROMA_OUT | _FULL_CHROMA_IN
"""Within 2 levels of exact, without bias; the default darkens by a level."""
TO_YUV = _AREA | _ACCURATE_ROUNDING | _FULL_CHROMA_IN
"""Exact to the rounding of 8 bits, and not slower than the default."""
