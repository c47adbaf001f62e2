"""Live sessions: portrait → TrackedSource → PreparedFace → LiveSession. Portraits are found once."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from ..errors import MediaError, OptionError
from ..face.tracked import TrackedSource
from ..live.session import LiveSession
from ..options.live import LiveOptions
from ..system.devices import torch_device
from .engines import EngineChoice, Engines, note_choice
from .mouths import identify
from .run import find_face, open_source, turn_limit

_KEPT_PORTRAITS = 4


class LiveSessions:
    """Starts sessions; their portraits and networks are shared. Thread-safe."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._lock = Lock()
        self._portraits: dict[tuple[object, ...], TrackedSource] = {}
        self._noted: tuple[EngineChoice, LiveOptions] | None = None

    def start(self, portrait: Path, options: LiveOptions) -> LiveSession:
        """Return a session whose first frame is drawn. Raises TalkerError."""
        from ..driving.signal.stream import SpeechStream

        if self._engines.is_driver_given:
            raise OptionError(
                "a driver that was given hears whole voices: live has its own, take a Talker without one."
            )
        with self._lock:
            source = self._find(portrait, options)
            chosen = self._choose(options)
            renderer = self._engines.renderer(chosen, options, {"batch_size": 1})
            if self._noted != (chosen, options):
                self._noted = chosen, options
                note_choice(options, chosen)
            face = renderer.prepare(source)
        speech = SpeechStream(look_ahead_seconds=options.look_ahead, fps=options.fps)
        return LiveSession(source, face, speech, options, turn_limit(face))

    def _find(self, portrait: Path, options: LiveOptions) -> TrackedSource:
        key = (*identify([portrait]), options.face, options.crop, options.max_size, options.max_pixels)
        if key not in self._portraits:
            footage = open_source(portrait, options, options.max_seconds)
            if not footage.is_still:
                footage.close()
                raise MediaError(f"{footage.name} is a video: a live face is made from a picture.")
            while len(self._portraits) >= _KEPT_PORTRAITS:
                del self._portraits[next(iter(self._portraits))]
            self._portraits[key] = find_face(footage, options)
        return self._portraits[key]

    def _choose(self, options: LiveOptions) -> EngineChoice:
        """Return the renderer: the neural one only where a GPU draws it in real time."""
        chosen = self._engines.choose_renderer(options)
        if chosen.name != "neural" or self._engines.is_renderer_given:
            return chosen
        device = torch_device(options.device).type
        if device == "cuda":
            return chosen
        if options.renderer == "neural":
            raise OptionError(
                f"the neural renderer takes seconds a frame on this {device}: live needs an NVIDIA GPU for it; take "
                "--renderer embedded or hybrid."
            )
        return EngineChoice("embedded", "the neural renderer is live only on an NVIDIA GPU")
