"""LivePortraitTalker: a portrait (or a video) and a voice go in, a talking video comes out.

from liveportrait_talker import Talker, TalkOptions

Talker().save("portrait.jpg", "voice.wav", "out.mp4", TalkOptions(seed=7))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import MediaError, NoFaceError, OptionError, TalkerError, WeightsError

if TYPE_CHECKING:
    from .motion.track import HeadTrack, MotionTrack, MouthControls
    from .options import TalkOptions
    from .pipeline import Talker, TalkReport

__all__ = [
    "HeadTrack",
    "MediaError",
    "MotionTrack",
    "MouthControls",
    "NoFaceError",
    "OptionError",
    "TalkOptions",
    "TalkReport",
    "Talker",
    "TalkerError",
    "WeightsError",
    "__version__",
]

# Loaded when first asked for: importing the package must not load OpenCV, MediaPipe or PyAV.
_HOMES = {
    "HeadTrack": ".motion.track",
    "MotionTrack": ".motion.track",
    "MouthControls": ".motion.track",
    "TalkOptions": ".options",
    "TalkReport": ".pipeline",
    "Talker": ".pipeline",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
