"""LivePortrait's seven networks on one device: images → motion and features, keypoints → images.

W and G run in the chosen precision, in their fast versions. F, M and the three MLPs stay in float32, so that keypoints
do not depend on settings.
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
from ...system.devices import keep_freed_memory, refuse_forked_process, torch_device, torch_dtype
from ...weights.importing import load_network
from . import nets
from .compiling import compile_regions, decide_compilation
from .fast import build_fast_network
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
_BLACK_LEVEL = 2 / 255  # an image with no value above this is all black


class LivePortrait:
    """The networks of one set of weights; each is loaded on first use.

    Args:
        weights: network → checkpoint file, in place of the installed ones.
        device: one of `devices.DEVICES`.
        precision: one of `devices.PRECISIONS`, for W and G.
        compile: one of `devices.COMPILE`, for W and G; `compile_reason` explains the outcome.

    Raises:
        OptionError: the device is not available.
        WeightsError: torch is not installed, or (on use) a network's weights are not.
    """

    def __init__(
        self,
        *,
        weights: Mapping[str, Path | str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        compile: str = "auto",
    ) -> None:
        self.device = torch_device(device)
        self.dtype = torch_dtype(precision, self.device)
        self.compiles, self.compile_reason = decide_compilation(compile, self.device)
        self._weights = dict(weights or {})
        self._networks: dict[str, nn.Module] = {}
        self._largest_batch = 0

    def __repr__(self) -> str:
        return f"LivePortrait({self.device.type}, {self.precision})"

    @property
    def precision(self) -> str:
        """The precision of W and G: fp32, bf16 or fp16."""
        return _PRECISION_NAMES[self.dtype]

    def network(self, name: str) -> nn.Module:
        """Return one of the seven networks on the device, loading it if necessary."""
        refuse_forked_process()
        if name not in self._networks:
            net = load_network(name, BUILDERS[name], file=self._weights.get(name))
            if isinstance(net, (nets.WarpingNetwork, nets.SpadeGenerator)):
                net = fast = build_fast_network(net, self.dtype, self.device)
                if self.compiles:
                    compile_regions(fast)
            elif name in HEAVY:
                net = net.to(self.dtype)
            self._networks[name] = net.to(self.device)
        return self._networks[name]

    def load(self) -> LivePortrait:
        """Load all networks, so that missing or invalid files are found before any work."""
        for name in BUILDERS:
            self.network(name)
        return self

    def motion(self, faces: Sequence[Image]) -> FaceMotion:
        """Run M on N faces (256, 256, 3)."""
        with torch.inference_mode():
            return FaceMotion.from_heads(self.network("motion_extractor")(self._batch(faces)))

    def features(self, faces: Sequence[Image]) -> Tensor:
        """Run F on N faces (256, 256, 3); return volumes (N, 32, 16, 64, 64) float32."""
        with torch.inference_mode():
            volume: Tensor = self.network("appearance_feature_extractor")(self._batch(faces))
            return volume

    def draw(self, features: Tensor, source: Floats, driving: Floats) -> Image:
        """Run W and G; return faces (N, 512, 512, 3) uint8 RGB.

        Values are clipped to 0…1, multiplied by 255 and truncated, as in LivePortrait. If half precision gives NaN or
        an all-black image, W and G are loaded again in float32, with a warning, and stay so.

        Args:
            features: (N or 1, 32, 16, 64, 64) of `features`.
            source: x_s (N or 1, 21, 3).
            driving: x_d (N, 21, 3).

        Raises:
            OptionError: the device has too little memory for N frames.
            WeightsError: images are invalid in float32, too.
        """
        try:
            images = self._decode(features, source, driving)
        except torch.OutOfMemoryError as error:
            fewer = f"--batch-size {len(driving) // 2}" if len(driving) > 1 else "--device cpu"
            raise OptionError(
                f"{self.device.type} has too little memory for {len(driving)} frame(s) at once: give {fewer}."
            ) from error
        if _is_broken(images) and self.dtype != torch.float32:
            log.warning("%s gives no valid image on %s: drawing continues in fp32.", self.precision, self.device.type)
            self.dtype = torch.float32
            for name in HEAVY:
                self._networks.pop(name, None)
            images = self._decode(features, source, driving)
        if _is_broken(images):
            raise WeightsError(
                "the networks draw only black images: their weights are not LivePortrait's; "
                "see liveportrait-talker models verify."
            )
        with torch.inference_mode():
            return _to_cpu((images.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1))

    def _decode(self, features: Tensor, source: Floats, driving: Floats) -> Tensor:
        """Return images (N, 3, 512, 512) float32."""
        count = len(driving)
        if self.compiles and count < self._largest_batch:  # pads a smaller last batch, to compile one batch size
            driving = np.concatenate([driving, np.repeat(driving[-1:], self._largest_batch - count, axis=0)])
        points = torch.from_numpy(np.asarray(driving, np.float32)).to(self.device)
        start = torch.from_numpy(np.asarray(source, np.float32)).to(self.device)
        with torch.inference_mode():
            warp, generate = self.network("warping_module"), self.network("spade_generator")
            if self.device.type == "cpu" and not self._largest_batch:
                keep_freed_memory()  # after loading, whose memory drawing cannot reuse
            self._largest_batch = max(self._largest_batch, count)
            warped = warp(
                _repeat_rows(features, len(points)),
                kp_source=_repeat_rows(start, len(points)),
                kp_driving=points,
            )
            images: Tensor = generate(warped["out"])
            return images[:count].float()

    def _batch(self, faces: Sequence[Image]) -> Tensor:
        """Return faces as (N, 3, 256, 256) float32 in 0…1."""
        pixels = torch.from_numpy(np.ascontiguousarray(np.stack(list(faces)).transpose(0, 3, 1, 2)))
        return pixels.to(self.device).float() / 255


def _repeat_rows(rows: Tensor, count: int) -> Tensor:
    """Extend to `count` rows: a single row is expanded without memory, of several the last one is repeated."""
    if len(rows) == 1:
        return rows.expand(count, *rows.shape[1:])
    if len(rows) == count:
        return rows
    return torch.cat([rows, rows[-1:].expand(count - len(rows), *rows.shape[1:])])


def _to_cpu(values: Tensor) -> Image:
    """Copy to CPU memory in contiguous order; from a GPU into pinned memory."""
    target = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda)
    image: Image = target.copy_(values).numpy()
    return image


def _is_broken(images: Tensor) -> bool:
    """Return whether one of the images is not finite or all black."""
    brightest = images.flatten(1).amax(dim=1)  # NaN if any value is NaN
    return not bool((torch.isfinite(brightest) & (brightest > _BLACK_LEVEL)).all())
