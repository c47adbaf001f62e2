"""Symbolic links that lead out of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import MediaError


def leads_out(path: Path, folder: Path) -> bool:
    """Return whether `path`, a path below `folder` that need not exist, is elsewhere once links are followed."""
    # Not Path.resolve, which raises where links refer to each other: whoever opens the file reports that.
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def refuse_links_out(files: Iterable[Path], folder: Path) -> None:
    """Raise MediaError where one of the files below `folder`, which need not exist, is elsewhere behind a link."""
    files = list(files)
    for path in (*sorted({path.parent for path in files}), *filter(Path.is_symlink, files)):
        if leads_out(path, folder):
            raise MediaError(f"{path} is behind a link that leaves {folder}: put what it points to in its place.")
