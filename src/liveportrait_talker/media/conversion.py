"""Decoded video frames → upright images of one size."""

from __future__ import annotations

import logging
import struct
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type as SideData
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from ..arrays import Image
from .colour import BT709, TO_RGB, UNSPECIFIED
from .still import BACKDROP
from .wide_colour import describe, is_wide, to_bt709

log = logging.getLogger(__name__)

_SAME_SHAPE = 0.01  # relative difference of aspect ratios that is rounding


class FrameConverter:
    """Makes images of one video's frames, whatever changes on the way.

    Colours of HDR and wide-gamut video become BT.709's, transparency shows `BACKDROP`, the display matrix mirrors and
    turns, and a picture that changes its shape midway gets bars. Args: the file's name, for notes; (width, height) of
    the images as stored, before any turn.
    """

    def __init__(self, name: str, size: tuple[int, int]) -> None:
        self._name, self._size = name, size
        self._to_planes, self._to_packed = VideoReformatter(), VideoReformatter()
        self._aspect: Fraction | None = None  # of the first frame
        self._unused_alpha: bool | None = None  # until a frame has told
        self._said: set[str] = set()
        self.is_transposed = False
        """Whether the last frame was turned on its side."""

    def __call__(self, frame: VideoFrame) -> Image:
        """(H, W, 3) uint8, read-only."""
        aspect = Fraction(frame.width, frame.height)
        self._aspect = self._aspect or aspect
        width, height = self._size
        if abs(float(aspect / self._aspect) - 1) > _SAME_SHAPE:
            self._say_once(f"{self._name} changes the shape of its picture midway; bars fill what it leaves free")
            picture: Image = np.zeros((height, width, 3), np.uint8)
            scale = min(Fraction(width, frame.width), Fraction(height, frame.height))
            inner_width, inner_height = (max(1, round(scale * n)) for n in (frame.width, frame.height))
            left, top = (width - inner_width) // 2, (height - inner_height) // 2
            picture[top : top + inner_height, left : left + inner_width] = self._to_rgb(
                frame, inner_width, inner_height
            )
        else:
            picture = self._to_rgb(frame, width, height)
        upright = np.ascontiguousarray(self._turn(frame, picture))
        upright.setflags(write=False)
        return upright

    def _to_rgb(self, frame: VideoFrame, width: int, height: int) -> Image:
        matrix = frame.colorspace
        if matrix == UNSPECIFIED and frame.height >= 720:
            matrix = BT709  # what every player assumes of untagged HD
        transfer, primaries = int(frame.color_trc), int(frame.color_primaries)
        has_alpha = any(component.is_alpha for component in frame.format.components) and not self._is_padding(frame)
        # Through planes: swscale's careful conversion straight to packed RGB takes three times as long.
        planes, packed = ("gbrap", "rgba") if has_alpha else ("gbrp", "rgb24")
        if is_wide(transfer, primaries):
            self._say_once(
                f"{self._name} is {describe(transfer, primaries)} video; its colours are converted to BT.709"
            )
            planes, packed = "gbrp16le", "rgb48le"
        converted = self._to_planes.reformat(
            frame, width, height, format=planes, src_colorspace=matrix, interpolation=TO_RGB
        )
        values: npt.NDArray[Any] = self._to_packed.reformat(converted, format=packed).to_ndarray()
        if values.dtype == np.uint16:
            return to_bt709(values, transfer, primaries)
        if has_alpha:
            alpha = values[..., 3:].astype(np.float32) / 255
            blended = values[..., :3] * alpha + np.array(BACKDROP, np.float32) * (1 - alpha)
            flat: Image = np.rint(blended).astype(np.uint8)
            return flat
        rgb: Image = values
        return rgb

    def _is_padding(self, frame: VideoFrame) -> bool:
        """Whether the file does not use its alpha: 0 everywhere in the first frame of an RGB format, as in captures."""
        if self._unused_alpha is None:
            self._unused_alpha = not (
                frame.format.name.startswith("yuva") or frame.reformat(format="rgba").to_ndarray()[..., 3].any()
            )
            if self._unused_alpha:
                self._say_once(f"{self._name} is transparent everywhere at first; its alpha channel is left out")
        return self._unused_alpha

    def _turn(self, frame: VideoFrame, picture: Image) -> Image:
        """Mirrored and turned as the frame's display matrix says, in steps of 90°."""
        data: Any = frame.side_data.get(SideData.DISPLAYMATRIX)  # type: ignore[call-overload]
        if data is None:
            return picture
        # A pixel (x, y) is shown at (a·x + c·y, b·x + d·y), with x to the right and y down.
        a, b, _, c, d, *_ = struct.unpack("<9i", bytes(data)[:36])
        self.is_transposed = abs(b) > abs(a)
        if self.is_transposed:
            picture, a, d = picture.swapaxes(0, 1), c, b
        if a < 0:
            picture = picture[:, ::-1]
        return picture[::-1] if d < 0 else picture

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log.warning(text)
