"""Which settings of a talking video apply: the others are hidden and stay at their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import TalkerError
from ..options.applicability import conditions_from, without_effect
from ..options.talk import CROP_WINDOW, HEAD_POSES, TalkOptions
from ..pipelines.engines import Engines

DECIDING = ("renderer", "driver", "head_pose", "still", "head_style", "blink", "ref_blink", "crop", "crop_source")
"""The settings that decide about others."""


@dataclass(frozen=True)
class Crew:
    """Who would draw and who would move the mouth, by name."""

    renderer: str
    driver: str


def crew(renderer: str, driver: str) -> Crew:
    """What a choice comes to on this machine; what was asked for by name where it cannot run."""
    try:
        drawing = Engines().choose_renderer(TalkOptions(renderer=renderer)).name
    except TalkerError:
        drawing = renderer
    try:
        speaking = Engines().choose_driver(TalkOptions(driver=driver), drawing).name
    except TalkerError:
        speaking = driver
    return Crew(drawing, speaking)


def head_poses(is_still: bool) -> list[str]:
    """The head poses that make sense for a picture or a video."""
    without = ("source",) if is_still else ("synthetic", "audio")
    return [pose for pose in HEAD_POSES if pose not in without]


def irrelevant(given: Mapping[str, Any], *, crew: Crew, is_still: bool) -> set[str]:
    """The names of the settings that change nothing, given the deciding ones (as options, not as widgets)."""
    return _of_head(given, is_still) | _of_eyes(given, is_still) | _of_engines(given, crew)


def _of_head(given: Mapping[str, Any], is_still: bool) -> set[str]:
    pose = "still" if given["still"] else given["head_pose"] or ("synthetic" if is_still else "source")
    idle: set[str] = set()
    if given["still"]:
        idle |= {"head_pose"}
    elif given["head_pose"] is not None:
        idle |= {"still"}
    if pose != "reference":
        idle |= {"ref_head_pose"}
    if pose != "reference" and not given["ref_blink"]:
        idle |= {"ref_frames_from_zero"}
    if pose != "synthetic":
        idle |= {"head_style"}
    if pose in ("still", "source"):
        idle |= {"head_motion"}
    if pose != "audio":
        idle |= {"pose_style"}
    if not is_still:
        idle |= {"yaw", "pitch", "roll"}
    return idle


def _of_eyes(given: Mapping[str, Any], is_still: bool) -> set[str]:
    blinks = given["blink"] is True or (given["blink"] is None and is_still)
    idle: set[str] = set()
    if not blinks or given["ref_blink"]:
        idle |= {"blink_rate"}
    if given["blink"] is False:
        idle |= {"ref_blink"}
    return idle


def _of_engines(given: Mapping[str, Any], crew: Crew) -> set[str]:
    idle = without_effect(TalkOptions, conditions_from(given, crew.renderer, crew.driver))
    if not given["crop_source"]:
        idle |= {"crop", *CROP_WINDOW}
    return idle | ({"crop_source"} if given["crop"] else set())
