"""Settings without effect on the current result: hidden on the page and left at their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import TalkerError
from ..options import animate, edit
from ..options.talk import CROP_WINDOW, HEAD_POSES, LEARNED_ONLY, NEURAL_ONLY, SMOOTHED, TalkOptions
from ..pipelines.engines import choose_driver, choose_renderer

TALK_CONTROLS = ("renderer", "driver", "head_pose", "still", "head_style", "blink", "ref_blink", "crop", "no_crop")
"""Options of `TalkOptions` on which the visibility of others depends."""
ANIMATE_CONTROLS = ("renderer", "relative_motion")
_CLIP_ONLY = ("fps", "encoder", "quality")


@dataclass(frozen=True)
class Engines:
    """Names of the renderer and the driver in use."""

    renderer: str
    driver: str


def resolve_engines(renderer: str, driver: str = "auto") -> Engines:
    """Resolve `auto` for this machine; a name whose engine cannot run is returned as it is."""
    with suppress(TalkerError):
        renderer = choose_renderer(TalkOptions(renderer=renderer), {}).name
    with suppress(TalkerError):
        driver = choose_driver(TalkOptions(driver=driver), renderer, {}).name
    return Engines(renderer, driver)


def head_poses(is_still: bool) -> list[str]:
    """Return the head poses that a picture or a video allows."""
    excluded = ("source",) if is_still else ("synthetic", "audio")
    return [pose for pose in HEAD_POSES if pose not in excluded]


def hidden_talk_options(controls: Mapping[str, Any], engines: Engines, *, is_still: bool) -> set[str]:
    """Return the options without effect, given the values of TALK_CONTROLS."""
    return (
        _hidden_head(controls, is_still)
        | _hidden_eyes(controls, is_still)
        | _hidden_networks(controls, engines)
        | _hidden_crop(controls, engines)
    )


def hidden_animate_options(controls: Mapping[str, Any], renderer: str) -> set[str]:
    """Return the options without effect, given the values of ANIMATE_CONTROLS."""
    hidden = set() if renderer == "neural" else {*animate.NEURAL_ONLY, "device"}
    return hidden | (set() if controls["relative_motion"] else {"normalize_lip"})


def hidden_sliders(sample: Any) -> set[str]:
    """Return the sliders of the Edit tab without effect: those for a copied expression if there is no sample."""
    return set() if sample else set(edit.COPYING)


def hidden_edit_setup(renderer: str, *, is_clip: bool) -> set[str]:
    """Return the fields of `EditSetup` without effect."""
    hidden = set() if renderer == "neural" else {*edit.NEURAL_ONLY, "device"}
    return hidden | (set() if is_clip else set(_CLIP_ONLY))


def _hidden_head(controls: Mapping[str, Any], is_still: bool) -> set[str]:
    pose = "still" if controls["still"] else controls["head_pose"] or ("synthetic" if is_still else "source")
    hidden: set[str] = set()
    if controls["still"]:
        hidden |= {"head_pose"}
    elif controls["head_pose"] is not None:
        hidden |= {"still"}
    if pose != "reference":
        hidden |= {"ref_head_pose"}
    if pose != "reference" and not controls["ref_blink"]:
        hidden |= {"ref_frames_from_zero"}
    if pose != "synthetic":
        hidden |= {"head_style"}
    if pose in ("still", "source"):
        hidden |= {"head_motion"}
    if pose != "audio":
        hidden |= {"pose_style"}
    if not is_still:
        hidden |= {"yaw", "pitch", "roll"}
    return hidden


def _hidden_eyes(controls: Mapping[str, Any], is_still: bool) -> set[str]:
    blinks = controls["blink"] is True or (controls["blink"] is None and is_still)
    hidden: set[str] = set()
    if not blinks or controls["ref_blink"]:
        hidden |= {"blink_rate"}
    if controls["blink"] is False:
        hidden |= {"ref_blink"}
    return hidden


def _hidden_networks(controls: Mapping[str, Any], engines: Engines) -> set[str]:
    hidden: set[str] = set()
    if engines.renderer != "neural":
        hidden |= set(NEURAL_ONLY)
    if engines.driver != "learned":
        hidden |= set(LEARNED_ONLY) | (set() if controls["head_style"] == "classic" else {SMOOTHED})
    if engines.renderer != "neural" and engines.driver != "learned" and controls["head_pose"] != "audio":
        hidden |= {"device"}
    return hidden


def _hidden_crop(controls: Mapping[str, Any], engines: Engines) -> set[str]:
    if controls["no_crop"]:
        return {"crop", *CROP_WINDOW}
    hidden = {"no_crop"} if controls["crop"] else set()
    return hidden | (set(CROP_WINDOW) if engines.renderer != "neural" and not controls["crop"] else set())
