"""Every choice about an edited face: the expression editor's sliders, and how a portrait is made ready for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError
from ..system.devices import COMPILE, DEVICES, PRECISIONS
from .fields import check_ranges, given, option
from .sliders import ExpressionEdit, sliders
from .talk import ENCODERS, RENDERERS

NEURAL_ONLY = ("stitching", "precision", "compile")
COPYING = ("sample_ratio", "sample_parts")


@dataclass(frozen=True)
class EditOptions(ExpressionEdit):
    """One expression: the sliders (spec liveportrait.md §15.2), and a picture whose expression is copied.

    Raises OptionError for a value out of its range.
    """

    sample: Path | None = option(None, "picture whose face is copied, as far as --sample-ratio says")

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.sample, str):
            object.__setattr__(self, "sample", Path(self.sample))
        if self.sample is None and (idle := given(self, COPYING)):
            raise OptionError(f"{idle[0]} is about a face that is copied: add --sample PICTURE.")

    @property
    def at_rest(self) -> bool:
        """Whether nothing is asked for: the picture stays as it is."""
        moved = (s.name for s in sliders(type(self)) if s.name not in COPYING and getattr(self, s.name) != s.default)
        return self.sample is None and not any(moved)


@dataclass(frozen=True)
class EditSetup:
    """How a portrait is made ready to be edited, and written. Raises OptionError for a value that makes no sense."""

    renderer: str = option(
        "auto",
        "what draws the face: neural (LivePortrait's networks), embedded (a face mesh, nothing to download) or auto "
        "(neural where its weights are installed)",
        choices=RENDERERS,
        group="who draws",
    )
    stitching: bool = option(True, "neural renderer: let neck and shoulders move along")
    device: str = option("auto", "where the networks run", choices=DEVICES)
    precision: str = option(
        "auto",
        "number format of the neural renderer; auto is fp16 on CUDA, bf16 on a processor that has it, fp32 elsewhere",
        choices=PRECISIONS,
    )
    compile: str = option(
        "auto",
        "neural renderer: torch.compile for the networks on an NVIDIA GPU, half a minute once: on, off, or auto "
        "(where Triton is installed)",
        choices=COMPILE,
    )
    crop: bool = option(False, "make a 512 px picture of head and shoulders instead of the full one", group="picture")
    face: int | None = option(None, "which face, 1 = the largest (the default)", low=1, high=20)
    max_size: int = option(2560, "longest side; a larger picture is scaled down", low=64, high=8192, unit="px")
    max_megapixels: float = option(120.0, "largest picture that is opened at all", low=0.1, high=170, unit="Mpx")
    fps: float = option(25.0, "frame rate of a clip made by --keyframes", low=1, high=120, unit="frames/s")
    encoder: str = option("x264", "what encodes a clip: x264 or nvenc (H.264 on an NVIDIA GPU)", choices=ENCODERS)
    quality: int = option(14, "its H.264 quality (CRF), smaller is better and larger", low=0, high=51)

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.renderer == "embedded" and (idle := given(self, NEURAL_ONLY)):
            raise OptionError(f"{idle[0]} is about the neural renderer: leave it out with --renderer embedded.")
