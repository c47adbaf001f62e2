"""Renderers and drivers: the choice by what is asked for and installed, and their networks, loaded once.

There is no silent fallback: each choice comes with its reason, and an engine that was asked for by name and cannot run
is refused with the command that installs it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Image
from ..driving.protocol import MouthDriver
from ..errors import MediaError, OptionError, WeightsError
from ..media import open_footage
from ..options.applicability import flags_without_effect
from ..options.background import Background
from ..options.commands import DrawingOptions
from ..options.fields import changed_flags
from ..options.shared import RendererOptions
from ..options.talk import TalkOptions
from ..progress import OnProgress, ignore_progress, steps_of
from ..render.protocol import DrivenRenderer, Renderer
from ..system.cache import is_first_time
from ..system.devices import estimate_frame_seconds
from ..weights import registry, store
from ..weights.importing import checksum
from ..weights.importing import missing as missing_networks

if TYPE_CHECKING:
    from ..driving.sadtalker.networks import SadTalker
    from ..driving.signal.closures import PhoneRecogniser
    from ..render.embedded.mouth_examples import MouthExample
    from ..render.embedded.renderer import EmbeddedRenderer
    from ..render.hybrid.renderer import HybridRenderer
    from ..render.neural.liveportrait import LivePortrait
    from ..render.neural.renderer import NeuralRenderer

log = logging.getLogger(__name__)

Weights = Mapping[str, Path | str]

RENDERER_NETWORKS = tuple(name for name in registry.NETWORKS if registry.holding(name).group == "liveportrait")
LIP_NETWORKS = ("sadtalker_audio2exp", "sadtalker_face_3drecon", "mappingnet")
_CANNOT_RUN = "the neural renderer cannot run"
HEAD_POSE_NETWORKS = ("sadtalker_audio2pose", "sadtalker_face_3drecon")


@dataclass(frozen=True)
class EngineChoice:
    """A renderer or a driver by name, and the reason for the choice."""

    name: str
    reason: str


def missing_parts(networks: Sequence[str], weights: Weights) -> str | None:
    """Return what keeps networks from running and the command that installs it, as part of a sentence; else None."""
    if None in (find_spec("torch"), find_spec("safetensors")):
        return "PyTorch is not installed (pip install 'liveportrait-talker[neural]')"
    absent = missing_networks([name for name in networks if name not in weights])
    if not absent:
        return None
    files = list(dict.fromkeys(registry.holding(name) for name in absent))
    names = [file.name for file in files]
    for group in dict.fromkeys(file.group for file in files):
        whole = [file.name for file in registry.FILES if file.group == group]
        if len(whole) > 1 and set(whole) <= set(names):
            names = [group if name == whole[0] else name for name in names if name not in whole[1:]]
    what = "its weights" if len(absent) == len(networks) else f"the weights of {', '.join(absent)}"
    return (
        f"{what} are not in {store.root()}, or damaged "
        f"(liveportrait-talker models download {' '.join(names)}; or liveportrait-talker models import DIR)"
    )


class Engines:
    """Renderers and drivers of one set of weights. Their networks are loaded once and kept from video to video.

    One set is in memory: another device, or for the renderer another precision, replaces it.

    Args:
        weights: network → checkpoint file, in place of those that are installed.
        renderer: takes the place of the renderer that the options name.
        driver: takes the place of the driver that the options name.

    Raises:
        WeightsError: there is no network of such a name.
    """

    def __init__(
        self, weights: Weights | None = None, *, renderer: Renderer | None = None, driver: MouthDriver | None = None
    ) -> None:
        self.weights: Weights = dict(weights or {})
        for name in self.weights:
            registry.holding(name)  # refuses a name that no network has
        for what, engine, method in (("renderer", renderer, "prepare"), ("driver", driver, "drive")):
            if engine is not None and not hasattr(engine, method):
                raise TypeError(
                    f"a {what} has the method {method}, {type(engine).__name__} has not: one by name is an option"
                )
        self._given_renderer, self._given_driver = renderer, driver
        self._liveportrait: dict[tuple[str, str, str], LivePortrait] = {}
        self._sadtalker: dict[tuple[str, Path | None], SadTalker] = {}
        self._mouths: dict[tuple[Any, ...], list[MouthExample]] = {}

    @property
    def is_renderer_given(self) -> bool:
        """Whether a renderer was passed, which options cannot replace."""
        return self._given_renderer is not None

    @property
    def is_driver_given(self) -> bool:
        """Whether a driver was passed, which options cannot replace."""
        return self._given_driver is not None

    def weights_for(self, options: TalkOptions) -> Weights:
        """Return network → file, with what the options name."""
        return self.weights if options.mapping is None else {**self.weights, "mappingnet": options.mapping}

    def choose_renderer(self, options: RendererOptions) -> EngineChoice:
        """Return the choice of renderer and its reason.

        Raises:
            WeightsError: the renderer that was asked for cannot run; the message has the command that helps.
            OptionError: another renderer was given to this object.
        """
        if (given := self._given_renderer) is not None:
            if options.renderer not in ("auto", given.name):
                raise OptionError(
                    f"--renderer {options.renderer} and the {given.name} renderer that was given contradict each "
                    "other: give one of them."
                )
            return EngineChoice(given.name, "it was given")
        if options.renderer == "embedded":
            return EngineChoice("embedded", "as asked for")
        missing = missing_parts(RENDERER_NETWORKS, self.weights)
        if options.renderer != "auto":
            if missing:
                raise WeightsError(f"the {options.renderer} renderer cannot run: {missing}.")
            return EngineChoice(options.renderer, "as asked for")
        cannot = f"{_CANNOT_RUN}: {missing}"
        return EngineChoice("embedded", cannot) if missing else EngineChoice("neural", "its weights are installed")

    def choose_driver(self, options: TalkOptions, renderer: str) -> EngineChoice:
        """Return the choice of driver for a renderer's name, and its reason. Raises as `choose_renderer` does."""
        if self._given_driver is not None:
            if options.driver != "auto":
                raise OptionError(f"--driver {options.driver} and a driver that was given contradict each other.")
            return EngineChoice(type(self._given_driver).__name__, "it was given")
        if options.driver == "signal":
            return self._signal_choice("as asked for")
        missing = missing_parts(LIP_NETWORKS, self.weights_for(options))
        cannot = f"the learned driver cannot run: {missing}"
        if options.driver == "learned":
            if missing:
                raise WeightsError(f"{cannot}.")
            return EngineChoice("learned", "as asked for")
        if renderer != "neural":
            return self._signal_choice("auto takes the learned driver with the neural renderer only")
        return self._signal_choice(cannot) if missing else EngineChoice("learned", "its weights are installed")

    def reads_driving(self, choice: EngineChoice) -> bool:
        """Return whether the renderer of a choice reads driving clips by its own networks; it need not be loaded."""
        if self._given_renderer is not None:
            return isinstance(self._given_renderer, DrivenRenderer)
        return choice.name == "neural"

    def renderer(
        self,
        choice: EngineChoice,
        options: DrawingOptions,
        settings: Mapping[str, Any] | None = None,
        *,
        on_progress: OnProgress = ignore_progress,
    ) -> Renderer:
        """Return the renderer of a choice, its networks and files loaded: a bad file is found before any work.

        The hybrid renderer loads them when it needs them.

        Args:
            choice: see `choose_renderer`.
            options: device and number format of the networks; mouths and teeth of the embedded renderer.
            settings: of the neural renderer, besides stitching; see `NeuralSettings`.
            on_progress: called as files are read, and as the hybrid renderer draws mouths.

        Raises:
            OptionError: the device is not here.
            MediaError, NoFaceError: a file of `mouth_from` is of no use.
            WeightsError: a network's file is missing or damaged.
        """
        background = options.behind
        if background is not None and choice.name not in ("embedded", "hybrid"):
            raise OptionError(
                f"--background needs the embedded renderer, not the {choice.name} one: add --renderer embedded."
            )
        if self._given_renderer is not None:
            if flags := changed_flags(options, ("background", "mouth_from", "teeth_brightness")):
                raise OptionError(f"{flags[0]} has no effect on a renderer that was given: pass it to that renderer.")
            return self._given_renderer
        if choice.name != "neural":
            from ..render.embedded.renderer import EmbeddedRenderer

            embedded = EmbeddedRenderer(
                mouths=self._read_mouths(options, on_progress) if options.mouth_from else (),
                teeth_brightness=options.teeth_brightness,
                background=_open_background(background, options.max_pixels),
            )
            return self._hybrid(embedded, options, on_progress) if choice.name == "hybrid" else embedded
        renderer = self._neural(options, stitching=options.stitching, **(settings or {}))
        if options.renderer == "auto" and renderer.networks.device.type == "cpu":
            log.info(
                "a CPU takes seconds for each frame of the networks: --renderer hybrid has them draw ten, once a "
                "portrait, and draws the rest on the mesh."
            )
        return renderer

    def _neural(self, options: RendererOptions, **settings: Any) -> NeuralRenderer:
        """Return the neural renderer, its networks loaded."""
        from ..render.neural.liveportrait import LivePortrait
        from ..render.neural.renderer import NeuralRenderer, NeuralSettings

        key = (options.device, options.precision, options.compile)
        if key not in self._liveportrait:
            device, precision, compile = key
            networks = LivePortrait(weights=self.weights, device=device, precision=precision, compile=compile)
            log.info(
                "the networks run on %s in %s, %s: %s.",
                networks.device.type,
                networks.precision,
                "compiled" if networks.compiles else "not compiled",
                networks.compile_reason,
            )
            self._liveportrait = {key: networks}  # one set in memory
        return NeuralRenderer(self._liveportrait[key].load(), NeuralSettings(**settings))

    def _hybrid(self, embedded: EmbeddedRenderer, options: RendererOptions, on_progress: OnProgress) -> HybridRenderer:
        """Return the renderer that plays mouths which the neural one draws."""
        from ..render.hybrid.renderer import HybridRenderer

        checksums = [checksum(name, file=self.weights.get(name)) for name in RENDERER_NETWORKS]
        return HybridRenderer(
            embedded,
            lambda: self._neural(options),
            drawn_by=" ".join([*checksums, options.precision]),
            on_step=steps_of("drawing mouths by the networks", on_progress),
        )

    def _read_mouths(self, options: DrawingOptions, on_progress: OnProgress) -> list[MouthExample]:
        """Return the mouths in the files of `mouth_from`; the last ones are kept while their files stay the same."""
        from .mouths import identify, read_mouths

        key = (*identify(options.mouth_from), options.max_pixels, options.max_seconds)
        if key not in self._mouths:
            self._mouths = {key: read_mouths(options.mouth_from, options, on_progress)}
        return self._mouths[key]

    def driver(self, choice: EngineChoice, options: TalkOptions) -> MouthDriver:
        """Return the driver of a choice, its networks loaded. Raises as `renderer` does."""
        if self._given_driver is not None:
            return self._given_driver
        if choice.name == "signal":
            from ..driving.signal.driver import SignalDriver

            return SignalDriver(recogniser=None if isinstance(self._recogniser, str) else self._recogniser)
        from ..driving.sadtalker.driver import LearnedDriver

        return LearnedDriver(
            self.sadtalker(options).load(LIP_NETWORKS),
            neutral_mouth=options.neutral_mouth,
            window_rows=options.window_rows,
            smooth_variance=options.driving_smooth_observation_variance,
        )

    @cached_property
    def _recogniser(self) -> PhoneRecogniser | str:
        from ..driving.signal.closures import find_recogniser

        return find_recogniser()

    def _signal_choice(self, reason: str) -> EngineChoice:
        """Return the choice of the signal driver, with what closes the lips for P, B and M in its reason."""
        found = self._recogniser
        closed_by = f"its own network, as {found}" if isinstance(found, str) else "hama"
        return EngineChoice("signal", f"{reason}; P, B and M by {closed_by}")

    def sadtalker(self, options: TalkOptions) -> SadTalker:
        """Return the networks of learned lips and of audio-driven heads. Raises OptionError as `renderer` does."""
        from ..driving.sadtalker.networks import SadTalker

        key = (options.device, options.mapping)
        if key not in self._sadtalker:
            self._sadtalker = {key: SadTalker(weights=self.weights_for(options), device=options.device)}  # one set
        return self._sadtalker[key]


