"""The node that lets a face follow another."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import InputImpl, io

from liveportrait_talker import AnimateOptions

from .files import result_file, source_file
from .run import engine, progress, work
from .sockets import CATEGORY, SOURCES
from .widgets import background, options_of, widget

_FOLLOW = ["relative_motion", "animation_region", "driving_multiplier", "normalize_lip"]
_RETARGET = ["eye_retargeting", "lip_retargeting"]


class Animate(io.ComfyNode):
    """A source and a driving video → the source with the motion of the driving face."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TalkerAnimate",
            display_name="Animate",
            category=CATEGORY,
            description="The source moves as the face in the driving video, and has its sound.",
            inputs=[
                io.MultiType.Input("source", SOURCES, tooltip="a portrait, a picture, a video or its frames"),
                io.MultiType.Input("driving", [io.Video, io.Image], tooltip="a video of a face, or its frames"),
                *(widget(AnimateOptions, name) for name in ["renderer", "face", "crop", *_FOLLOW, *_RETARGET]),
                background(AnimateOptions),
                widget(AnimateOptions, "fps"),
                widget(AnimateOptions, "quality"),
            ],
            outputs=[io.Video.Output()],
        )

    @classmethod
    def execute(cls, source: Any, driving: Any, **values: Any) -> io.NodeOutput:
        """Make the video."""
        with work() as folder:
            options = options_of(AnimateOptions, values)
            out = result_file(".webm" if options.is_transparent else ".mp4")
            engine("Animator").save(
                source_file(source, folder / "source", options.fps),
                source_file(driving, folder / "driving"),
                out,
                options,
                on_progress=progress(),
            )
        return io.NodeOutput(InputImpl.VideoFromFile(str(out)))
