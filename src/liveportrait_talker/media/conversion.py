"""Conversion of decoded video frames to upright RGB images of one size."""

from __future__ import annotations

import logging
import struct
from fractions import Fraction
from math import cos, radians, sin
from typing import Any

import numpy as np
import numpy.typing as npt
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideData
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from ..arrays import Image
from .colour import BT709, TO_RGB, UNSPECIFIED
from .still import BACKDROP
from .wide_colour import describe_colours, needs_conversion, to_bt709

log = logging.getLogger(__name__)

_SAME_SHAPE = 0.01  # smaller relative differences of aspect ratios are rounding


class FrameConverter:
    """Converter of the frames of one video.

    HDR and wide-gamut colours are converted to BT.709, transparency shows `BACKDROP`, the display matrix is applied,
    and frames whose aspect ratio differs from the first get black bars.

    Args:
        name: file name, for messages.
        size: (width, height) of the images as stored, before rotation.
    """

    def __init__(self, name: str, size: tuple[int, int]) -> None:
        self._name, self._size = name, size
        self._to_planes, self._to_packed = VideoReformatter(), VideoReformatter()
        self._aspect: Fraction | None = None  # of the first frame
        self._unused_alpha: bool | None = None  # None until the first frame with alpha
        self._warned: set[str] = set()
        self._rotation: int | None = None  # in degrees, of the last frame
        self._matrix: bytes | None = None
        self.is_transposed = False
        """Whether the last frame was rotated by 90° or 270°."""

    def __call__(self, frame: VideoFrame) -> Image:
        """Return `frame` as (H, W, 3) uint8 RGB, read-only."""
        aspect = Fraction(frame.width, frame.height)
        self._aspect = self._aspect or aspect
        width, height = self._size
        if abs(float(aspect / self._aspect) - 1) > _SAME_SHAPE:
            self._warn_once(f"{self._name} changes its aspect ratio midway; black bars are added")
            image: Image = np.zeros((height, width, 3), np.uint8)
            scale = min(Fraction(width, frame.width), Fraction(height, frame.height))
            inner_width, inner_height = (max(1, round(scale * n)) for n in (frame.width, frame.height))
            left, top = (width - inner_width) // 2, (height - inner_height) // 2
            image[top : top + inner_height, left : left + inner_width] = self._to_rgb(frame, inner_width, inner_height)
        else:
            image = self._to_rgb(frame, width, height)
        upright = np.ascontiguousarray(self._apply_display_matrix(frame, image))
        upright.setflags(write=False)
        return upright

    def _to_rgb(self, frame: VideoFrame, width: int, height: int) -> Image:
        matrix = frame.colorspace
        if matrix == UNSPECIFIED and frame.height >= 720:
            matrix = BT709  # as players assume for untagged HD
        transfer, primaries = int(frame.color_trc), int(frame.color_primaries)
        has_alpha = any(component.is_alpha for component in frame.format.components) and not self._is_padding(frame)
        # By way of planar RGB: swscale's accurate conversion to packed RGB takes three times as long.
        planes, packed = ("gbrap", "rgba") if has_alpha else ("gbrp", "rgb24")
        if needs_conversion(transfer, primaries):
            self._warn_once(
                f"{self._name} is {describe_colours(transfer, primaries)} video; its colours are converted to BT.709"
            )
            planes, packed = "gbrp16le", "rgb48le"
        try:
            converted = self._to_planes.reformat(
                frame, width, height, format=planes, src_colorspace=matrix, interpolation=TO_RGB
            )
        except FFmpegError:
            if {frame.colorspace, transfer, primaries} == {UNSPECIFIED}:
                raise
            self._warn_once(f"{self._name} states its colours by unknown numbers; usual colours are assumed")
            frame.colorspace = frame.color_trc = frame.color_primaries = UNSPECIFIED
            return self._to_rgb(frame, width, height)
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
        """Return whether alpha is unused: 0 everywhere in the first frame of an RGB format, as in screen captures."""
        if self._unused_alpha is None:
            self._unused_alpha = not (
                frame.format.name.startswith("yuva") or frame.reformat(format="rgba").to_ndarray()[..., 3].any()
            )
            if self._unused_alpha:
                self._warn_once(f"the first frame of {self._name} is fully transparent; its alpha channel is ignored")
        return self._unused_alpha

    def _apply_display_matrix(self, frame: VideoFrame, image: Image) -> Image:
        """Mirror and rotate in steps of 90°, according to the frame's display matrix."""
        # Not for every frame: in PyAV one whose `side_data` was used is only freed by the collector.
        if frame.rotation != self._rotation:
            self._rotation = frame.rotation
            self._matrix = _display_matrix(frame)
        if self._matrix is None:
            return image
        # A pixel (x, y) is shown at (a·x + c·y, b·x + d·y), with x to the right and y down.
        a, b, _, c, d, *_ = struct.unpack("<9i", self._matrix)
        self.is_transposed = abs(b) > abs(a)
        if self.is_transposed:
            image, a, d = image.swapaxes(0, 1), c, b
        if a < 0:
            image = image[:, ::-1]
        return image[::-1] if d < 0 else image

    def _warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            log.warning(message)


def _display_matrix(frame: VideoFrame) -> bytes | None:
    """Return the display matrix of a frame; None if it has none."""
    try:
        data: Any = frame.side_data.get(SideData.DISPLAYMATRIX)  # type: ignore[call-overload]
    except ValueError:  # of side data that PyAV does not know; the rotation is read without it
        angle = radians(frame.rotation)
        cosine, sine = round(cos(angle) * 65536), round(sin(angle) * 65536)
        return struct.pack("<9i", cosine, -sine, 0, sine, cosine, 0, 0, 0, 1 << 30)
    return None if data is None else bytes(data)[:36]
