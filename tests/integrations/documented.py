"""Code in the documentation, and what it needs in the current folder."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.media import open_footage


def blocks_of(page: str) -> list[str]:
    """Return the Python code of a page in docs."""
    return re.findall(r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / page).read_text(), re.S)


def copy_portrait(folder: Path) -> None:
    """Write the example portrait, 256 px, to `folder`."""
    folder.mkdir()
    Image.fromarray(open_footage(PORTRAIT, max_side=256)[0]).save(folder / "portrait.png")
