"""`bench --training`: speed of data preparation and training relative to the original's scheme.

The original decoded a random frame and ran the motion extractor for every sample. Weights and records are random, as
the speed does not depend on them.
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

from ...arrays import Image
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
    """Result of `bench_training`: milliseconds per frame. Its text is a table."""

    device: str
    original_ms: dict[str, float]
    """Decoding a random frame; the motion extractor; the training step."""
    ours_ms: dict[str, float]
    """Reading from memory-mapped arrays; the training step."""
    extract_ms: dict[str, float]
    """Once for each frame of the data set: finding and aligning a face (one thread); the 3DMM regressor; the motion
    extractor."""

    @property
    def original_rate(self) -> float:
        """Samples per second of the original's scheme."""
        return 1e3 / sum(self.original_ms.values())

    @property
    def our_rate(self) -> float:
        """Samples per second from records."""
        return 1e3 / sum(self.ours_ms.values())

    @property
    def ratio(self) -> float:
        """Speed relative to the original's scheme."""
        return self.our_rate / self.original_rate

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        rates = {"original_rate": self.original_rate, "our_rate": self.our_rate, "ratio": self.ratio}
        return dataclasses.asdict(self) | rates

    def __str__(self) -> str:
        def stages(table: dict[str, float]) -> str:
            return ", ".join(f"{name} {value:.3g}" for name, value in table.items())

        return "\n".join(
            [
                f"training on {self.device}, milliseconds per frame",
                f"  the original's scheme  {stages(self.original_ms)}: {self.original_rate:,.1f} samples/s",
                f"  from records           {stages(self.ours_ms)}: {self.our_rate:,.0f} samples/s, {self.ratio:,.0f} ×",
                f"  extracting, once       {stages(self.extract_ms)}",
            ]
        )


def bench_training(*, source: Path | None, device: str = "auto", on_progress: OnProgress) -> TrainingTable:
    """Time both schemes and, with an image `source`, finding its face.

    Raises:
        MediaError: `source` cannot be read.
        OptionError: Lightning is not installed, or the device is not available.
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

    def report_step() -> None:
        nonlocal done
        on_progress("timing", done, steps)
        done += 1

    report_step()
    rng = np.random.default_rng(0)
    extractor, recon = (build_network(name).to(where) for name in ("motion_extractor", "sadtalker_face_3drecon"))
    one = torch.rand(1, 3, 256, 256, device=where)
    with tempfile.TemporaryDirectory() as folder:
        clip = _write_clip(Path(folder) / "clip.mp4", rng)
        original = {"decode": _mean_ms(lambda: _decode_random_frame(clip, rng), _ORIGINAL_SAMPLES)}
    report_step()
    with torch.inference_mode():
        original["motion extractor"] = _mean_ms(lambda: _synchronized(where, extractor(one)), 5)
        faces, aligned = (torch.rand(_FACES, 3, size, size, device=where) for size in (256, 224))
        extract = {
            "3DMM": _mean_ms(lambda: _synchronized(where, recon(aligned)), 2) / _FACES,
            "motion extractor": _mean_ms(lambda: _synchronized(where, extractor(faces)), 2) / _FACES,
        }
    report_step()
    problem = Problem()
    task = MappingTask(problem).to(where)
    task.log = lambda *_, **__: None  # type: ignore[method-assign]  # without a trainer
    optimiser = task.configure_optimizers()

    def learn(batch: dict[str, Any]) -> Any:
        optimiser.zero_grad()
        loss = task.training_step({name: value.to(where) for name, value in batch.items()}, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return loss

    single = _random_runs(1, problem.radius).__getitems__(list(range(_ORIGINAL_BATCH)))
    original["learn"] = _mean_ms(lambda: _synchronized(where, learn(single)), 3) / _ORIGINAL_BATCH
    report_step()
    runs = _random_runs(32, problem.radius)
    count = 16
    chosen = [[int(i) for i in rng.choice(len(runs), count)] for _ in range(20)]
    frames = count * 32
    read = _mean_ms(lambda: [runs.__getitems__(indices) for indices in chosen], 2) / (len(chosen) * frames)
    batch = runs.__getitems__(chosen[0])
    ours = {"read": read, "learn": _mean_ms(lambda: _synchronized(where, learn(batch)), 5) / frames}
    report_step()
    if source is not None:
        extract = {"find and align": _face_ms(source)} | extract
    report_step()
    name = torch.cuda.get_device_name() if where.type == "cuda" else f"{where.type}, {torch.get_num_threads()} threads"
    return TrainingTable(name, original, ours, extract)


def _write_clip(path: Path, rng: np.random.Generator) -> Path:
    """Write a clip of a moving pattern that takes as long to decode as a face."""
    ground = rng.integers(0, 255, (_CLIP_SIDE // 8, _CLIP_SIDE // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with VideoWriter(
        path, size=(_CLIP_SIDE, _CLIP_SIDE), fps=25, voice=None, frame_count=_CLIP_FRAMES, comment="", title=""
    ) as writer:
        for k in range(_CLIP_FRAMES):
            writer.write(np.roll(ground, (k // 2, k), (0, 1)))
    return path


def _decode_random_frame(clip: Path, rng: np.random.Generator) -> Image:
    """Load a sample as the original does: open the file, seek, decode."""
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
    """Return the time of tracking, cropping and aligning a face, as in `dataset extract`."""
    from ...face.alignment import align_face
    from ...face.finder import FaceFinder
    from ...face.liveportrait_crop import portrait_crop
    from ...render.neural.crops import network_image

    finder = FaceFinder()
    with open_footage(source, max_side=640) as footage:
        image = footage[0]
        faces = finder.find(image)
        if not faces:
            raise NoFaceError(f"no face found in {source.name}: give a picture or a video that shows one.")

        def process() -> None:
            found = finder.follow(image, faces[0])
            assert found is not None, "the same image again"
            align_face(image, found)
            network_image(image, portrait_crop(found))

        return _mean_ms(process, 20)


def _mean_ms(call: Callable[[], object], times: int) -> float:
    """Return the mean time of `times` calls in ms, after one for warm-up."""
    call()
    start = time.perf_counter()
    for _ in range(times):
        call()
    return 1e3 * (time.perf_counter() - start) / times


def _synchronized(where: Any, result: object) -> object:
    """Return the result after queued device work has finished."""
    synchronize(where)
    return result
