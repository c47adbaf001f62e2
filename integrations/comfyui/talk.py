"""The node that makes a portrait talk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from comfy_api.latest import InputImpl, io

from liveportrait_talker import TalkOptions
from liveportrait_talker.arrays import Image
from liveportrait_talker.options.expression import EXPRESSIONS

from .files import result_file, sound_file, source_file, to_image
from .run import blocked, engine, progress, work
from .sockets import CATEGORY, SOURCES, MotionType, SlidersType
from .widgets import background, options_of, widget

NEUTRAL = "none"


class Talk(io.ComfyNode):
    """A source and a voice → a talking video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TalkerTalk",
            display_name="Talk",
            category=CATEGORY,
            description="The portrait says what the voice says. A video as the source keeps its own head motion.",
            inputs=[
                io.MultiType.Input("source", SOURCES, tooltip="a portrait, a picture, a video or its frames"),
                io.Audio.Input("voice"),
                widget(TalkOptions, "renderer"),
                widget(TalkOptions, "face"),
                widget(TalkOptions, "crop"),
                *performance(),
                background(TalkOptions),
                *output(),
                MotionType.Input("motion", optional=True, tooltip="drawn in place of one made for the voice"),
            ],
            outputs=results(),
        )

    @classmethod
    def execute(cls, source: Any, voice: Any, frames: bool, motion: Any = None, **values: Any) -> io.NodeOutput:
        """Make the video."""
        return make_video(source, lambda folder: sound_file(voice, folder), frames, values, motion=motion)


def performance() -> list[io.Input]:
    """Return the widgets and the socket of how a face moves and looks."""
    names = ("still", "head_motion", "blink", "gaze", "expression_scale")
    return [
        *(widget(TalkOptions, name) for name in names),
        io.Combo.Input(
            "expression", options=[NEUTRAL, *EXPRESSIONS], default=NEUTRAL, tooltip="how the face looks while it speaks"
        ),
        io.Float.Input(
            "expression_amount", default=1.0, min=0.0, max=1.0, step=0.01, tooltip="how much of that expression"
        ),
        widget(TalkOptions, "liveliness"),
        SlidersType.Input("sliders", optional=True, tooltip="from Expression: added, and held while the face speaks"),
    ]


def talk_options(values: dict[str, Any]) -> TalkOptions:
    """Return the options that the widgets of `performance` and others, and the sliders, say. Raises OptionError."""
    values = dict(values)
    name, amount, sliders = (values.pop(key, None) for key in ("expression", "expression_amount", "sliders"))
    values["expression"] = None if name == NEUTRAL else f"{name}:{amount:g}"
    return options_of(TalkOptions, values | (sliders or {}))


def output() -> list[io.Input]:
    """Return the widgets of the video and of the take."""
    return [
        widget(TalkOptions, "fps"),
        widget(TalkOptions, "quality"),
        widget(TalkOptions, "seed", control_after_generate=True),
        io.Boolean.Input(
            "frames",
            default=False,
            tooltip="also give the frames as IMAGE and MASK, in memory: 25 MB a frame at 1080p",
        ),
    ]


def results() -> list[io.Output]:
    """Return the outputs of `make_video`."""
    return [
        io.Video.Output(),
        io.Image.Output(tooltip="the frames, if `frames` is on"),
        io.Mask.Output(tooltip="1 where the person is, with the background `transparent`; if `frames` is on"),
    ]


def make_video(
    source: Any, write_voices: Callable[[Path], Any], frames: bool, values: dict[str, Any], **more: Any
) -> io.NodeOutput:
    """Make a talking video.

    Args:
        source: see `source_file`.
        write_voices: writes the sound to a folder, and returns what `Talker.save` takes as the voice.
        frames: whether IMAGE and MASK are wanted.
        values: of the widgets of the options.
        more: arguments of `Talker.save`.
    """
    images: list[Image] = []
    with work() as folder:
        options = talk_options(values)
        out = result_file(".webm" if options.is_transparent else ".mp4")
        engine("Talker").save(
            source_file(source, folder, options.fps),
            write_voices(folder),
            out,
            options,
            on_image=images.append if frames else None,
            on_progress=progress(),
            **more,
        )
    wanted = to_image(images) if frames else blocked("turn on frames on the node for IMAGE and MASK.", 2)
    return io.NodeOutput(InputImpl.VideoFromFile(str(out)), *wanted)
