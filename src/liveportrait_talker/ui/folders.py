"""Removal of the server's folders from texts that users of the page read."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from pathlib import Path

from ..system.cache import cache_root
from ..weights import store

_POSIX = re.compile(r"(?<![\w.:/])/(?:[^/\s'\"]+/)+")  # of absolute paths, but not of URLs
_WINDOWS = re.compile(r"(?<!\w)(?:[A-Za-z]:|\\)\\(?:[^\\\n'\"]+\\)+")


def hide_folders(text: str) -> str:
    """Return a text in which absolute paths are reduced to their last name, and folders of ours to what they are."""
    for folder, words in _known():
        if folder.is_absolute() and len(folder.parts) > 1:
            text = re.sub(rf"{re.escape(str(folder))}(?![\w/\\-]|\.\w)", words, text)
            text = text.replace(f"{folder}/", "/x/").replace(f"{folder}\\", "\\\\x\\")  # names in it may have spaces
    return _WINDOWS.sub("", _POSIX.sub("", text))


def _known() -> list[tuple[Path, str]]:
    """Return folders of ours and words for them, inner folders first."""
    known = [(store.root(), "the models folder"), (Path(tempfile.gettempdir()), "the temporary folder")]
    with suppress(RuntimeError):  # HOME is not set and the user is unknown
        known += [(Path.home(), "the home folder"), (cache_root().expanduser(), "the cache folder")]
    return sorted(known, key=lambda pair: -len(pair[0].parts))
