"""The frozen networks over faces: a source video's clips → its record. Nothing of it needs a video afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..arrays import Floats32
from ..errors import MediaError, OptionError, WeightsError
from ..face.finder import LANDMARK_SOURCE
from ..system.devices import torch_device
from ..system.journal import DONE, FAILED, LATER, Entry
from ..weights import importing
from ..weights.integrity import sha256_of
from .faces import Clip, ClipEnd, FacePiece, faces_ahead
from .records import Stamp, UtteranceSpan, VideoRecord, write_record

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

NETWORKS = ("sadtalker_face_3drecon", "motion_extractor")
FATAL = "fatal"
"""Status of an outcome that ends the run: the disk is full, or cannot be written."""


@dataclass(frozen=True)
class ExtractJob:
    """One source video: the clips of its utterances, and where its record goes."""

    key: str
    """`speaker/video`."""
    clips: tuple[Clip, ...]
    record: Path


@dataclass(frozen=True)
class ExtractOutcome:
    """What became of a job."""

    key: str
    status: str
    """`done`, `failed` (no clip of it is any use), `later` or `fatal`."""
    reason: str | None
    utterances: dict[str, Entry]
    """Name → status, reason, frames."""


@dataclass(frozen=True)
class Extractor:
    """The two networks on one device, loaded at the first job; sent to a worker, it loads them there.

    Args:
        device: one of `devices.DEVICES`.
        batch_size: faces that go through a network at once, of any of a video's clips.
        decoders: clips that are decoded and searched for faces ahead of the networks, each by a thread; 0 does both in
            turn.
        weights: network → checkpoint file, in place of those that are installed.
    """

    device: str = "auto"
    batch_size: int = 16
    decoders: int = 2
    weights: tuple[tuple[str, str], ...] = ()

    def __call__(self, job: ExtractJob) -> ExtractOutcome:
        """Do one job; whatever goes wrong is in the outcome."""
        try:
            return self._extract(job)
        except MediaError as error:
            return ExtractOutcome(job.key, FATAL, str(error), {})
        except (OptionError, WeightsError):  # nothing would go better with the next job
            raise
        except Exception as error:  # a network's memory, say
            log.warning("%s: %s: %s", job.key, type(error).__name__, error)
            return lost(job, f"something went wrong: {type(error).__name__}")

    @cached_property
    def stamp(self) -> Stamp:
        """What records of this extractor are stamped with. Raises WeightsError where weights are not installed."""
        recon, motion = (self._sum(name) for name in NETWORKS)
        return Stamp(recon, motion, LANDMARK_SOURCE)

    def _sum(self, network: str) -> str:
        own = dict(self.weights).get(network)
        return importing.metadata(network)["source_sha256"] if own is None else sha256_of(Path(own))

    @cached_property
    def _networks(self) -> tuple[nn.Module, nn.Module]:
        from ..pipelines.networks import build_network

        own, device = dict(self.weights), torch_device(self.device)
        recon, motion = (
            importing.load_network(name, lambda name=name: build_network(name), file=own.get(name), device=device)  # type: ignore[misc]
            for name in NETWORKS
        )
        return recon, motion

    def _extract(self, job: ExtractJob) -> ExtractOutcome:
        ends: dict[int, ClipEnd] = {}
        rows: list[dict[str, Floats32]] = []
        owners: list[npt.NDArray[np.intp]] = []  # (n, 2) clip and frame of each row
        for batch, owner in _batches(faces_ahead(job.clips, self.decoders), ends, self.batch_size):
            rows.append(self._seen(*batch))
            owners.append(owner)
        entries, spans, parts = {}, [], []
        first = 0
        owner = np.concatenate(owners) if owners else np.zeros((0, 2), np.intp)
        flat = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]} if rows else {}
        for number, clip in enumerate(job.clips):
            end = ends[number]
            status = DONE if end.reason is None else FAILED
            entries[clip.name] = {"status": status, "reason": end.reason, "frames": end.frames or None}
            if end.reason is not None:
                continue
            mine = owner[:, 0] == number
            parts.append(_laid_out({name: array[mine] for name, array in flat.items()}, owner[mine, 1], end.frames))
            spans.append(UtteranceSpan(clip.name, first, end.frames))
            first += end.frames
        if not spans:
            job.record.unlink(missing_ok=True)
            return ExtractOutcome(job.key, FAILED, "no clip of it is any use", entries)
        speaker, _, video = job.key.partition("/")
        whole: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        write_record(VideoRecord(speaker, video, tuple(spans), self.stamp, **whole), job.record)
        return ExtractOutcome(job.key, DONE, None, entries)

    def _seen(self, aligned: npt.NDArray[np.uint8], faces: npt.NDArray[np.uint8]) -> dict[str, Floats32]:
        """What the networks see in faces (n, 224, 224, 3) and (n, 256, 256, 3)."""
        import torch

        from ..driving.sadtalker.nets.face_3drecon import motion_coefficients
        from ..render.neural.keypoints import FaceMotion

        recon, extractor = self._networks
        device = next(recon.parameters()).device

        def as_input(images: npt.NDArray[np.uint8]) -> Tensor:
            return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255

        with torch.inference_mode():
            coefficients = motion_coefficients(recon(as_input(aligned))).cpu().numpy()
            motion = FaceMotion.from_heads(extractor(as_input(faces)))
        return {
            "expression": coefficients[:, :64],
            "angle_translation": coefficients[:, 64:],
            "keypoint_expression": motion.expression.astype(np.float32),
            "rotation_deg": motion.rotation_deg.astype(np.float32),
        }


def lost(job: ExtractJob, reason: str) -> ExtractOutcome:
    """The outcome of a job that nobody could finish; the next run tries it again."""
    clips: dict[str, Entry] = {clip.name: {"status": LATER, "reason": reason, "frames": None} for clip in job.clips}
    return ExtractOutcome(job.key, LATER, reason, clips)


Faces = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def _batches(
    items: Iterator[FacePiece | ClipEnd], ends: dict[int, ClipEnd], size: int
) -> Iterator[tuple[Faces, npt.NDArray[np.intp]]]:
    """Aligned pictures and faces, `size` at a time across clips, each with its clip and frame (n, 2).

    A batch depends on the clips alone, so that the same video gives the same numbers wherever it is extracted.
    """
    waiting: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.intp]]] = []
    for item in items:
        if isinstance(item, ClipEnd):
            ends[item.clip] = item
            continue
        owner = np.stack([np.full(len(item.frames), item.clip, np.intp), item.frames], axis=1)
        waiting.append((item.aligned, item.faces, owner))
        while sum(len(part[2]) for part in waiting) >= size:
            aligned, faces, owners = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
            yield (aligned[:size], faces[:size]), owners[:size]
            waiting = [(aligned[size:], faces[size:], owners[size:])]
    if sum(len(part[2]) for part in waiting):
        aligned, faces, owners = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
        yield (aligned, faces), owners


def _laid_out(rows: Mapping[str, Floats32], at: npt.NDArray[np.intp], frames: int) -> dict[str, Any]:
    """Rows of the frames `at` as rows of all `frames`: between them interpolated, and marked as not seen."""
    places = np.arange(frames)
    laid: dict[str, Any] = {}
    for name, values in rows.items():
        flat = values.reshape(len(values), -1)
        columns = [np.interp(places, at, column) for column in flat.T]
        laid[name] = np.stack(columns, axis=1).reshape(frames, *values.shape[1:]).astype(np.float32)
    laid["seen"] = np.isin(places, at)
    return laid
