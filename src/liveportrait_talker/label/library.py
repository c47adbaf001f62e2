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
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},  # the network is never used
    # Otherwise memory grows with the file, up to 1 GB: larger copies are temporary files, and a video is hashed in
    # blocks, all of whose hashes are part of the credentials.
    "core": {
        "backing_store_memory_threshold_in_mb": 16,
        "merkle_tree_chunk_size_in_kb": 4096,
        "merkle_tree_max_proofs": 0,
    },
}


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

    return c2pa.Context.from_dict(_SETTINGS | settings)


def reason_of(error: Exception) -> str:
    """Return the library's message as part of a sentence: its last line, without the address of the part."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].partition(" (self#")[0].strip(" .")
