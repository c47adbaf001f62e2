"""The node with the sliders of an expression."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io, ui

from liveportrait_talker import EditOptions
from liveportrait_talker.options.edit import EditSetup
from liveportrait_talker.options.sliders import ExpressionEdit, sliders
from liveportrait_talker.pipelines.edit import EditSession

from .files import read_picture, source_file, to_bytes, to_image
from .run import engine, progress, work
from .sockets import CATEGORY, Portrait, PortraitType, SlidersType
from .widgets import background, options_of, widget

_SLIDERS = [field.name for field in sliders(ExpressionEdit) if field.name != "sample_ratio"]
_WHILE_SPEAKING = {name: name for name in ("smile", "eyebrow", "wink", "aaa", "eee", "woo", "pupil_x", "pupil_y")}
_WHILE_SPEAKING["blink"] = "eye_opening"
"""Slider → option of a talking video; the head is moved by the speech."""
_SETUP = ["renderer", "face", "background"]
_last: dict[tuple[Any, EditSetup], EditSession] = {}
"""The picture that was edited last: only the first edit of a picture takes seconds."""


class Expression(io.ComfyNode):
    """A picture with another expression."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TalkerExpression",
            display_name="Expression",
            category=CATEGORY,
            description="Poses the face by sliders. With `Run (On Change)` the picture follows a slider at once; with "
            "all sliders at their defaults it stays as it is, bit for bit.",
            inputs=[
                io.MultiType.Input("picture", [PortraitType, io.Image], tooltip="a portrait, or pictures"),
                *(widget(ExpressionEdit, name, display_mode=io.NumberDisplay.slider) for name in _SLIDERS),
                widget(EditSetup, "renderer"),
                widget(EditSetup, "face"),
                background(EditSetup),
            ],
            outputs=[
                io.Image.Output(),
                io.Mask.Output(tooltip="1 where the person is, with the background `transparent`, else everywhere"),
                SlidersType.Output(display_name="sliders", tooltip="of eyes and mouth, for Talk, Speakers and Motion"),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, picture: Any, **values: Any) -> io.NodeOutput:
        """Return the picture with the expression, and show it on the node."""
        with work() as folder:
            setup = options_of(EditSetup, {name: values.pop(name) for name in _SETUP})
            edit = options_of(EditOptions, values)
            if edit.at_rest and setup.behind is None:
                image, mask = _unchanged(picture)
            else:
                pictures = [picture] if isinstance(picture, Portrait) else picture.split(1)
                image, mask = to_image([_open(each, setup, folder).draw(edit) for each in pictures])
        sliders = {option: getattr(edit, slider) for slider, option in _WHILE_SPEAKING.items()}
        return io.NodeOutput(image, mask, sliders, ui=ui.PreviewImage(image, cls=cls))


def _unchanged(picture: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an IMAGE as it is, or a portrait's."""
    if isinstance(picture, Portrait):
        return to_image([read_picture(picture.path)[0]])
    return picture, torch.ones(picture.shape[:3])


def _open(picture: Any, setup: EditSetup, folder: Path) -> EditSession:
    """Return the session of a portrait or an IMAGE (1, H, W, C)."""
    if isinstance(picture, Portrait):
        content: Any = (picture.path, picture.path.stat().st_mtime_ns)
    else:
        content = hashlib.sha256(to_bytes(picture[0]).tobytes()).digest()
    if (content, setup) not in _last:
        _last.clear()
        portrait = source_file(picture, folder)
        _last[content, setup] = engine("Editor").open(portrait, setup=setup, on_progress=progress())
    return _last[content, setup]
