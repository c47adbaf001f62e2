"""ComfyUI's documented contract for nodes (docs.comfy.org, V3 schema): the modules that a node imports, with real tensors.

Only what our nodes and workflows use. Signatures are as narrow as ComfyUI's: an argument that it does not know is refused.
"""

from __future__ import annotations

import enum
import sys
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import av
import torch
from PIL import Image


class ExecutionBlocker:
    def __init__(self, message: str | None) -> None:
        self.message = message


class InterruptProcessingException(Exception):
    pass


class Input:
    io_type = ""
    is_widget = False

    def __init__(self, id, *, display_name=None, optional=False, tooltip=None):
        self.id, self.optional, self.tooltip = id, optional, tooltip

    @property
    def types(self) -> set[str]:
        return {self.io_type}

    def check(self, value: Any) -> Any:
        raise AssertionError(f"{self.id} takes a link, not {value!r}")


class Output:
    io_type = ""

    def __init__(self, id=None, *, display_name=None, tooltip=None, is_output_list=False):
        self.display_name = display_name or self.io_type


def Custom(io_type: str, input_class: type = Input) -> Any:
    kinds = {"io_type": io_type}
    return type(
        io_type, (), kinds | {"Input": type("Input", (input_class,), kinds), "Output": type("Output", (Output,), kinds)}
    )


class _Widget(Input):
    is_widget = True

    def __init__(self, id, *, default=None, display_name=None, optional=False, tooltip=None):
        super().__init__(id, optional=optional, tooltip=tooltip)
        self.default = default


class _Number(_Widget):
    def __init__(self, id, *, min=None, max=None, step=None, display_mode=None, **more):
        super().__init__(id, **more)
        assert min is None or min <= self.default <= max, f"{id}: the default {self.default} is not in {min} … {max}"
        self.min, self.max = min, max

    def check(self, value):
        value = self.number(value)
        assert self.min is None or self.min <= value <= self.max, (
            f"{self.id}: {value} is not in {self.min} … {self.max}"
        )
        return value


class _Int(_Number):
    number = int

    def __init__(self, id, *, control_after_generate=None, **more):
        super().__init__(id, **more)
        self.control_after_generate = control_after_generate


class _Float(_Number):
    number = float


class _Boolean(_Widget):
    def check(self, value):
        return bool(value)


class _String(_Widget):
    def check(self, value):
        return str(value)


class UploadType(str, enum.Enum):
    image = "image_upload"


class _Combo(_Widget):
    def __init__(self, id, options, *, upload=None, image_folder=None, **more):
        super().__init__(id, **more)
        self.options, self.upload = options, upload
        self.default = options[0] if self.default is None and options else self.default

    def check(self, value):
        assert value in self.options, f"{self.id}: {value} is not one of {self.options}"
        return value


class _MultiType:
    class Input(Input):
        def __init__(self, id, types, **more):
            super().__init__(id, **more)
            self._types = {each.io_type for each in types}

        @property
        def types(self):
            return self._types


class Schema:
    def __init__(self, node_id, display_name, category="", inputs=(), outputs=(), description="", is_output_node=False):
        self.node_id, self.display_name, self.category, self.description = node_id, display_name, category, description
        self.inputs, self.outputs, self.is_output_node = list(inputs), list(outputs), is_output_node
        ids = [each.id for each in self.inputs]
        assert len(set(ids)) == len(ids), f"{node_id}: an input's id occurs twice"


class NodeOutput:
    def __init__(self, *args, ui=None):
        self.args, self.ui = args, ui


class ComfyNode(ABC):
    @classmethod
    @abstractmethod
    def define_schema(cls): ...

    @classmethod
    @abstractmethod
    def execute(cls, **values): ...


class ComfyExtension(ABC):
    @abstractmethod
    async def get_node_list(self): ...


class VideoInput(ABC):  # noqa: B024 (ComfyUI's has methods that we do not call)
    pass


