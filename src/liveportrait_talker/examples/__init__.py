"""Example media of the package; README.md in this folder names their sources."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import MediaError

FOLDER = Path(__file__).parent
PORTRAIT, VOICE = FOLDER / "portrait.png", FOLDER / "voice.wav"
DRAWING, PAINTING, CLIP, PAIR = (FOLDER / name for name in ("drawing.png", "painting.jpg", "clip.mp4", "pair.jpg"))


def copy_examples(folder: Path) -> list[Path]:
    """Copy the example files into `folder`, which is created if needed; existing files stay. Return the copies.

    Raises:
        MediaError: the folder cannot be written.
    """
    copies = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(FOLDER.iterdir()):
            copy = folder / file.name
            if file.suffix in (".py", "") or copy.exists():
                continue
            shutil.copyfile(file, copy)
            copies.append(copy)
    except OSError as error:
        raise MediaError(f"the examples cannot be copied to {folder} ({error.strerror}); name another") from error
    return copies
