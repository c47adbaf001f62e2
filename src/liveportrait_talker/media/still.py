"""Read still images as upright RGB arrays, with Pillow."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet
from pi_heif import register_heif_opener
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from ..arrays import Image as ImageArray
from ..errors import MediaError
from .cicp import read_cicp
from .limits import Limits, too_many_pixels_error
from .wide_colour import describe_colours, needs_conversion, to_bt709

log = logging.getLogger(__name__)

# A subset of Pillow's formats: some run other programs (EPS), some are identified but not decoded (MPEG), some have no
# signature and match other files (TGA).
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "PSD", "QOI", "TIFF", "WEBP")
_FRAMES, _SCAN = (0xC0, 0xC1, 0xC2), 0xDA  # JPEG markers
_END_OF_IMAGE = b"\xff\xd9"
_HEIF_BOXES = (b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"uuid")
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20  # bytes of a colour profile or text; Pillow's 1 MB is too small
# Assembles tiles and applies rotation and mirroring.
register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
BACKDROP = (200, 200, 200)
"""Colour behind transparent parts: a light grey."""


def read_still(path: Path, limits: Limits) -> ImageArray | None:
    """Read an image as (H, W, 3) uint8 sRGB, upright; return None if the format is unknown.

    Transparency shows `BACKDROP`. Of several images in the file, the first is used.

    Raises:
        MediaError: damaged, too small, or too large.
    """
    name = path.name
    try:
        try:
            return _read(path, name, limits)
        except UnidentifiedImageError:
            return None
        except ValueError as error:
            if "MAX_TEXT" not in str(error):
                raise
            return _read(_strip_png_text(path), name, limits)
        except OSError as error:
            if "truncated" not in str(error):
                raise
            return _read_unterminated_jpeg(path, name, limits, error)
    except Image.DecompressionBombError as error:
        raise too_many_pixels_error(name, "more than 178 million", limits.max_pixels) from error
    except (MediaError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        raise MediaError(
            f"{name} is damaged or incomplete and cannot be read; download or save the picture again"
        ) from error


def _read(file: Path | io.BytesIO, name: str, limits: Limits) -> ImageArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warning about the size; `limits` decides
        with _open(file) as image:
            if image.format == "HEIF" and isinstance(file, Path) and _is_truncated(file):
                raise MediaError(f"{name} is incomplete; download or save the picture again")
            kind = image.format or ""
            has_profile = bool(image.info.get("icc_profile")) and kind != "PNG"  # in a PNG, cICP has precedence
            cicp = None if has_profile or isinstance(file, io.BytesIO) else read_cicp(file, kind)
            if cicp is None or not needs_conversion(*cicp):
                return _to_array(name, image, limits)
            log.warning("%s is a %s picture; its colours are converted to sRGB", name, describe_colours(*cicp))
            image.info.pop("icc_profile", None)
            return to_bt709(_to_array(name, image, limits).astype(np.uint16) * 257, *cicp)


def _open(file: Path | io.BytesIO) -> Image.Image:
    try:
        return Image.open(file, formats=_FORMATS)
    except Image.DecompressionBombError:  # a JPEG can be decoded at a smaller size
        try:
            if isinstance(file, io.BytesIO):
                file.seek(0)
            return JpegImageFile(file)
        except SyntaxError:
            pass
        raise


def _to_array(name: str, image: Image.Image, limits: Limits) -> ImageArray:
    if image.format == "JPEG" and image.width * image.height > limits.max_pixels:  # Pillow applies only the first draft
        image.draft(None, _reduced_size(image.size, limits.max_pixels))
    limits.check_size(name, *image.size)
    size = limits.fit(name, *image.size)
    image.draft(None, size)  # never below `size`
    profile = image.info.get("icc_profile")
    converted = _to_8_bit_mode(image)
    if converted.size != size:
        converted = converted.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)  # premultiplies alpha
    return np.array(_to_srgb(ImageOps.exif_transpose(flatten_alpha(converted)), profile))


def _reduced_size(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Return the size of a JPEG reduced by 2, 4 or 8, as its decoder can, to at most `pixels` pixels if possible."""
    width, height = size
    factor = next((n for n in (2, 4, 8) if width * height <= pixels * n * n), 8)
    return max(1, width // factor), max(1, height // factor)


def _strip_png_text(path: Path) -> io.BytesIO:
    """Return a PNG without its text chunks, which exceed Pillow's limit."""
    content = path.read_bytes()
    kept, at = bytearray(content[:8]), 8
    while at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            kept += content[at : at + 12 + length]
        at += 12 + length
    return io.BytesIO(kept)


def _read_unterminated_jpeg(path: Path, name: str, limits: Limits, error: OSError) -> ImageArray:
    """Read a JPEG that lacks its end marker but no rows; raise `error` for other files."""
    content = path.read_bytes()
    if content[:2] != b"\xff\xd8" or not _has_all_scans(content):
        raise error
    try:  # unlike Pillow's, FFmpeg's decoder reports missing rows
        decoder: Any = CodecContext.create("mjpeg", "r")
        decoder.options = {"err_detect": "explode", "max_pixels": str(limits.max_pixels)}
        decoder.decode(Packet(content))
    except FFmpegError:
        raise error from None
    image = _read(io.BytesIO(content + _END_OF_IMAGE), name, limits)
    log.warning("%s lacks its last bytes, but no rows of the picture", name)
    return image


def _has_all_scans(content: bytes) -> bool:
    """Return whether all coefficients of a JPEG are complete: a progressive one may be truncated between two scans."""
    missing: set[tuple[int, int]] = set()  # (component, coefficient)
    at = 2
    while at + 4 <= len(content):
        if content[at] != 0xFF or content[at + 1] in (0x00, 0xFF, 0x01, *range(0xD0, 0xD9)):
            at += 1  # entropy-coded data
            continue
        kind, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4], "big")
        part = content[at + 4 : at + 2 + length]
        if kind in _FRAMES and len(part) >= 6:
            missing = {(part[6 + 3 * k], n) for k in range(part[5]) if 6 + 3 * k < len(part) for n in range(64)}
        elif kind == _SCAN and len(part) >= 4 + 2 * part[0]:
            first, last, bits = part[1 + 2 * part[0] :][:3]
            if bits & 15 == 0:
                missing -= {(part[1 + 2 * k], n) for k in range(part[0]) for n in range(first, last + 1)}
        at += 2 + length
    return not missing


