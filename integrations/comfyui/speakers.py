"""Nodes for pictures and videos of several people: their numbers, and a voice for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from comfy_api.latest import io, ui

from liveportrait_talker import OptionError, SpeakerVoice, TalkOptions, find_faces
from liveportrait_talker.options.speakers import PLACES

from .files import read_picture, sound_file, source_file, to_image
from .run import progress, work
from .sockets import CATEGORY, SOURCES
from .talk import make_video, output, performance, results
from .widgets import widget

_VOICES, _NEEDED = range(1, 5), 2
_FACES = [*map(str, range(1, 9)), *PLACES]


class Speakers(io.ComfyNode):
    """A source with several faces and a voice for each → a dialogue."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TalkerSpeakers",
            display_name="Speakers",
            category=CATEGORY,
            description="Each voice moves its own face; who does not speak listens. Faces shows their numbers.",
            inputs=[
                io.MultiType.Input("source", SOURCES, tooltip="a picture or a video of several people"),
                *(io.Audio.Input(f"voice_{k}", optional=k > _NEEDED) for k in _VOICES),
                *(each for k in _VOICES for each in _widgets(k)),
                widget(TalkOptions, "renderer"),
                *performance(),
                *output(),
            ],
            outputs=results(),
        )

    @classmethod
    def execute(cls, source: Any, frames: bool, **values: Any) -> io.NodeOutput:
        """Make the video."""
        parts = ("voice", "face", "start")
        speakers = [[values.pop(f"{part}_{k}", None) for part in parts] for k in _VOICES]

        def write_voices(folder: Path) -> dict[str, SpeakerVoice]:
            voices: dict[str, SpeakerVoice] = {}
            for k, (voice, face, start) in enumerate(speakers, 1):
                if voice is None and k > _NEEDED:
                    continue
                if face in voices:
                    raise OptionError(f"face {face} has two voices: give each face one.")
                voices[face] = SpeakerVoice(sound_file(voice, folder, f"voice_{k}"), start)
            return voices

        return make_video(source, write_voices, frames, values)


class Faces(io.ComfyNode):
    """A source → its faces, numbered."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TalkerFaces",
            display_name="Faces",
            category=CATEGORY,
            description="Draws the number of each face into the picture, as Speakers counts them.",
            inputs=[io.MultiType.Input("source", SOURCES, tooltip="a picture or a video of several people")],
            outputs=[io.Image.Output(), io.Int.Output(display_name="count")],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, source: Any) -> io.NodeOutput:
        """Find the faces, and show them on the node."""
        with work() as folder:
            numbered = folder / "faces.png"
            count = len(find_faces(source_file(source, folder), numbered, on_progress=progress()))
            image, _ = to_image([read_picture(numbered)[0]])
        return io.NodeOutput(image, count, ui=ui.PreviewImage(image, cls=cls))


def _widgets(k: int) -> list[io.Input]:
    """Return the widgets of one voice."""
    return [
        io.Combo.Input(f"face_{k}", options=_FACES, default=str(k), tooltip=f"the face of voice {k}"),
        io.Float.Input(
            f"start_{k}", default=0.0, min=0.0, max=3600.0, step=0.01, tooltip=f"when voice {k} begins, seconds"
        ),
    ]
