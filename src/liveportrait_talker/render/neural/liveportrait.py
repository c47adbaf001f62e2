"""LivePortrait's seven networks on one device: pictures → motion and features; points → pictures.

The heavy two (W, G) run in the chosen precision, as their fast twins. What is small or runs once a source (F, M and the
three MLPs) stays in float32, so that no setting touches a key point.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...arrays import Floats, Image
from ...errors import OptionError, WeightsError
from ...system.devices import keep_freed_memory, torch_device, torch_dtype
from ...weights.importing import load_network
from . import nets
from .compiling import compile_regions, will_compile
from .fast import fast_twin
from .keypoints import FaceMotion
from .nets import stitching

log = logging.getLogger(__name__)

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "appearance_feature_extractor": nets.AppearanceFeatureExtractor,
    "motion_extractor": nets.MotionExtractor,
    "warping_module": nets.WarpingNetwork,
    "spade_generator": nets.SpadeGenerator,
    "stitching": stitching.stitching,
    "retarget_eye": stitching.retarget_eye,
    "retarget_lip": stitching.retarget_lip,
}
HEAVY = ("warping_module", "spade_generator")
_PRECISION_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
_BLACK = 2 / 255  # a whole picture below this is no picture


class LivePortrait:
    """The networks of one set of weights; each is loaded when it is first needed.

    Args:
        weights: network → checkpoint file, in place of those that are installed.
        device: one of `devices.DEVICES`.
        precision: one of `devices.PRECISIONS`, of W and G.
        compile: one of `devices.COMPILE`, of the fast twins; `compile_reason` says what `auto` came to.
        fast: draw with the fast twins of W and G; False takes the readable definitions, for comparison.

    Raises:
        OptionError: the device is not here.
        WeightsError: torch is not installed; or later, a network's weights are not.
    """

    def __init__(
        self,
        *,
        weights: Mapping[str, Path | str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        compile: str = "auto",
        fast: bool = True,
    ) -> None:
        self.device = torch_device(device)
        self.dtype = torch_dtype(precision, self.device)
        self.fast = fast
        self.compiles, self.compile_reason = will_compile(compile if fast else "off", self.device)
        self._weights = dict(weights or {})
        self._networks: dict[str, nn.Module] = {}
        self._most = 0  # frames that were drawn at once

    def __repr__(self) -> str:
        return f"LivePortrait({self.device.type}, {self.precision})"

    @property
    def precision(self) -> str:
        """The format that W and G run in: fp32, bf16 or fp16."""
        return _PRECISION_NAMES[self.dtype]

    def network(self, name: str) -> nn.Module:
        """One of the seven, on the device, float32 but for W and G."""
        if name not in self._networks:
            net = load_network(name, BUILDERS[name], file=self._weights.get(name))
            if self.fast and isinstance(net, (nets.WarpingNetwork, nets.SpadeGenerator)):
                net = twin = fast_twin(net, self.dtype, self.device)
                if self.compiles:
                    compile_regions(twin)
            elif name in HEAVY:
                net = net.to(self.dtype)
            self._networks[name] = net.to(self.device)
        return self._networks[name]

    def load(self) -> LivePortrait:
        """Load all that are not loaded yet, so that a file that is missing or wrong is found before any work."""
        for name in BUILDERS:
            self.network(name)
        return self

    def motion(self, faces: Sequence[Image]) -> FaceMotion:
        """What M sees in faces (256, 256, 3), as `FaceMotion` of N."""
        with torch.inference_mode():
            return FaceMotion.from_heads(self.network("motion_extractor")(self._batch(faces)))

    def features(self, faces: Sequence[Image]) -> Tensor:
        """What F makes of faces (256, 256, 3): volumes (N, 32, 16, 64, 64) float32."""
        with torch.inference_mode():
            volume: Tensor = self.network("appearance_feature_extractor")(self._batch(faces))
            return volume

    def drawn(self, features: Tensor, source: Floats, driving: Floats) -> Image:
        """Faces (N, 512, 512, 3) uint8 RGB from volumes (N or 1, …) and points (N or 1, 21, 3), (N, 21, 3).

        Values are cut to 0…1, times 255, and truncated, as LivePortrait's are. Where half precision gives no
        picture (NaN, or all black) the networks are loaded anew in float32, which is said, and stay so.

        Raises:
            OptionError: the device's memory does not hold so many frames.
            WeightsError: there is no picture in float32 either.
        """
        try:
            pictures = self._decoded(features, source, driving)
        except torch.OutOfMemoryError as error:
            fewer = f"--batch-size {len(driving) // 2}" if len(driving) > 1 else "--device cpu"
            raise OptionError(
                f"the memory of {self.device.type} does not hold {len(driving)} frame(s) at once: give {fewer}."
            ) from error
        if _broken(pictures) and self.dtype != torch.float32:
            log.warning("%s gave no picture on %s: the drawing goes on in fp32.", self.precision, self.device.type)
            self.dtype = torch.float32
            for name in HEAVY:
                self._networks.pop(name, None)
            pictures = self._decoded(features, source, driving)
        if _broken(pictures):
            raise WeightsError(
                "the networks draw nothing but black: their weights are not LivePortrait's; "
                "see liveportrait-talker models verify."
            )
        with torch.inference_mode():
            return _fetched((pictures.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1))

    def _decoded(self, features: Tensor, source: Floats, driving: Floats) -> Tensor:
        """Pictures (N, 3, 512, 512) float32."""
        count = len(driving)
        if self.compiles and count < self._most:  # for one size of batch: the last, smaller one is filled up
            driving = np.concatenate([driving, np.repeat(driving[-1:], self._most - count, axis=0)])
        points = torch.from_numpy(np.asarray(driving, np.float32)).to(self.device)
        start = torch.from_numpy(np.asarray(source, np.float32)).to(self.device)
        with torch.inference_mode():
            warp, generate = self.network("warping_module"), self.network("spade_generator")
            if self.device.type == "cpu" and not self._most:
                keep_freed_memory()  # not sooner: what loading leaves is no use for drawing
            self._most = max(self._most, count)
            warped = warp(
                _repeated(features if self.fast else features.to(self.dtype), len(points)),
                kp_source=_repeated(start, len(points)),
                kp_driving=points,
            )
            pictures: Tensor = generate(warped["out"])
            return pictures[:count].float()

    def _batch(self, faces: Sequence[Image]) -> Tensor:
        """(N, 3, 256, 256) float32 in 0…1."""
        pixels = torch.from_numpy(np.ascontiguousarray(np.stack(list(faces)).transpose(0, 3, 1, 2)))
        return pixels.to(self.device).float() / 255


def _repeated(rows: Tensor, count: int) -> Tensor:
    """`count` rows: of one, copies that take no memory; of several, the last again as often as is needed."""
    if len(rows) == 1:
        return rows.expand(count, *rows.shape[1:])
    if len(rows) == count:
        return rows
    return torch.cat([rows, rows[-1:].expand(count - len(rows), *rows.shape[1:])])


def _fetched(values: Tensor) -> Image:
    """Values in the processor's memory, row by row; from a GPU into pages that it may write to itself."""
    here = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda)
    image: Image = here.copy_(values).numpy()
    return image


def _broken(pictures: Tensor) -> bool:
    """Is one of the pictures not finite, or all black?"""
    brightest = pictures.flatten(1).amax(dim=1)  # NaN wins over any number
    return not bool((torch.isfinite(brightest) & (brightest > _BLACK)).all())
