"""Read still images as upright RGB arrays, with Pillow."""

from __future__ import annotations

import io
import logging
import warnings
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from av.codec.context import CodecContext
from av.error import FFmpegError
from av.packet import Packet
from pi_heif import register_heif_opener
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile

from ..arrays import Image as ImageArray
from ..errors import MediaError
from .boxes import read_boxes
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
_STRIP_PIXELS = 1 << 20
# Memory that decoding and scaling take at their peak, measured. JPEG is decoded at a smaller size.
_MAX_MEMORY = 840_000_000
_BYTES_PER_PIXEL = {"WEBP": 18, "AVIF": 14, "HEIF": 14, "JPEG2000": 24}
_MAX_JPEG2000 = 16_000_000  # pixels that are decoded
_JPEG2000_HEAD, _CODESTREAM, _CODING_STYLE = 1 << 16, b"\xff\x4f\xff\x51", b"\xff\x52"
_BYTES_WITHOUT_ALPHA, _BYTES_WITH_ALPHA = 7, 11
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20  # bytes of a colour profile or text; Pillow's 1 MB is too small
# Assembles tiles and applies rotation and mirroring.
register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
BACKDROP = (200, 200, 200)
"""Colour behind transparent parts: a light grey."""


class Still(NamedTuple):
    """A still image."""

    image: ImageArray
    """(H, W, 3) sRGB, upright; transparency shows `BACKDROP`."""
    opacity: ImageArray | None
    """(H, W) 0…255; None where the file has no transparency."""


def read_still(path: Path, limits: Limits) -> Still | None:
    """Read an image; return None if the format is unknown.

    Of several images in the file, the first is used.

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


def _read(file: Path | io.BytesIO, name: str, limits: Limits) -> Still:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warning about the size; `limits` decides
        with open_image(file, name) as image:
            if image.format == "HEIF" and isinstance(file, Path) and _is_truncated(file):
                raise MediaError(f"{name} is incomplete; download or save the picture again")
            kind = image.format or ""
            has_profile = bool(image.info.get("icc_profile")) and kind != "PNG"  # in a PNG, cICP has precedence
            cicp = None if has_profile or isinstance(file, io.BytesIO) else read_cicp(file, kind)
            if cicp is None or not needs_conversion(*cicp):
                return _to_array(name, image, limits)
            log.warning("%s is a %s picture; its colours are converted to sRGB", name, describe_colours(*cicp))
            image.info.pop("icc_profile", None)
            still = _to_array(name, image, limits)
            return still._replace(image=to_bt709(still.image.astype(np.uint16) * 257, *cicp))


def open_image(file: Path | io.BytesIO, name: str, formats: tuple[str, ...] = _FORMATS) -> Image.Image:
    """Open an image of one of Pillow's `formats`, without decoding it.

    Raises:
        MediaError: decoding it would take more than `_MAX_MEMORY` bytes.
        Exception: raised by Pillow.
    """
    if isinstance(file, Path) and (size := _webp_size(file)):  # Pillow allocates the canvas when it opens the file
        _check_memory(name, size, _BYTES_PER_PIXEL["WEBP"])
    try:
        image = Image.open(file, formats=formats)
    except Image.DecompressionBombError:  # a JPEG can be decoded at a smaller size
        try:
            if isinstance(file, io.BytesIO):
                file.seek(0)
            return JpegImageFile(file)
        except SyntaxError:
            pass
        raise
    if image.format != "JPEG":
        plain = _BYTES_WITH_ALPHA if image.has_transparency_data else _BYTES_WITHOUT_ALPHA
        _check_memory(name, image.size, _BYTES_PER_PIXEL.get(image.format or "", plain))
    return image


def _check_memory(name: str, size: tuple[int, int], bytes_per_pixel: int) -> None:
    if size[0] * size[1] * bytes_per_pixel > _MAX_MEMORY:
        raise too_many_pixels_error(name, f"{size[0]}×{size[1]}", _MAX_MEMORY // bytes_per_pixel)


def _webp_size(path: Path) -> tuple[int, int] | None:
    """Return the size of a WebP file's canvas; None for other files."""
    with path.open("rb") as file:
        head = file.read(30)
    if len(head) < 30 or head[:4] != b"RIFF" or head[8:12] != b"WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _to_array(name: str, image: Image.Image, limits: Limits) -> Still:
    if image.format == "JPEG" and image.width * image.height > limits.max_pixels:  # Pillow applies only the first draft
        image.draft(None, _reduced_size(image.size, limits.max_pixels))
    limits.check_size(name, *image.size)
    size = limits.fit(name, *image.size)
    image.draft(None, size)  # never below `size`
    if isinstance(image, Jpeg2KImageFile):
        _draft_jpeg2000(image, name, size)
    profile = image.info.get("icc_profile")
    converted = _to_8_bit_mode(image)
    if converted.size != size:
        converted = converted.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)  # premultiplies alpha
    upright = ImageOps.exif_transpose(converted)
    opacity = np.array(upright.getchannel("A")) if upright.mode == "RGBA" else None
    return Still(np.array(_to_srgb(flatten_alpha(upright), profile)), opacity)


