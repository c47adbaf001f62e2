"""The C2PA library: whether it is here, and how it is set up."""

from __future__ import annotations

from functools import cache
from typing import Any

FORMATS = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
"""Suffix → media type of the files of ours that can hold content credentials."""
_OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}


@cache
def missing_library() -> str | None:
    """Return why there can be no content credentials here, as part of a sentence; None where there can."""
    try:
        import c2pa  # noqa: F401
        import cryptography  # noqa: F401
    except ImportError:
        return "c2pa-python is not installed (pip install 'liveportrait-talker[c2pa]')"
    except Exception as error:  # its binary is for another system
        return f"c2pa-python cannot be loaded ({error})"
    return None


def new_context(**settings: Any) -> Any:
    """Return a `c2pa.Context` that never uses the network."""
    import c2pa

    return c2pa.Context.from_dict(_OFFLINE | settings)


def reason_of(error: Exception) -> str:
    """Return the library's message as part of a sentence: its last line, without the address of the part."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].partition(" (self#")[0].strip(" .")
