"""What ComfyUI loads: the list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .animate import Animate
from .expression import Expression
from .inputs import ExampleVoice, LoadPortrait
from .motion import LoadMotion, MixMotion, Motion, SaveMotion
from .speakers import Faces, Speakers
from .talk import Talk


class TalkerExtension(ComfyExtension):
    """The nodes of this pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the nodes, in the order of the README."""
        return [
            LoadPortrait,
            ExampleVoice,
            Talk,
            Speakers,
            Faces,
            Animate,
            Expression,
            Motion,
            MixMotion,
            SaveMotion,
            LoadMotion,
        ]


async def comfy_entrypoint() -> ComfyExtension:
    """Return the extension; ComfyUI calls this once at its start."""
    return TalkerExtension()
