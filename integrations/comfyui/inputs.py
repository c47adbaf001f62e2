"""Nodes without inputs: a portrait from ComfyUI's input folder, and the examples of the package."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths
import numpy as np
import torch
from comfy_api.latest import io, ui

from liveportrait_talker import MediaError, check_media, examples
from liveportrait_talker.media import read_waveform

from .files import read_picture, to_image
from .run import work
from .sockets import CATEGORY, Portrait, PortraitType

EXAMPLE = "example portrait"


class LoadPortrait(io.ComfyNode):
    """A picture of a person, by file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        names = [path.name for path in Path(folder_paths.get_input_directory()).iterdir() if path.is_file()]
        pictures = sorted(folder_paths.filter_files_content_types(names, ["image"]))
        return io.Schema(
            node_id="TalkerLoadPortrait",
            display_name="Load portrait",
            category=CATEGORY,
            description="A picture of a person: one face from the front, lips closed, works best. The portrait keeps "
            "the file's orientation, colours and transparency.",
            inputs=[
                io.Combo.Input(
                    "picture",
                    options=[EXAMPLE, *pictures],
                    default=EXAMPLE,
                    upload=io.UploadType.image,
                    image_folder=io.FolderType.input,
                    tooltip="a file of ComfyUI's input folder, or the example that the package brings",
                )
            ],
            outputs=[PortraitType.Output(display_name="portrait"), io.Image.Output(), io.Mask.Output()],
        )

    @classmethod
    def execute(cls, picture: str) -> io.NodeOutput:
        """Return the portrait, and its image and mask for other nodes."""
        with work():
            path = _path(picture)
            check_media(sources=path)  # in a child process: a hostile file must not stop ComfyUI
            pixels, opacity = read_picture(path)
        image, mask = to_image([pixels])
        if opacity is not None:
            mask = torch.from_numpy(opacity / np.float32(255))[None]
        # The page shows files of the input folder by itself.
        shown = ui.PreviewImage(image, cls=cls) if picture == EXAMPLE else None
        return io.NodeOutput(Portrait(path), image, mask, ui=shown)

    @classmethod
    def validate_inputs(cls, picture: str) -> bool | str:
        """Return whether there is such a file."""
        try:
            return _path(picture).is_file() or f"there is no picture {picture} in the input folder."
        except MediaError as error:
            return str(error)

    @classmethod
    def fingerprint_inputs(cls, picture: str) -> int:
        """Return when the file was last written."""
        return _path(picture).stat().st_mtime_ns


class ExampleVoice(io.ComfyNode):
    """The voice that the package brings, so that workflows run on a fresh install."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TalkerExampleVoice",
            display_name="Example voice",
            category=CATEGORY,
            description="A few seconds of speech that the package brings. Load your own with Load Audio.",
            outputs=[io.Audio.Output()],
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """Return the sound."""
        voice = read_waveform(examples.VOICE, sample_rate=24_000)  # its own
        waveform = torch.from_numpy(voice.samples.copy())[None, None]
        return io.NodeOutput({"waveform": waveform, "sample_rate": voice.sample_rate})


def _path(picture: str) -> Path:
    """Return the file of a name. Raises MediaError for one outside ComfyUI's input, output and temporary folders."""
    if picture == EXAMPLE:
        return examples.PORTRAIT
    path = Path(os.path.normpath(folder_paths.get_annotated_filepath(picture)))  # links may lead elsewhere, `..` not
    if not any(path.is_relative_to(folder) for folder in _folders()):
        raise MediaError(f"{picture} is not in ComfyUI's input folder.")
    return path


def _folders() -> tuple[str, str, str]:
    return folder_paths.get_input_directory(), folder_paths.get_output_directory(), folder_paths.get_temp_directory()
