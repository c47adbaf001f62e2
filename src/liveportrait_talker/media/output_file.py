"""Output files: checks before the work starts, and files that appear only when they are complete."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import MediaError

Label = Callable[[Path], None]
"""Writes content credentials into a complete file, in place. Raises MediaError or OSError."""


def check_output_file(path: Path, *, suffixes: Sequence[str], kind: str, example: str, overwrite: bool) -> None:
    """Raise MediaError unless a file can be written to `path`.

    Args:
        path: the output.
        suffixes: accepted suffixes, in lower case.
        kind: what has these suffixes, for messages.
        example: a file name, for messages.
        overwrite: whether an existing file may be replaced.
    """
    folder = path.parent
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # as it should be, or reported below
    except OSError as error:  # links that refer to each other, a name that is too long
        raise MediaError(f"{path} cannot be written ({error.strerror}); choose another output") from error
    except ValueError as error:
        raise MediaError(f"{path} has characters that file names cannot have; choose another output") from error
    try:
        if path.is_symlink():
            folder = path.resolve().parent  # where it will be written
        if path.is_dir():
            raise MediaError(f"{path} is a folder; name a file in it, such as {path / example}")
        if path.suffix.lower() not in suffixes:
            raise MediaError(f"{path.name} must end in {kind}; rename the output")
        if not folder.exists():
            raise MediaError(f"the folder {folder} for {path.name} does not exist; create it first (mkdir -p {folder})")
        if not folder.is_dir():
            raise MediaError(f"{folder} is not a folder, so {path.name} cannot be written there; choose another folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise MediaError(f"the folder {folder} is not writable, so {path.name} cannot be made; choose another one")
        if path.exists() and not path.is_file():
            raise MediaError(f"{path} is not a regular file; choose another output")
        if path.exists() and not overwrite:
            raise MediaError(f"{path} exists already; use --overwrite to replace it, or choose another output")
    except OSError as error:
        raise MediaError(f"{path} cannot be written ({error.strerror}); choose another output") from error


def partial_path(path: Path, suffix: str) -> Path:
    """Return a hidden, unique path in the folder of `path`, for the file while it is written."""
    return path.resolve().parent / f".{path.stem[:40]}.{secrets.token_hex(4)}.part{suffix}"


def publish(part: Path, path: Path, overwrite: bool, label: Label | None = None) -> None:
    """Label the complete file `part` and rename it to `path`.

    Raises MediaError if another process created `path`, OSError, or what `label` raises.
    """
    if label is not None:
        label(part)
    target = path.resolve()
    with part.open("rb+") as file:
        os.fsync(file.fileno())  # a network drive may report only now that it is full
    if overwrite:
        part.replace(target)
        return
    try:
        target.hardlink_to(part)
    except FileExistsError:
        raise MediaError(f"{path} was created meanwhile; use --overwrite, or choose another output") from None
    except OSError:  # a file system without hard links
        part.replace(target)
