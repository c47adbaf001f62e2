"""`bench --training`: what preparing and training cost here, against the original's scheme in the same run.

The original decoded one random frame and ran the motion extractor for every sample. Weights and records are random:
speed does not depend on their values.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import NoFaceError
from ...media import VideoWriter, open_footage
from ...progress import OnProgress
from ...system.devices import require_torch, synchronize, torch_device
from ..training import require_training

_CLIP_FRAMES, _CLIP_SIDE = 200, 256
_ORIGINAL_BATCH, _ORIGINAL_SAMPLES = 64, 12
_UTTERANCES, _FRAMES = 64, 200
_FACES = 16


@dataclass(frozen=True)
class TrainingTable:
    """Milliseconds a frame."""

    device: str
    original_ms: dict[str, float]
    """Decode a random frame; run the motion extractor; learn."""
    ours_ms: dict[str, float]
    """Read from memory-mapped arrays; learn."""
    extract_ms: dict[str, float]
    """Find and align a face (one thread); the 3DMM regressor; the motion extractor: once for each frame of the data
    set."""

    @property
    def original_rate(self) -> float:
        """Samples a second of the original's scheme."""
        return 1e3 / sum(self.original_ms.values())

    @property
    def our_rate(self) -> float:
        """Samples a second from records."""
        return 1e3 / sum(self.ours_ms.values())

    @property
    def ratio(self) -> float:
        """How many times as many samples a second."""
        return self.our_rate / self.original_rate

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        rates = {"original_rate": self.original_rate, "our_rate": self.our_rate, "ratio": self.ratio}
        return dataclasses.asdict(self) | rates

    def __str__(self) -> str:
        def stages(table: dict[str, float]) -> str:
            return ", ".join(f"{name} {value:.3g}" for name, value in table.items())

        return "\n".join(
            [
                f"training on {self.device}, milliseconds a frame",
                f"  the original's scheme  {stages(self.original_ms)}: {self.original_rate:,.1f} samples/s",
                f"  from records           {stages(self.ours_ms)}: {self.our_rate:,.0f} samples/s, {self.ratio:,.0f} ×",
                f"  extracting, once       {stages(self.extract_ms)}",
            ]
        )


