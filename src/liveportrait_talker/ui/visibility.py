"""Settings without effect on the current result: hidden on the page and left at their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import TalkerError
from ..options.animate import AnimateOptions
from ..options.applicability import conditions_from, without_effect
from ..options.edit import COPYING, EditSetup
from ..options.talk import CROP_WINDOW, HEAD_POSES, TalkOptions
from ..pipelines.engines import Engines

TALK_CONTROLS = ("renderer", "driver", "head_pose", "still", "head_style", "blink", "ref_blink", "crop", "crop_to_face")
"""Options of `TalkOptions` on which the visibility of others depends."""
ANIMATE_CONTROLS = ("renderer", "relative_motion")
_CLIP_ONLY = ("fps", "max_seconds", "encoder", "quality")


@dataclass(frozen=True)
class EngineNames:
    """Names of the renderer and the driver in use."""

    renderer: str
    driver: str


def resolve_engines(renderer: str, driver: str = "auto") -> EngineNames:
    """Resolve `auto` for this machine; a name whose engine cannot run is returned as it is."""
    with suppress(TalkerError):
        renderer = Engines().choose_renderer(TalkOptions(renderer=renderer)).name
    with suppress(TalkerError):
        driver = Engines().choose_driver(TalkOptions(driver=driver), renderer).name
    return EngineNames(renderer, driver)


def head_poses(is_still: bool) -> list[str]:
    """Return the head poses that a picture or a video allows."""
    excluded = ("source",) if is_still else ("synthetic", "audio")
    return [pose for pose in HEAD_POSES if pose not in excluded]


def hidden_talk_options(controls: Mapping[str, Any], engines: EngineNames, *, is_still: bool) -> set[str]:
    """Return the options without effect, given the values of TALK_CONTROLS."""
    still, crop, crop_to_face, ref_blink = (controls[name] for name in ("still", "crop", "crop_to_face", "ref_blink"))
    pose = "still" if still else controls["head_pose"] or ("synthetic" if is_still else "source")
    blinks = controls["blink"] is True or (controls["blink"] is None and is_still)
    ruled_out = {
        "head_pose": still,
        "still": not still and controls["head_pose"] is not None,
        "ref_head_pose": pose != "reference",
        "ref_frames_from_zero": pose != "reference" and not ref_blink,
        "head_style": pose != "synthetic",
        "head_motion": pose in ("still", "source"),
        "pose_style": pose != "audio",
        **dict.fromkeys(("yaw", "pitch", "roll"), not is_still),
        "breath": not is_still,
        "liveliness": not is_still,
        "blink_rate": not blinks or ref_blink,
        "ref_blink": controls["blink"] is False,
        "crop": not crop_to_face,
        "crop_to_face": crop and crop_to_face,
        **dict.fromkeys(CROP_WINDOW, not crop_to_face),
    }
    hidden = {name for name, is_hidden in ruled_out.items() if is_hidden}
    return hidden | without_effect(TalkOptions, conditions_from(controls, engines.renderer, engines.driver))


def hidden_animate_options(controls: Mapping[str, Any], renderer: str) -> set[str]:
    """Return the options without effect, given the values of ANIMATE_CONTROLS."""
    hidden = without_effect(AnimateOptions, conditions_from({}, renderer))
    return hidden | (set() if controls["relative_motion"] else {"normalize_lip"})


def hidden_sliders(sample: Any) -> set[str]:
    """Return the sliders of the Edit tab without effect: those for a copied expression if there is no sample."""
    return set() if sample else set(COPYING)


def hidden_edit_setup(renderer: str, *, is_clip: bool) -> set[str]:
    """Return the fields of `EditSetup` without effect."""
    return without_effect(EditSetup, conditions_from({}, renderer)) | (set() if is_clip else set(_CLIP_ONLY))