def _is_truncated(path: Path) -> bool:
    """Return whether a HEIC file ends within a box: the decoder would leave missing tiles grey.

    Data after the last known box, such as a phone's trailer, is ignored.
    """
    end, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < end:
            file.seek(at)
            header = file.read(16)
            size = int.from_bytes(header[:4], "big")
            if size == 1:
                size = int.from_bytes(header[8:], "big")
            elif size == 0:  # until the end of the file
                size = end - at
            if size < 8 or header[4:8] not in _HEIF_BOXES:
                return False
            if at + size > end:
                return True
            at += size
    return False


def _to_8_bit_mode(image: Image.Image) -> Image.Image:
    """Convert to 8 bits per channel without a palette: mode L, RGB, CMYK or RGBA."""
    if image.mode.startswith(("I", "F")):
        grey = Image.fromarray(_to_8_bit(np.asarray(image)))
        grey.info.update(image.info)  # includes the orientation
        return grey
    wanted = "RGBA" if image.has_transparency_data else "L" if image.mode == "1" else image.mode
    if wanted not in ("L", "RGB", "CMYK", "RGBA"):
        wanted = "RGB"
    image.load()
    return image if image.mode == wanted else image.convert(wanted)


def flatten_alpha(image: Image.Image) -> Image.Image:
    """Return the image with `BACKDROP` behind transparent parts."""
    if image.mode != "RGBA":
        return image
    backdrop = Image.new("RGBA", image.size, BACKDROP)
    backdrop.alpha_composite(image)
    flat = backdrop.convert("RGB")
    flat.info.update(image.info)
    return flat


def _to_8_bit(values: npt.NDArray[Any]) -> ImageArray:
    """Convert grey values of 16 or 32 bits, or floats (0…1 or 0…255), to 8 bits."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values)
        full = 1.0 if values.max(initial=0) <= 1 else 255.0
    else:
        full = 65535.0 if values.dtype.itemsize == 2 or values.max(initial=0) <= 65535 else 2.0**31
    return np.rint(np.clip(values * np.float32(255 / full), 0, 255)).astype(np.uint8)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to sRGB with the image's colour profile if that is usable, else with Pillow's default conversion."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            log.info("an unusable colour profile is ignored")
        else:
            if converted is not None:
                return converted
    return image.convert("RGB")
