"""Write a video as numbered PNG files, which may be transparent."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..arrays import Image
from ..errors import MediaError
from .image_output import check_image_output, write_image
from .output_file import check_output_file, publish

if TYPE_CHECKING:
    from types import TracebackType

_NUMBER = re.compile(r"%0?([1-9]?)d(?![a-z])")


def is_sequence_name(path: Path) -> bool:
    """Return whether a name stands for numbered files, such as frames_%05d.png."""
    return path.suffix.lower() == ".png" and len(_NUMBER.findall(path.name)) == 1


def check_sequence_output(path: Path, overwrite: bool) -> None:
    """Raise MediaError unless numbered files can be written; to be called before any work starts."""
    check_output_file(path, suffixes=(".png",), kind=".png", example="frames_%05d.png", overwrite=overwrite)
    check_image_output(_numbered(path, 1), overwrite)
    before, after = _NUMBER.sub("%d", path.name).split("%d")
    with suppress(OSError):
        for other in sorted(path.resolve().parent.iterdir()):
            number = other.name.removeprefix(before).removesuffix(after)
            if number.isdecimal() and other.name == _numbered(path, int(number)).name:
                check_image_output(other, overwrite)


class SequenceWriter:
    """Context manager that writes numbered PNG files, from 1; they appear when all are complete.

    Args:
        path: such as frames_%05d.png.
        title: metadata of each file.
        comment: metadata of each file.
        overwrite: replace existing files.
    """

    def __init__(self, path: Path, *, title: str, comment: str, overwrite: bool) -> None:
        check_sequence_output(path, overwrite)
        self._path, self._overwrite = path, overwrite
        self._title, self._comment = title, comment
        self._written = 0

    def __enter__(self) -> SequenceWriter:
        folder = self._path.resolve().parent
        try:
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self._path.stem[:40]}.", suffix=".part", dir=folder))
        except OSError as error:
            raise MediaError(f"{self._path} cannot be written ({error.strerror}); choose another output") from error
        return self

    def write(self, frame: Image) -> None:
        """Write the next frame (H, W, 3) or (H, W, 4) uint8."""
        self._written += 1
        file = _numbered(self._folder / self._path.name, self._written)
        write_image(file, frame, title=self._title, comment=self._comment)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                targets = [_numbered(self._path, k + 1) for k in range(self._written)]
                for target in targets:
                    check_image_output(target, self._overwrite)
                for target in targets:
                    publish(self._folder / target.name, target, self._overwrite)
        except OSError as failure:
            raise MediaError(f"{self._path} could not be written ({failure.strerror}); choose another") from failure
        finally:
            with suppress(OSError):
                shutil.rmtree(self._folder)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(_NUMBER.sub(lambda match: f"{number:0{match[1] or 1}d}", path.name))
