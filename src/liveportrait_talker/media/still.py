"""Still pictures → upright RGB arrays, through Pillow."""

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
from .limits import Limits, too_many_pixels
from .stated_colours import read_stated_colours
from .wide_colour import describe, is_wide, to_bt709

log = logging.getLogger(__name__)


# Formats that a portrait comes in. Not all of Pillow's: some start other programs (EPS), some only recognise a file
# without decoding it (MPEG), some have no signature and claim what is not theirs (TGA).
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "PSD", "QOI", "TIFF", "WEBP")
_FRAMES, _SCAN = (0xC0, 0xC1, 0xC2), 0xDA  # markers of a JPEG
_END_OF_IMAGE = b"\xff\xd9"
_HEIF_BOXES = (b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"uuid")
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20  # bytes, of a colour profile or a text; Pillow's megabyte is too few
# HEIF: tiles put together, turned upright and mirrored as the file says.
register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
BACKDROP = (200, 200, 200)
"""What shows through transparent parts: a light grey."""


def read_still(path: Path, limits: Limits) -> ImageArray | None:
    """The picture in `path` as (H, W, 3) uint8, upright; None when the content is no still that Pillow knows.

    Transparency shows `BACKDROP`, colour profiles are turned into sRGB, of several pictures the first counts.
    Raises MediaError: damaged, too small, too large.
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
            return _read(_without_text(path), name, limits)
        except OSError as error:
            if "truncated" not in str(error):
                raise
            return _read_without_end(path, name, limits, error)
    except Image.DecompressionBombError as error:
        raise too_many_pixels(name, "more than 178 million", limits.max_pixels) from error
    except (MediaError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes Pillow's decoders raise almost anything
        raise MediaError(
            f"{name} is damaged or cut short and cannot be read; get the picture again or save it anew"
        ) from error


def _read(file: Path | io.BytesIO, name: str, limits: Limits) -> ImageArray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own size warning; `limits` decides
        with _open(file) as image:
            if image.format == "HEIF" and isinstance(file, Path) and _is_cut(file):
                raise MediaError(f"{name} is cut short; get the picture again")
            kind = image.format or ""
            has_profile = bool(image.info.get("icc_profile")) and kind != "PNG"  # a PNG's cICP goes before its profile
            stated = None if has_profile or isinstance(file, io.BytesIO) else read_stated_colours(file, kind)
            if stated is None or not is_wide(*stated):
                return _to_array(name, image, limits)
            log.warning("%s is a %s picture; its colours are converted to sRGB", name, describe(*stated))
            image.info.pop("icc_profile", None)
            return to_bt709(_to_array(name, image, limits).astype(np.uint16) * 257, *stated)


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
    if image.format == "JPEG" and image.width * image.height > limits.max_pixels:  # Pillow takes one draft alone
        image.draft(None, _decodable(image.size, limits.max_pixels))
    limits.check_size(name, *image.size)
    size = limits.fit(name, *image.size)
    image.draft(None, size)  # never below `size`
    profile = image.info.get("icc_profile")
    plain = _plain_mode(image)
    if plain.size != size:
        plain = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)  # weighs colours by their alpha
    return np.array(_to_srgb(ImageOps.exif_transpose(on_backdrop(plain)), profile))


def _decodable(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """The size at which a JPEG has at most so many pixels, by the factors that its decoder knows."""
    width, height = size
    factor = next((n for n in (2, 4, 8) if width * height <= pixels * n * n), 8)
    return max(1, width // factor), max(1, height // factor)


def _without_text(path: Path) -> io.BytesIO:
    """A PNG without its texts, which are larger than Pillow reads."""
    content = path.read_bytes()
    kept, at = bytearray(content[:8]), 8
    while at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            kept += content[at : at + 12 + length]
        at += 12 + length
    return io.BytesIO(kept)


def _read_without_end(path: Path, name: str, limits: Limits, error: OSError) -> ImageArray:
    """A JPEG that lacks its last marker, if all of its rows are there. Raises `error` otherwise."""
    content = path.read_bytes()
    if content[:2] != b"\xff\xd8" or not _has_all_scans(content):
        raise error
    try:  # Pillow's decoder would fill what is missing in silence; FFmpeg's tells
        decoder: Any = CodecContext.create("mjpeg", "r")
        decoder.options = {"err_detect": "explode", "max_pixels": str(limits.max_pixels)}
        decoder.decode(Packet(content))
    except FFmpegError:
        raise error from None
    picture = _read(io.BytesIO(content + _END_OF_IMAGE), name, limits)
    log.warning("%s lacks its last bytes; all rows of the picture are there", name)
    return picture


def _has_all_scans(content: bytes) -> bool:
    """Whether a JPEG's scans refine every coefficient to its last bit: a progressive one may end between two scans."""
    missing: set[tuple[int, int]] = set()  # component and coefficient
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


def _is_cut(path: Path) -> bool:
    """Whether a HEIC file ends before its last box does: the decoder would leave grey what is missing.

    What stands behind the last known box, such as a phone's trailer, is not looked at.
    """
    end, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < end:
            file.seek(at)
            header = file.read(16)
            size = int.from_bytes(header[:4], "big")
            if size == 1:
                size = int.from_bytes(header[8:], "big")
            elif size == 0:  # up to the end
                size = end - at
            if size < 8 or header[4:8] not in _HEIF_BOXES:
                return False
            if at + size > end:
                return True
            at += size
    return False


def _plain_mode(image: Image.Image) -> Image.Image:
    """The same picture with 8 bits a channel and no palette: mode L, RGB, CMYK or RGBA."""
    if image.mode.startswith(("I", "F")):
        grey = Image.fromarray(_to_8_bit(np.asarray(image)))
        grey.info.update(image.info)  # the orientation is in there
        return grey
    wanted = "RGBA" if image.has_transparency_data else "L" if image.mode == "1" else image.mode
    if wanted not in ("L", "RGB", "CMYK", "RGBA"):
        wanted = "RGB"
    image.load()
    return image if image.mode == wanted else image.convert(wanted)


def on_backdrop(image: Image.Image) -> Image.Image:
    """The picture with `BACKDROP` where it is transparent."""
    if image.mode != "RGBA":
        return image
    backdrop = Image.new("RGBA", image.size, BACKDROP)
    backdrop.alpha_composite(image)
    flat = backdrop.convert("RGB")
    flat.info.update(image.info)
    return flat


def _to_8_bit(values: npt.NDArray[Any]) -> ImageArray:
    """Grey values of 16 or 32 bits, or floats (0…1 or 0…255), as 8 bits."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values)
        full = 1.0 if values.max(initial=0) <= 1 else 255.0
    else:
        full = 65535.0 if values.dtype.itemsize == 2 or values.max(initial=0) <= 65535 else 2.0**31
    return np.rint(np.clip(values * np.float32(255 / full), 0, 255)).astype(np.uint8)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Through the picture's own colour profile where it has a usable one, else by Pillow's plain conversion."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            log.info("a colour profile that cannot be used is left out")
        else:
            if converted is not None:
                return converted
    return image.convert("RGB")
