"""Records of made-up speakers, for tests: coefficients and targets follow the same few slow numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from liveportrait_talker.training.records import Stamp, UtteranceSpan, VideoRecord, write_record

STAMP = Stamp("a" * 64, "b" * 64, "tracker 1")


LATENT = 3
_MIX = np.random.default_rng(7)
TO_EXPRESSION, TO_KEYPOINTS = _MIX.normal(size=(LATENT, 64)), _MIX.normal(size=(LATENT, 63))


def smooth_noise(rng: np.random.Generator, frames: int, channels: int, length: int = 33) -> np.ndarray:
    """(frames, channels), standard deviation about 1, slower than a window."""
    raw = rng.normal(size=(frames + length - 1, channels))
    kernel = np.hanning(length)
    return np.stack([np.convolve(c, kernel / np.sqrt((kernel**2).sum()), "valid") for c in raw.T], axis=1)


def make_dataset(
    folder: Path,
    *,
    speakers: int = 6,
    videos: int = 2,
    lengths: tuple[int, ...] = (60, 45),
    stamp: Stamp = STAMP,
    unseen: float = 0.0,
    seed: int = 0,
) -> Path:
    rng = np.random.default_rng(seed)
    for s in range(speakers):
        for v in range(videos):
            frames = sum(lengths)
            mouth = smooth_noise(rng, frames, LATENT)
            spans, first = [], 0
            for k, length in enumerate(lengths):
                spans.append(UtteranceSpan(f"{k:05d}", first, length))
                first += length
            record = VideoRecord(
                f"id{s:05d}",
                f"video{v}",
                tuple(spans),
                stamp,
                (mouth @ TO_EXPRESSION).astype(np.float32),
                np.zeros((frames, 6), np.float32),
                (mouth @ TO_KEYPOINTS).reshape(-1, 21, 3).astype(np.float32),
                np.zeros((frames, 3), np.float32),
                rng.random(frames) >= unseen,
            )
            write_record(record, folder / "records" / record.speaker / f"{record.video}.safetensors")
    return folder