def _open_background(background: Background | None, max_pixels: int) -> Image | None:
    """Return what the embedded renderer draws behind a person. Raises MediaError for a file that is no picture."""
    if background is None:
        return None
    if background.colour is not None:
        return np.array([[background.colour]], np.uint8)
    if background.file is None:
        return np.zeros((1, 1, 4), np.uint8)
    with open_footage(background.file, max_pixels=max_pixels) as footage:
        if not footage.is_still:
            raise MediaError(f"{background.file.name} is a video: --background takes a picture")
        return footage[0]


def _describe_networks() -> str:
    """Return what LivePortrait's networks would change here, and the command that gets them."""
    megabytes = sum(file.size or 0 for file in registry.FILES if file.group == "liveportrait") / 1e6
    return (
        "LivePortrait's networks draw skin, teeth and lids as they learnt them and turn heads further: "
        f"{megabytes:.0f} MB (liveportrait-talker models download liveportrait), and about "
        f"{estimate_frame_seconds():.2g} s for each frame on this machine."
    )


def note_choice(options: RendererOptions, renderer: EngineChoice, driver: EngineChoice | None = None) -> None:
    """Log which engines were chosen and why, and warn of options that have no effect with them."""
    if flags := flags_without_effect(options, renderer.name, driver.name if driver else None):
        engines = f"the {renderer.name} renderer" + (f" and the {driver.name} driver" if driver else "")
        log.warning("%s: no effect with %s.", ", ".join(flags), engines)
    if renderer.name == "embedded" and renderer.reason.startswith(_CANNOT_RUN):
        if is_first_time("networks"):
            log.info("drawn by the embedded renderer. %s This is said once.", _describe_networks())
    else:
        log.info("drawn by the %s renderer: %s.", renderer.name, renderer.reason)
    if driver is not None and (renderer.name == "neural" or driver.name == "learned"):  # else there was no choice
        log.info("spoken by the %s driver: %s.", driver.name, driver.reason)
