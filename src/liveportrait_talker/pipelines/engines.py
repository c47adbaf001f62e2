"""Which renderer draws and which driver moves the mouth: what was asked for, held against what is installed.

Nothing falls back in silence: each choice comes with its reason, and what was asked for by name and cannot run is
refused with the command that installs it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..driving.protocol import MouthDriver
from ..errors import WeightsError
from ..options.talk import CROP_WINDOW, LEARNED_ONLY, NEURAL_ONLY, SMOOTHED, TalkOptions
from ..render.protocol import Renderer
from ..weights import registry, store
from ..weights.importing import missing

if TYPE_CHECKING:
    from ..driving.sadtalker.networks import SadTalker
    from ..render.neural.liveportrait import LivePortrait

log = logging.getLogger(__name__)

Weights = Mapping[str, Path | str]

RENDERING = tuple(name for name in registry.NETWORKS if registry.holding(name).group == "liveportrait")
SPEAKING = ("sadtalker_audio2exp", "sadtalker_face_3drecon", "mappingnet")
NODDING = ("sadtalker_audio2pose", "sadtalker_face_3drecon")


@dataclass(frozen=True)
class Choice:
    """A renderer or a driver by name, and why it was taken."""

    name: str
    reason: str


def choose_renderer(options: TalkOptions, weights: Weights) -> Choice:
    """`neural` or `embedded`.

    Raises:
        WeightsError: the neural renderer was asked for and cannot run; the text has the command that mends it.
    """
    if options.renderer == "embedded":
        return Choice("embedded", "as asked for")
    lack = lacking(RENDERING, weights)
    cannot = f"the neural renderer cannot run: {lack}"
    if options.renderer == "neural":
        if lack:
            raise WeightsError(f"{cannot}.")
        return Choice("neural", "as asked for")
    return Choice("embedded", cannot) if lack else Choice("neural", "its weights are installed")


def choose_driver(options: TalkOptions, renderer: str, weights: Weights) -> Choice:
    """`learned` or `signal`, for a renderer's name.

    Raises:
        WeightsError: the learned driver was asked for and cannot run.
    """
    if options.driver == "signal":
        return Choice("signal", "as asked for")
    lack = lacking(SPEAKING, weights)
    cannot = f"the learned driver cannot run: {lack}"
    if options.driver == "learned":
        if lack:
            raise WeightsError(f"{cannot}.")
        return Choice("learned", "as asked for")
    if renderer != "neural":
        return Choice("signal", f"it was made for the {renderer} renderer")
    return Choice("signal", cannot) if lack else Choice("learned", "its weights are installed")


def lacking(networks: Sequence[str], weights: Weights) -> str | None:
    """What keeps these networks from running and the command that mends it, for the end of a sentence; else None."""
    if None in (find_spec("torch"), find_spec("safetensors")):
        return "PyTorch is not installed (pip install 'liveportrait-talker[neural]')"
    absent = missing([name for name in networks if name not in weights])
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
        f"{what} are not in {store.root()}, or not whole "
        f"(liveportrait-talker models download {' '.join(names)}; or liveportrait-talker models import DIR)"
    )


def without_effect(options: TalkOptions, renderer: str, driver: str) -> list[str]:
    """The flags that were given and of which neither `renderer` nor `driver` knows anything."""
    idle: tuple[str, ...] = ()
    if renderer != "neural":
        idle += NEURAL_ONLY if options.crop else (*NEURAL_ONLY, *CROP_WINDOW)
    if driver != "learned":
        idle += LEARNED_ONLY if options.head_style == "classic" else (*LEARNED_ONLY, SMOOTHED)
    if renderer != "neural" and driver != "learned" and options.head_pose != "audio":
        idle += ("device",)
    return options.given(idle)


class Equipment:
    """The renderers and drivers of one set of weights. Their networks are loaded once and stay from video to video.

    One set is in memory: another device, or for the renderer another precision, takes its place.

    Args:
        weights: network → checkpoint file, in place of those that are installed.

    Raises:
        WeightsError: there is no network of such a name.
    """

    def __init__(self, weights: Weights | None = None) -> None:
        self.weights: Weights = dict(weights or {})
        for name in self.weights:
            registry.holding(name)  # refuses a name that no network has
        self._liveportrait: dict[tuple[str, str, str], LivePortrait] = {}
        self._sadtalker: dict[tuple[str, Path | None], SadTalker] = {}

    def weights_for(self, options: TalkOptions) -> Weights:
        """Network → file, with what the options name."""
        return self.weights if options.mapping is None else {**self.weights, "mappingnet": options.mapping}

    def renderer(self, choice: Choice, options: TalkOptions) -> Renderer:
        """The renderer of a choice, its networks loaded: a bad file is found before any work.

        Raises:
            OptionError: the device is not here.
            WeightsError: a network's file is missing, or not as it should be.
        """
        if choice.name == "embedded":
            from ..render.embedded.renderer import EmbeddedRenderer

            return EmbeddedRenderer()
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
        return NeuralRenderer(
            self._liveportrait[key].load(),
            NeuralSettings(
                stitching=not options.no_stitching,
                normalize_lip=not options.no_normalize_lip,
                driving_multiplier=options.driving_multiplier,
                crop_scale=options.crop_scale,
                crop_vx=options.crop_vx,
                crop_vy=options.crop_vy,
                whole_frame=options.no_crop,
                batch_size=options.batch_size,
            ),
        )

    def driver(self, choice: Choice, options: TalkOptions) -> MouthDriver:
        """The driver of a choice, its networks loaded. Raises as `renderer` does."""
        if choice.name == "signal":
            from ..driving.signal.driver import SignalDriver

            return SignalDriver()
        from ..driving.sadtalker.driver import LearnedDriver

        return LearnedDriver(
            self.sadtalker(options).load(SPEAKING),
            neutral_mouth=options.neutral_mouth,
            window_rows=options.window_rows,
            smooth_variance=options.driving_smooth_observation_variance,
        )

    def sadtalker(self, options: TalkOptions) -> SadTalker:
        """The networks of learned lips and of the head made from the voice. Raises OptionError as `renderer` does."""
        from ..driving.sadtalker.networks import SadTalker

        key = (options.device, options.mapping)
        if key not in self._sadtalker:
            self._sadtalker = {key: SadTalker(weights=self.weights_for(options), device=options.device)}  # one set
        return self._sadtalker[key]