def _draft_jpeg2000(image: Jpeg2KImageFile, name: str, size: tuple[int, int]) -> None:
    """Let a JPEG 2000 image be decoded at a half, quarter, … of its size, not below `size`.

    Raises MediaError if that still has too many pixels: 16 million take a second, in which Ctrl-C has to wait.
    """
    assert image.fp is not None, "it was just opened"
    image.fp.seek(0)
    head = image.fp.read(_JPEG2000_HEAD)
    at = head.find(_CODING_STYLE, max(0, head.find(_CODESTREAM)))
    levels = head[at + 9] if 0 <= at < len(head) - 9 else 0
    ratio = min(image.width // size[0], image.height // size[1])
    halvings = min(levels, ratio.bit_length() - 1)
    image.reduce = halvings
    if image.width * image.height > _MAX_JPEG2000 * 4**halvings:
        raise too_many_pixels_error(name, f"{image.width}×{image.height}", _MAX_JPEG2000)


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


def _read_unterminated_jpeg(path: Path, name: str, limits: Limits, error: OSError) -> Still:
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
    size = path.stat().st_size
    with path.open("rb") as file:
        known = takewhile(lambda box: box.kind in _HEIF_BOXES, read_boxes(file, 0, size))
        return any(box.end > size for box in known)


def _to_8_bit_mode(image: Image.Image) -> Image.Image:
    """Convert to 8 bits per channel without a palette: mode L, RGB, CMYK or RGBA."""
    if image.mode.startswith(("I", "F")):
        return _grey_to_8_bit(image)
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


def _grey_to_8_bit(image: Image.Image) -> Image.Image:
    """Convert grey values of 16 or 32 bits, or floats (0…1 or 0…255), to 8 bits, a few rows at a time."""
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // width)
    strips = [(0, y, width, min(y + rows, height)) for y in range(0, height, rows)]

    def values(strip: tuple[int, int, int, int]) -> npt.NDArray[Any]:
        stored: npt.NDArray[Any] = np.asarray(image.crop(strip))
        return np.nan_to_num(stored) if stored.dtype.kind == "f" else stored

    highest = max(float(values(strip).max()) for strip in strips)
    if image.mode == "F":
        full = 1.0 if highest <= 1 else 255.0
    else:
        full = 65535.0 if image.mode.startswith("I;16") or highest <= 65535 else 2.0**31
    grey = Image.new("L", image.size)
    for strip in strips:
        scaled = np.clip(values(strip) * np.float32(255 / full), 0, 255)
        grey.paste(Image.fromarray(np.rint(scaled).astype(np.uint8)), strip[:2])
    grey.info.update(image.info)  # includes the orientation
    return grey


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
