"""Arrays → picture files that say what they are: PNG, JPEG or WebP, there when complete and not before."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..arrays import Image as ImageArray
from ..errors import MediaError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_DESCRIPTION, _SOFTWARE = 0x010E, 0x0131  # EXIF
_QUALITY = 95


def is_picture_name(path: Path) -> bool:
    """Whether a file of this name would be a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def check_picture_output(path: Path, overwrite: bool) -> None:
    """Raise MediaError unless a picture can be written to `path`; meant to be asked before any work starts."""
    folder = path.parent
    try:
        if path.is_dir():
            raise MediaError(f"{path} is a folder; name a file in it, such as {path / 'edited.png'}")
        if not is_picture_name(path):
            raise MediaError(f"{path.name} must end in .png, .jpg or .webp to be a picture; rename the output")
        if not folder.is_dir():
            raise MediaError(f"the folder {folder} for {path.name} does not exist; create it first (mkdir -p {folder})")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise MediaError(f"the folder {folder} is not writable, so {path.name} cannot be made; name another place")
        if path.exists() and not path.is_file():
            raise MediaError(f"{path} is not an ordinary file; name another output")
        if path.exists() and not overwrite:
            raise MediaError(f"{path} exists already; use --overwrite to replace it, or name another output")
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}); name another output") from error


def write_picture(path: Path, picture: ImageArray, *, title: str, comment: str, overwrite: bool = False) -> None:
    """Write (H, W, 3) uint8 RGB, tagged with `title` and `comment`: to a temporary file, then renamed.

    Raises:
        MediaError: it cannot be written.
    """
    check_picture_output(path, overwrite)
    target = path.resolve()
    part = target.parent / f".{target.stem[:40]}.{secrets.token_hex(4)}.part{target.suffix}"
    image = Image.fromarray(picture)
    try:
        if target.suffix.lower() == ".png":
            notes = PngInfo()
            notes.add_itxt("Title", title)
            notes.add_itxt("Comment", comment)
            image.save(part, "PNG", pnginfo=notes)
        else:
            exif = Image.Exif()
            exif[_DESCRIPTION], exif[_SOFTWARE] = f"{title}. {comment}", "LivePortraitTalker"
            kind = "WEBP" if target.suffix.lower() == ".webp" else "JPEG"
            image.save(part, kind, quality=_QUALITY, exif=exif)
        _publish(part, target, overwrite)
    except OSError as error:
        raise MediaError(f"{path} could not be written ({error.strerror or error}); name another place") from error
    finally:
        with suppress(OSError):
            part.unlink()


def _publish(part: Path, target: Path, overwrite: bool) -> None:
    if not overwrite:
        try:
            target.hardlink_to(part)
        except FileExistsError:
            raise MediaError(f"{target} has come into being meanwhile; use --overwrite, or name another") from None
        except OSError:  # a file system without links
            part.replace(target)
        return
    part.replace(target)
