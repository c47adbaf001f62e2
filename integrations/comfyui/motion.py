"""Nodes for the motion of a talking video: made from a voice, mixed, saved, loaded, and drawn by Talk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io, ui

from liveportrait_talker import PortableMotion, TalkOptions, examples

from .files import sound_file, source_file
from .run import engine, progress, work
from .sockets import CATEGORY, SOURCES, MotionType
from .talk import performance, talk_options
from .widgets import share, widget

_OUTPUT = " [output]"
"""How ComfyUI marks a name in its output folder."""


class Motion(io.ComfyNode):
    """A voice → the motion of a face that says it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TalkerMotion",
            display_name="Motion",
            category=CATEGORY,
            description="How head, eyes and mouth move with a voice, for any portrait: connect it to Talk.",
            inputs=[
                io.Audio.Input("voice"),
                widget(TalkOptions, "driver"),
                *performance(),
                widget(TalkOptions, "fps"),
                widget(TalkOptions, "seed", control_after_generate=True),
                io.MultiType.Input(
                    "source",
                    SOURCES,
                    optional=True,
                    tooltip="what Talk will draw, for the very motion that Talk makes by itself; the example portrait "
                    "where nothing is connected",
                ),
            ],
            outputs=[MotionType.Output(display_name="motion")],
        )

    @classmethod
    def execute(cls, voice: Any, source: Any = None, **values: Any) -> io.NodeOutput:
        """Plan the motion; nothing is drawn."""
        with work() as folder:
            options = talk_options(values)
            face = examples.PORTRAIT if source is None else source_file(source, folder, options.fps)
            sound = sound_file(voice, folder)
            return io.NodeOutput(engine("Talker").motion(face, sound, options, on_progress=progress()))


class MixMotion(io.ComfyNode):
    """Two motions → their weighted mean."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TalkerMixMotion",
            display_name="Mix motion",
            category=CATEGORY,
            description="A mean of two motions, as long as the first: 0 takes the first, 1 the second.",
            inputs=[
                MotionType.Input("motion_a"),
                MotionType.Input("motion_b"),
                share("head", "share of the second motion in the head and the breath"),
                share("eyes", "share of the second motion in blinks, gaze and brows"),
                share("mouth", "share of the second motion in the mouth"),
            ],
            outputs=[MotionType.Output(display_name="motion")],
        )

    @classmethod
    def execute(cls, motion_a: PortableMotion, motion_b: PortableMotion, **shares: float) -> io.NodeOutput:
        """Mix them."""
        return io.NodeOutput(motion_a.mixed(motion_b, **shares))


class SaveMotion(io.ComfyNode):
    """A motion → a file in ComfyUI's output folder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TalkerSaveMotion",
            display_name="Save motion",
            category=CATEGORY,
            description="Writes a motion to ComfyUI's output folder (.npz), for Load motion.",
            inputs=[MotionType.Input("motion"), io.String.Input("filename_prefix", default="motion/motion")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, motion: PortableMotion, filename_prefix: str) -> io.NodeOutput:
        """Write the file, and show its name on the node."""
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory()
        )
        path = Path(folder) / f"{name}_{counter:05}_.npz"
        with work():
            motion.save(path)
        return io.NodeOutput(ui=ui.PreviewText(f"{subfolder}/{path.name}".lstrip("/")))


class LoadMotion(io.ComfyNode):
    """A motion from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TalkerLoadMotion",
            display_name="Load motion",
            category=CATEGORY,
            description="A motion that Save motion wrote, from ComfyUI's input or output folder.",
            inputs=[io.Combo.Input("file", options=_files(), tooltip="an .npz in the input or output folder")],
            outputs=[MotionType.Output(display_name="motion")],
        )

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Read the file."""
        with work():
            return io.NodeOutput(PortableMotion.load(_path(file)))

    @classmethod
    def fingerprint_inputs(cls, file: str) -> int:
        """Return when the file was last written."""
        return _path(file).stat().st_mtime_ns


def _files() -> list[str]:
    """Return the names of motion files, as ComfyUI writes them."""
    found = []
    for folder, mark in ((folder_paths.get_input_directory(), ""), (folder_paths.get_output_directory(), _OUTPUT)):
        found += [f"{path.relative_to(folder).as_posix()}{mark}" for path in sorted(Path(folder).rglob("*.npz"))]
    return found


def _path(file: str) -> Path:
    return Path(folder_paths.get_annotated_filepath(file))
