"""Every choice about a face that follows another: the API, the command line and the page are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OptionError
from ..system.devices import COMPILE, DEVICES, PRECISIONS
from .fields import check_ranges, given, option
from .talk import ENCODERS, RENDERERS

REGIONS = ("all", "exp", "pose", "lip", "eyes")
DRIVING_OPTIONS = ("expression-friendly", "pose-friendly")
NEURAL_ONLY = (
    "stitching",
    "source_video_eye_retargeting",
    "driving_smooth_observation_variance",
    "crop_driving",
    "driving_option",
    "precision",
    "compile",
    "batch_size",
)


@dataclass(frozen=True)
class AnimateOptions:
    """How a face follows another. Checked when made: raises OptionError for a value or a pair that makes no sense."""

    renderer: str = option(
        "auto",
        "what draws the face: neural (LivePortrait's networks), embedded (a face mesh, nothing to download) or auto "
        "(neural where its weights are installed)",
        choices=RENDERERS,
        group="what is followed",
    )
    relative_motion: bool = option(
        True,
        "take on the driving face's very pose and look, instead of moving from one's own: the head as the driving one "
        "from its first frame on, mouth and eyes as it departs from its rest",
        flag="--absolute-motion",
    )
    animation_region: str = option(
        "all", "what is driven: all, exp (the expression), pose, lip or eyes", choices=REGIONS
    )
    driving_multiplier: float = option(1.0, "how far the motion goes, 1 = as driven", low=0, high=2)
    normalize_lip: bool = option(False, "shut the parted lips of a picture first")
    eye_retargeting: bool = option(False, "open the eyes as far as the driving face's, whatever their shape")
    lip_retargeting: bool = option(False, "open the lips as far as the driving face's, whatever their shape")
    crop_driving: bool = option(True, "neural renderer: take the driving video as it is, cut to its face already")
    stitching: bool = option(True, "neural renderer: let neck and shoulders move along", group="networks")
    source_video_eye_retargeting: bool = option(
        False, "neural renderer: hold the eyes of a source video open as in its first frame"
    )
    driving_smooth_observation_variance: float = option(
        3e-7, "neural renderer: how much the motion of a source video is smoothed over time", low=1e-12, high=1
    )
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
    batch_size: int | None = option(
        None, "frames the neural renderer draws at once; what suits the device", low=1, high=64
    )
    driving_option: str = option(
        "expression-friendly",
        "neural renderer: expression-friendly or pose-friendly, which hardly differ",
        choices=DRIVING_OPTIONS,
    )
    crop: bool = option(False, "make a 512 px video of head and shoulders instead of the full picture", group="picture")
    face: int | None = option(None, "which face of the portrait, 1 = the largest (the default)", low=1, high=20)
    fps: float | None = option(
        None,
        "frame rate; the source video's own, for a picture the driving video's",
        low=1,
        high=120,
        unit="frames/s",
        group="output",
    )
    encoder: str = option("x264", "what encodes the video: x264 or nvenc (H.264 on an NVIDIA GPU)", choices=ENCODERS)
    quality: int = option(14, "H.264 quality (CRF), smaller is better and larger", low=0, high=51)
    max_size: int = option(
        2560, "longest side of the video; a larger picture is scaled down", low=64, high=8192, unit="px"
    )
    max_megapixels: float = option(120.0, "largest picture that is opened at all", low=0.1, high=170, unit="Mpx")
    max_seconds: float = option(3600.0, "longest video that is accepted", low=0.2, high=86400, unit="s")

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.renderer == "embedded" and (idle := given(self, NEURAL_ONLY)):
            raise OptionError(f"{idle[0]} is about the neural renderer: leave it out with --renderer embedded.")
        if not self.relative_motion and self.normalize_lip:
            raise OptionError("--normalize-lip and --absolute-motion contradict each other: give one of them.")
