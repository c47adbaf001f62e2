"""Running the 3DMM regressor and the motion extractor on a source video's clips to make its record."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Floats32, Image, Indices
from ..errors import MediaError, OptionError, WeightsError
from ..face.finder import LANDMARK_SOURCE
from ..system.devices import torch_device
from ..system.journal import DONE, FAILED
from ..weights import importing
from ..weights.integrity import sha256_of
from .faces import Clip, ClipEnd, FaceChunk, detect_ahead
from .records import EXPRESSION, Stamp, UtteranceSpan, VideoRecord, write_record
from .video_jobs import FATAL, VideoOutcome, postpone, utterance_entry

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

NETWORKS = ("sadtalker_face_3drecon", "motion_extractor")


@dataclass(frozen=True)
class ExtractJob:
    """One source video: the clips of its utterances, and the path of its record."""

    key: str
    """`speaker/video`."""
    clips: tuple[Clip, ...]
    record: Path

    @property
    def utterances(self) -> tuple[str, ...]:
        """Names of the utterances."""
        return tuple(clip.name for clip in self.clips)


@dataclass(frozen=True)
class Extractor:
    """The two networks on one device, loaded at the first job. Picklable.

    Args:
        device: one of `devices.DEVICES`.
        batch_size: faces per batch, across a video's clips.
        decoders: threads that decode clips and find faces ahead of the networks; 0 for none.
        weights: network → checkpoint file, instead of the installed ones.
    """

    device: str = "auto"
    batch_size: int = 16
    decoders: int = 2
    weights: tuple[tuple[str, str], ...] = ()

    def __call__(self, job: ExtractJob) -> VideoOutcome:
        """Process one job. Returns errors in the outcome."""
        try:
            return self._extract(job)
        except MediaError as error:
            return VideoOutcome(job.key, FATAL, str(error), {})
        except (OptionError, WeightsError):  # the next job would fail too
            raise
        except Exception as error:  # such as insufficient memory
            log.warning("%s: %s: %s", job.key, type(error).__name__, error)
            return postpone(job, f"something went wrong: {type(error).__name__}")

    @cached_property
    def stamp(self) -> Stamp:
        """The stamp of this extractor's records. Raises WeightsError where weights are not installed."""
        recon, motion = (self._checksum(name) for name in NETWORKS)
        return Stamp(recon, motion, LANDMARK_SOURCE)

    def _checksum(self, network: str) -> str:
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

    def _extract(self, job: ExtractJob) -> VideoOutcome:
        ends: dict[int, ClipEnd] = {}
        rows: list[dict[str, Floats32]] = []
        positions: list[Indices] = []  # (n, 2) clip and frame of each row
        for faces, position in _batches(detect_ahead(job.clips, self.decoders), ends, self.batch_size):
            rows.append(self._run_networks(*faces))
            positions.append(position)
        entries, spans, parts = {}, [], []
        first = 0
        position = np.concatenate(positions) if positions else np.zeros((0, 2), np.intp)
        flat = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]} if rows else {}
        for number, clip in enumerate(job.clips):
            end = ends[number]
            entries[clip.name] = utterance_entry(end.reason, end.frames or None)
            if end.reason is not None:
                continue
            own = position[:, 0] == number
            values = {name: array[own] for name, array in flat.items()}
            parts.append(_interpolate_missing(values, position[own, 1], end.frames))
            spans.append(UtteranceSpan(clip.name, first, end.frames))
            first += end.frames
        if not spans:
            job.record.unlink(missing_ok=True)
            return VideoOutcome(job.key, FAILED, "none of its clips is usable", entries)
        speaker, _, video = job.key.partition("/")
        arrays: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        write_record(VideoRecord(speaker, video, tuple(spans), self.stamp, **arrays), job.record)
        return VideoOutcome(job.key, DONE, None, entries)

    def _run_networks(self, aligned: Image, faces: Image) -> dict[str, Floats32]:
        """Return the fields of a record for faces (n, 224, 224, 3) and (n, 256, 256, 3)."""
        import torch

        from ..driving.sadtalker.nets.face_3drecon import motion_coefficients
        from ..render.neural.keypoints import FaceMotion

        recon, extractor = self._networks
        device = next(recon.parameters()).device

        def to_input(images: Image) -> Tensor:
            return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255

        with torch.inference_mode():
            coefficients = motion_coefficients(recon(to_input(aligned))).cpu().numpy()
            motion = FaceMotion.from_heads(extractor(to_input(faces)))
        return {
            "expression": coefficients[:, :EXPRESSION],
            "angle_translation": coefficients[:, EXPRESSION:],
            "keypoint_expression": motion.expression.astype(np.float32),
            "rotation_deg": motion.rotation_deg.astype(np.float32),
        }


def _batches(
    items: Iterator[FaceChunk | ClipEnd], ends: dict[int, ClipEnd], size: int
) -> Iterator[tuple[tuple[Image, Image], Indices]]:
    """Yield aligned faces and face crops, `size` at a time across clips, with the clip and frame (n, 2) of each.

    Batches depend on the clips alone, so that a video gives the same numbers on every machine.
    """
    pending: list[tuple[Image, Image, Indices]] = []
    for item in items:
        if isinstance(item, ClipEnd):
            ends[item.clip] = item
            continue
        position = np.stack([np.full(len(item.frames), item.clip, np.intp), item.frames], axis=1)
        pending.append((item.aligned, item.faces, position))
        while sum(len(part[2]) for part in pending) >= size:
            aligned, faces, positions = (np.concatenate(parts) for parts in zip(*pending, strict=True))
            yield (aligned[:size], faces[:size]), positions[:size]
            pending = [(aligned[size:], faces[size:], positions[size:])]
    if sum(len(part[2]) for part in pending):
        aligned, faces, positions = (np.concatenate(parts) for parts in zip(*pending, strict=True))
        yield (aligned, faces), positions


def _interpolate_missing(rows: Mapping[str, Floats32], at: Indices, frames: int) -> dict[str, Any]:
    """Return rows of all `frames` from those of the frames `at`, interpolated elsewhere, and the mask `seen`."""
    numbers = np.arange(frames)
    result: dict[str, Any] = {}
    for name, values in rows.items():
        flat = values.reshape(len(values), -1)
        columns = [np.interp(numbers, at, column) for column in flat.T]
        result[name] = np.stack(columns, axis=1).reshape(frames, *values.shape[1:]).astype(np.float32)
    result["seen"] = np.isin(numbers, at)
    return result
