"""Write PNG, JPEG and WebP files with metadata."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..arrays import Image as ImageArray
from ..errors import MediaError
from .output_file import Label, check_output_file, partial_path, publish

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_DESCRIPTION, _SOFTWARE = 0x010E, 0x0131  # EXIF tags
_QUALITY = 95


def is_image_name(path: Path) -> bool:
    """Return whether the suffix of `path` is that of an image."""
    return path.suffix.lower() in _SUFFIXES


def check_image_output(path: Path, overwrite: bool) -> None:
    """Raise MediaError unless an image can be written to `path`; to be called before any work starts."""
    kind = ".png, .jpg or .webp to be a picture"
    check_output_file(path, suffixes=_SUFFIXES, kind=kind, example="edited.png", overwrite=overwrite)


def write_image(
    path: Path, image: ImageArray, *, title: str, comment: str, overwrite: bool = False, label: Label | None = None
) -> None:
    """Write (H, W, 3) uint8 RGB with `title` and `comment` as metadata; `path` appears when it is complete.

    (H, W, 4) is RGBA, which JPEG cannot hold. `label` writes content credentials into the complete file.

    Raises:
        MediaError: it cannot be written.
    """
    check_image_output(path, overwrite)
    suffix = path.resolve().suffix.lower()
    part = partial_path(path, suffix)
    try:
        if suffix == ".png":
            text = PngInfo()
            text.add_itxt("Title", title)
            text.add_itxt("Comment", comment)
            Image.fromarray(image).save(part, "PNG", pnginfo=text)
        else:
            exif = Image.Exif()
            exif[_DESCRIPTION], exif[_SOFTWARE] = f"{title}. {comment}", "LivePortraitTalker"
            kind = "WEBP" if suffix == ".webp" else "JPEG"
            Image.fromarray(image).save(part, kind, quality=_QUALITY, exif=exif)
        publish(part, path, overwrite, label)
    except OSError as error:
        message = f"{path} could not be written ({error.strerror or error}); choose another location"
        raise MediaError(message) from error
    finally:
        with suppress(OSError):
            part.unlink()