def bench_training(*, source: Path | None, device: str = "auto", on_progress: OnProgress) -> TrainingTable:
    """Time both schemes; with a picture `source`, finding its face too.

    Raises:
        MediaError: `source` cannot be read.
        OptionError: Lightning is not installed, or the device is not here.
    """
    require_torch("bench --training")
    require_training("bench --training")
    import torch

    from ...pipelines.networks import build_network
    from ...training.module import MappingTask
    from ...training.options import Problem

    where = torch_device(device)
    torch.manual_seed(0)
    steps, done = 5, 0

    def tell() -> None:
        nonlocal done
        on_progress("timing", done, steps)
        done += 1

    tell()
    rng = np.random.default_rng(0)
    extractor, recon = (build_network(name).to(where) for name in ("motion_extractor", "sadtalker_face_3drecon"))
    one = torch.rand(1, 3, 256, 256, device=where)
    with tempfile.TemporaryDirectory() as folder:
        clip = _clip(Path(folder) / "clip.mp4", rng)
        original = {"decode": _each(lambda: _random_frame(clip, rng), _ORIGINAL_SAMPLES)}
    tell()
    with torch.inference_mode():
        original["motion extractor"] = _each(lambda: _wait(where, extractor(one)), 5)
        faces, aligned = (torch.rand(_FACES, 3, size, size, device=where) for size in (256, 224))
        extract = {
            "3DMM": _each(lambda: _wait(where, recon(aligned)), 2) / _FACES,
            "motion extractor": _each(lambda: _wait(where, extractor(faces)), 2) / _FACES,
        }
    tell()
    problem = Problem()
    task = MappingTask(problem).to(where)
    task.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer to log to
    optimiser = task.configure_optimizers()

    def learn(batch: dict[str, Any]) -> Any:
        optimiser.zero_grad()
        loss = task.training_step({name: value.to(where) for name, value in batch.items()}, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss

    single = _random_runs(1, problem.radius).__getitems__(list(range(_ORIGINAL_BATCH)))
    original["learn"] = _each(lambda: _wait(where, learn(single)), 3) / _ORIGINAL_BATCH
    tell()
    runs = _random_runs(32, problem.radius)
    count = 16
    chosen = [[int(i) for i in rng.choice(len(runs), count)] for _ in range(20)]
    frames = count * 32
    read = _each(lambda: [runs.__getitems__(indices) for indices in chosen], 2) / (len(chosen) * frames)
    batch = runs.__getitems__(chosen[0])
    ours = {"read": read, "learn": _each(lambda: _wait(where, learn(batch)), 5) / frames}
    tell()
    if source is not None:
        extract = {"find and align": _face_ms(source)} | extract
    tell()
    name = torch.cuda.get_device_name() if where.type == "cuda" else f"{where.type}, {torch.get_num_threads()} threads"
    return TrainingTable(name, original, ours, extract)


def _clip(path: Path, rng: np.random.Generator) -> Path:
    """A moving picture of so many frames, as hard to decode as a face is."""
    ground = rng.integers(0, 255, (_CLIP_SIDE // 8, _CLIP_SIDE // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with VideoWriter(
        path, size=(_CLIP_SIDE, _CLIP_SIDE), fps=25, voice=None, frame_count=_CLIP_FRAMES, comment="", title=""
    ) as writer:
        for k in range(_CLIP_FRAMES):
            writer.write(np.roll(ground, (k // 2, k), (0, 1)))
    return path


def _random_frame(clip: Path, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The original's item: open the file, seek, decode."""
    with open_footage(clip) as footage:
        return footage[int(rng.integers(len(footage)))]


def _random_runs(length: int, radius: int) -> Any:
    from ...motion.lips import LIP_KEYPOINTS
    from ...training.arrays import FrameArrays
    from ...training.records import Stamp
    from ...training.runs import Runs

    rng = np.random.default_rng(0)
    rows = _UTTERANCES * _FRAMES
    arrays = FrameArrays(
        keys=tuple(f"a/b/{k}" for k in range(_UTTERANCES)),
        first=np.arange(_UTTERANCES) * _FRAMES,
        frames=np.full(_UTTERANCES, _FRAMES),
        expression=rng.normal(size=(rows, 64)).astype(np.float32),
        keypoint_expression=rng.normal(size=(rows, 21, 3)).astype(np.float32),
        rotation_deg=np.zeros((rows, 3), np.float32),
        seen=np.ones(rows, bool),
        stamp=Stamp("", "", ""),
    )
    return Runs(arrays, length=length, radius=radius, keypoints=LIP_KEYPOINTS)


def _face_ms(source: Path) -> float:
    """Tracking, cropping and aligning a face, as `dataset extract` does."""
    from ...face.alignment import recon_picture
    from ...face.finder import FaceFinder
    from ...face.liveportrait_crop import portrait_crop
    from ...render.neural.renderer import network_picture

    finder = FaceFinder()
    with open_footage(source, max_side=640) as footage:
        picture = footage[0]
        faces = finder.find(picture)
        if not faces:
            raise NoFaceError(f"no face found in {source.name}: give a picture or a video that shows one.")

        def look() -> None:
            found = finder.follow(picture, faces[0])
            assert found is not None, "the same picture again"
            recon_picture(picture, found)
            network_picture(picture, portrait_crop(found))

        return _each(look, 20)


def _each(call: Callable[[], object], times: int) -> float:
    """Milliseconds of a call, the mean of several after one to warm up."""
    call()
    start = time.perf_counter()
    for _ in range(times):
        call()
    return 1e3 * (time.perf_counter() - start) / times


def _wait(where: Any, result: object) -> object:
    """The result, once the device has made it."""
    synchronize(where)
    return result
