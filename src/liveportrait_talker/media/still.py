"""Still pictures → upright RGB arrays, through Pillow."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pi_heif import register_heif_opener
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ..errors import MediaError
from .limits import Limits, too_many_pixels

log = logging.getLogger(__name__)

Picture = npt.NDArray[np.uint8]

# Formats that a portrait comes in. Not all of Pillow's: some start other programs (EPS), some only recognise a file
# without decoding it (MPEG), some have no signature and claim what is not theirs (TGA).
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "PSD", "QOI", "TIFF", "WEBP")
_HEIF_BOXES = (b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"uuid")
_WITH_PREVIEWS = ("MPO", "HEIF")  # their further pictures are previews or others of a series
# HEIF: tiles put together, turned upright and mirrored as the file says.
register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
BACKDROP = (200, 200, 200)
"""What shows through transparent parts: a light grey."""


def read_still(path: Path, limits: Limits) -> Picture | None:
    """The picture in `path` as (H, W, 3) uint8, upright; None when the content is no still that Pillow knows.

    Transparency shows `BACKDROP`, colour profiles are turned into sRGB, of an animation the first frame counts.
    Raises MediaError: damaged, too small, too large.
    """
    name = path.name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning; `limits` decides
            image = Image.open(path, formats=_FORMATS)
            with image:
                if image.format == "HEIF" and _is_cut(path):
                    raise MediaError(f"{name} is cut short; get the picture again")
                return _to_array(name, image, limits)
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError as error:
        raise too_many_pixels(name, "more than 178 million", limits.max_pixels) from error
    except (MediaError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes Pillow's decoders raise almost anything
        raise MediaError(
            f"{name} is damaged or cut short and cannot be read; get the picture again or save it anew"
        ) from error


def _to_array(name: str, image: Image.Image, limits: Limits) -> Picture:
    limits.check_size(name, *image.size)
    if image.format not in _WITH_PREVIEWS and getattr(image, "is_animated", False):
        log.warning("%s is animated; its first frame is used", name)
    size = limits.fit(name, *image.size)
    image.draft(None, size)  # a JPEG is decoded at a half, quarter or eighth already, never below `size`
    profile = image.info.get("icc_profile")
    plain = _plain_mode(image)
    if plain.size != size:
        plain = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)  # weighs colours by their alpha
    return np.array(_to_srgb(ImageOps.exif_transpose(_flat(plain)), profile))


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


def _flat(image: Image.Image) -> Image.Image:
    """The picture on the backdrop, where it is transparent."""
    if image.mode != "RGBA":
        return image
    backdrop = Image.new("RGBA", image.size, BACKDROP)
    backdrop.alpha_composite(image)
    flat = backdrop.convert("RGB")
    flat.info.update(image.info)
    return flat


def _to_8_bit(values: npt.NDArray[Any]) -> Picture:
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