class VideoFromFile(VideoInput):
    def __init__(self, file: str) -> None:
        assert isinstance(file, str), "a path is text"
        self._file = file

    def get_stream_source(self):
        return self._file

    def get_dimensions(self):
        with av.open(self._file) as container:
            return container.streams.video[0].width, container.streams.video[0].height

    def save_to(self, path, format="auto", codec="auto", metadata=None):
        with av.open(self._file) as source, av.open(path, "w") as target:
            copies = {stream: target.add_stream_from_template(stream, opaque=True) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = copies[packet.stream]
                    target.mux(packet)


class VideoFromComponents(VideoInput):
    def __init__(self, components) -> None:
        self._components = components

    def get_stream_source(self):
        raise AssertionError("it would encode the video once more")

    def get_dimensions(self):
        return tuple(self._components.images.shape[2:0:-1])

    def save_to(self, path, format="auto", codec="auto", metadata=None):
        images, rate = self._components.images, Fraction(self._components.frame_rate)
        with av.open(path, "w") as container:
            stream = container.add_stream("h264", rate=rate)
            stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], "yuv420p"
            for image in images:
                frame = av.VideoFrame.from_ndarray((image * 255).clamp(0, 255).byte().numpy(), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


class ProgressBar:
    steps: ClassVar[list[tuple[int, int]]] = []

    def __init__(self, total, node_id=None):
        self.total = total

    def update_absolute(self, value, total=None, preview=None):
        self.total = self.total if total is None else total
        ProgressBar.steps.append((value, self.total))


def install(base: Path) -> SimpleNamespace:
    """Put the modules into `sys.modules`, with the folders of a ComfyUI in `base`, and return those that tests change."""
    folders = {name: base / name for name in ("input", "output", "temp", "models")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    model_folders: dict[str, list[str]] = {}
    state = SimpleNamespace(interrupted=False)

    def throw_exception_if_processing_interrupted():
        if state.interrupted:
            state.interrupted = False
            raise InterruptProcessingException

    def get_annotated_filepath(name):
        for mark in ("input", "output", "temp"):
            if name.endswith(f"[{mark}]"):
                return str(folders[mark] / name.removesuffix(f"[{mark}]").rstrip())
        return str(folders["input"] / name)

    def get_save_image_path(prefix, output_dir, image_width=0, image_height=0):
        folder, name = Path(output_dir, prefix).parent, Path(prefix).name
        folder.mkdir(parents=True, exist_ok=True)
        counter = len(list(folder.glob(f"{name}_*"))) + 1
        return str(folder), name, counter, str(Path(prefix).parent), prefix

    def filter_files_content_types(names, kinds):
        assert kinds == ["image"]
        return [name for name in names if Path(name).suffix in (".png", ".jpg", ".webp")]

    def preview_image(image, animated=False, cls=None):
        assert image.ndim == 4 and image.dtype == torch.float32
        for one in image:
            Image.fromarray((one * 255).clamp(0, 255).byte().numpy()).save(folders["temp"] / "preview.png")
        return {"images": [{"filename": "preview.png", "subfolder": "", "type": "temp"}]}

    io = SimpleNamespace(
        Custom=Custom,
        Input=Input,
        Output=Output,
        Schema=Schema,
        NodeOutput=NodeOutput,
        ComfyNode=ComfyNode,
        UploadType=UploadType,
        FolderType=SimpleNamespace(input="input"),
        NumberDisplay=SimpleNamespace(slider="slider", number="number"),
        MultiType=_MultiType,
        Int=Custom("INT", _Int),
        Float=Custom("FLOAT", _Float),
        Boolean=Custom("BOOLEAN", _Boolean),
        String=Custom("STRING", _String),
        Combo=Custom("COMBO", _Combo),
        Image=Custom("IMAGE"),
        Mask=Custom("MASK"),
        Audio=Custom("AUDIO"),
        Video=Custom("VIDEO"),
    )
    modules = {
        "comfy": {},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy.model_management": {
            "throw_exception_if_processing_interrupted": throw_exception_if_processing_interrupted,
            "InterruptProcessingException": InterruptProcessingException,
        },
        "comfy_execution": {},
        "comfy_execution.graph_utils": {"ExecutionBlocker": ExecutionBlocker},
        "comfy_api": {},
        "comfy_api.latest": {
            "ComfyExtension": ComfyExtension,
            "Input": SimpleNamespace(Video=VideoInput),
            "InputImpl": SimpleNamespace(VideoFromFile=VideoFromFile, VideoFromComponents=VideoFromComponents),
            "Types": SimpleNamespace(VideoComponents=SimpleNamespace),
            "io": io,
            "ui": SimpleNamespace(PreviewImage=preview_image, PreviewText=lambda value: {"text": [value]}),
        },
        "folder_paths": {
            "models_dir": str(folders["models"]),
            "get_input_directory": lambda: str(folders["input"]),
            "get_output_directory": lambda: str(folders["output"]),
            "get_temp_directory": lambda: str(folders["temp"]),
            "get_annotated_filepath": get_annotated_filepath,
            "get_save_image_path": get_save_image_path,
            "filter_files_content_types": filter_files_content_types,
            "add_model_folder_path": lambda name, path: model_folders.setdefault(name, []).append(path),
            "get_folder_paths": model_folders.__getitem__,
        },
    }
    for name, content in modules.items():
        module = sys.modules[name] = ModuleType(name)
        vars(module).update(content)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
    return state


def check_value(io_type: str, value: Any, place: str) -> None:
    """Raise AssertionError where a value is not what its type promises."""
    if isinstance(value, ExecutionBlocker):
        assert value.message and "\n" not in value.message
        return
    if io_type in ("IMAGE", "MASK"):
        shape = (4,) if io_type == "IMAGE" else (3,)
        assert isinstance(value, torch.Tensor) and (value.ndim,) == shape and value.dtype == torch.float32, place
        assert io_type == "MASK" or value.shape[3] == 3, place
        assert len(value) and float(value.min()) >= 0 and float(value.max()) <= 1, place
    elif io_type == "AUDIO":
        assert value["waveform"].ndim == 3 and value["waveform"].dtype == torch.float32, place
        assert isinstance(value["sample_rate"], int), place
    elif io_type == "VIDEO":
        assert isinstance(value, VideoInput), place


def core_nodes() -> dict[str, type]:
    """Return those of ComfyUI's own nodes that the workflows use, by name."""
    io = sys.modules["comfy_api.latest"].io
    types = {"IMAGE": io.Image, "MASK": io.Mask, "AUDIO": io.Audio, "VIDEO": io.Video}
    widgets = {int: io.Int, float: io.Float, str: io.String, bool: io.Boolean}

    def node(name: str, returns: str | None, **inputs: Any) -> Any:
        """Decorate a function as a node. Inputs are names of types, or defaults of widgets."""

        def decorate(function):
            def schema(cls):
                made = [
                    types[given].Input(key) if given in types else widgets[type(given)].Input(key, default=given)
                    for key, given in inputs.items()
                ]
                outputs = [] if returns is None else [types[returns].Output()]
                return Schema(name, name, inputs=made, outputs=outputs, is_output_node=returns is None)

            methods = {"define_schema": classmethod(schema), "execute": staticmethod(function)}
            found[name] = type(name, (ComfyNode,), methods)
            return function

        return decorate

    found: dict[str, type] = {}
    folder_paths = sys.modules["folder_paths"]

    @node("SaveVideo", None, video="VIDEO", filename_prefix="video/ComfyUI", format="auto", codec="auto")
    def save_video(video, filename_prefix, format, codec):
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory(), *video.get_dimensions()
        )
        video.save_to(f"{folder}/{name}_{counter:05}_.mp4", format=format, codec=codec)
        saved = {"filename": f"{name}_{counter:05}_.mp4", "subfolder": subfolder, "type": "output"}
        return NodeOutput(ui={"images": [saved]})

    @node("SaveImage", None, images="IMAGE", filename_prefix="ComfyUI")
    def save_image(images, filename_prefix):
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
            filename_prefix, folder_paths.get_output_directory()
        )
        Image.fromarray((images[0] * 255).byte().numpy()).save(f"{folder}/{name}_{counter:05}_.png")
        saved = {"filename": f"{name}_{counter:05}_.png", "subfolder": subfolder, "type": "output"}
        return NodeOutput(ui={"images": [saved]})

    @node("EmptyImage", "IMAGE", width=512, height=512, batch_size=1, color=0)
    def empty_image(width, height, batch_size, color):
        pixel = torch.tensor([color >> 16 & 255, color >> 8 & 255, color & 255]) / 255
        return NodeOutput(pixel.expand(batch_size, height, width, 3).clone())

    @node("InvertMask", "MASK", mask="MASK")
    def invert_mask(mask):
        return NodeOutput(1 - mask)

    @node(
        "ImageCompositeMasked", "IMAGE", destination="IMAGE", source="IMAGE", x=0, y=0, resize_source=False, mask="MASK"
    )
    def composite(destination, source, x, y, resize_source, mask):
        assert (x, y, resize_source) == (0, 0, False) and source.shape[1:] == destination.shape[1:]
        return NodeOutput(mask[..., None] * source + (1 - mask[..., None]) * destination)

    @node("CreateVideo", "VIDEO", images="IMAGE", fps=30.0, audio="AUDIO")
    def create_video(images, fps, audio):
        return NodeOutput(VideoFromComponents(SimpleNamespace(images=images, audio=audio, frame_rate=Fraction(fps))))

    @node(
        "ImageStitch",
        "IMAGE",
        image1="IMAGE",
        direction="right",
        match_image_size=True,
        spacing_width=0,
        spacing_color="white",
        image2="IMAGE",
    )
    def stitch(image1, direction, match_image_size, spacing_width, spacing_color, image2):
        assert (direction, spacing_width) == ("right", 0)
        return NodeOutput(torch.cat([image1, image2], dim=2))

    @node("TrimAudioDuration", "AUDIO", audio="AUDIO", start_index=0.0, duration=60.0)
    def trim(audio, start_index, duration):
        waveform, rate = audio["waveform"], audio["sample_rate"]
        length = waveform.shape[-1]
        start = min(max(0, round(start_index * rate) + (length if start_index < 0 else 0)), length - 1)
        cut = waveform[..., start : start + round(duration * rate)]
        return NodeOutput({"waveform": cut, "sample_rate": rate})

    return found
