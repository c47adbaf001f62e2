"""LivePortraitTalker: a portrait (or a video) and a voice go in, a talking video comes out.

from liveportrait_talker import Talker, TalkOptions

Talker().save("portrait.jpg", "voice.wav", "out.mp4", TalkOptions(seed=7))
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import MediaError, NoFaceError, OptionError, TalkerError, WeightsError

__version__ = "0.1.0"

# Both are read when torch is loaded, by whichever part needs it first. What Apple's GPUs lack (in some versions,
# sampling a volume) the processor then does; and OpenMP's threads do not keep a core busy while they wait, which would
# disturb the threads of our own kernels.
os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from .driving.protocol import MouthDriver
    from .face.tracked import TrackedSource
    from .live.frame import LiveCounts, LiveFrame
    from .live.session import LiveSession
    from .media.waveform import Waveform
    from .motion.portable import PortableMotion
    from .motion.track import HeadTrack, LipKeypoints, MotionTrack, MouthControls
    from .options.animate import AnimateOptions
    from .options.edit import EditOptions
    from .options.live import LiveOptions
    from .options.score import ScoreOptions
    from .options.speakers import SpeakerVoice
    from .options.talk import TalkOptions
    from .pipelines.animate import Animator
    from .pipelines.edit import Editor
    from .pipelines.faces import FoundFace, find_faces
    from .pipelines.media_check import check_media
    from .pipelines.networks import build_network, neural_networks
    from .pipelines.talk import Talker, TalkReport
    from .pipelines.turns import voices_from_turns
    from .render.protocol import FaceFrame, PreparedFace, Renderer
    from .scoring.score import VideoScore, score_video

__all__ = [
    "AnimateOptions",
    "Animator",
    "EditOptions",
    "Editor",
    "FaceFrame",
    "FoundFace",
    "HeadTrack",
    "LipKeypoints",
    "LiveCounts",
    "LiveFrame",
    "LiveOptions",
    "LiveSession",
    "MediaError",
    "MotionTrack",
    "MouthControls",
    "MouthDriver",
    "NoFaceError",
    "OptionError",
    "PortableMotion",
    "PreparedFace",
    "Renderer",
    "ScoreOptions",
    "SpeakerVoice",
    "TalkOptions",
    "TalkReport",
    "Talker",
    "TalkerError",
    "TrackedSource",
    "VideoScore",
    "Waveform",
    "WeightsError",
    "__version__",
    "build_network",
    "check_media",
    "find_faces",
    "neural_networks",
    "score_video",
    "voices_from_turns",
]

# Loaded when first asked for: importing the package must not load OpenCV or PyAV.
_HOMES = {
    "AnimateOptions": ".options.animate",
    "Animator": ".pipelines.animate",
    "EditOptions": ".options.edit",
    "Editor": ".pipelines.edit",
    "FoundFace": ".pipelines.faces",
    "HeadTrack": ".motion.track",
    "LipKeypoints": ".motion.track",
    "MotionTrack": ".motion.track",
    "PortableMotion": ".motion.portable",
    "LiveCounts": ".live.frame",
    "LiveFrame": ".live.frame",
    "LiveOptions": ".options.live",
    "LiveSession": ".live.session",
    "MouthControls": ".motion.track",
    "SpeakerVoice": ".options.speakers",
    "TalkOptions": ".options.talk",
    "TalkReport": ".pipelines.talk",
    "Talker": ".pipelines.talk",
    "check_media": ".pipelines.media_check",
    "find_faces": ".pipelines.faces",
    "FaceFrame": ".render.protocol",
    "MouthDriver": ".driving.protocol",
    "PreparedFace": ".render.protocol",
    "Renderer": ".render.protocol",
    "TrackedSource": ".face.tracked",
    "Waveform": ".media.waveform",
    "build_network": ".pipelines.networks",
    "neural_networks": ".pipelines.networks",
    "voices_from_turns": ".pipelines.turns",
    "ScoreOptions": ".options.score",
    "VideoScore": ".scoring.score",
    "score_video": ".scoring.score",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
