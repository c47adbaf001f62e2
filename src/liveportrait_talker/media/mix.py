"""`Mix`: the sound of several files at once, read in blocks as from one file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arrays import Floats32
from .audio_file import AudioFile

_BLOCK_S = 0.5
_HIGHEST_RATE = 48_000  # Hz


@dataclass(frozen=True)
class MixPart:
    """One file of a mix."""

    file: Path
    start_seconds: float = 0.0
    channel: int | None = None
    """The channel that is heard, 1 = left; None: all."""


@dataclass(frozen=True)
class Mix:
    """What is heard together."""

    parts: tuple[MixPart, ...]
    gain: float = 1.0
    """Factor of the sum; samples beyond −1…1 are clipped."""

    def open(self) -> MixedFile:
        """Open all files. Raises MediaError as `AudioFile` does."""
        return MixedFile(self)


class MixedFile:
    """The open files of a mix, with the interface of `AudioFile` for an encoder."""

    def __init__(self, mix: Mix) -> None:
        self._mix = mix
        with ExitStack() as opened:
            self._files = [opened.enter_context(AudioFile(part.file)) for part in mix.parts]
            self._opened = opened.pop_all()
        self.sample_rate = min(max(file.sample_rate for file in self._files), _HIGHEST_RATE)
        """Hz, the highest of the files, up to 48 000."""
        self.channels = max(
            1 if part.channel else file.channels for part, file in zip(mix.parts, self._files, strict=True)
        )
        """1 or 2."""

    def close(self) -> None:
        """Close the files; can be called twice."""
        self._opened.close()

    def blocks(self, *, sample_rate: int, channels: int) -> Iterator[Floats32]:
        """Yield blocks (channels, n) float32 at `sample_rate`, within −1…1, until the last file ends."""
        size = round(_BLOCK_S * sample_rate)
        readers = [
            _read_in_pieces(file, part, sample_rate, channels, size)
            for file, part in zip(self._files, self._mix.parts, strict=True)
        ]
        while readers:
            pieces = [next(reader, None) for reader in readers]
            readers = [reader for reader, piece in zip(readers, pieces, strict=True) if piece is not None]
            heard = [piece for piece in pieces if piece is not None]
            if heard:
                total = np.zeros((channels, max(piece.shape[1] for piece in heard)), np.float32)
                for piece in heard:
                    total[:, : piece.shape[1]] += piece
                yield np.clip(self._mix.gain * total, -1, 1).astype(np.float32, copy=False)


def _read_in_pieces(file: AudioFile, part: MixPart, rate: int, channels: int, size: int) -> Iterator[Floats32]:
    """Yield pieces (channels, size) of a part from the start of the mix on, the last one shorter."""
    silence = round(part.start_seconds * rate)
    while silence >= size:
        silence -= size
        yield np.zeros((channels, size), np.float32)
    waiting: Floats32 = np.zeros((channels, silence), np.float32)
    only = None if part.channel is None else part.channel - 1
    for block in file.blocks(sample_rate=rate, channels=channels if only is None else 1, only=only):
        waiting = np.concatenate([waiting, np.broadcast_to(block, (channels, block.shape[1]))], axis=1)
        while waiting.shape[1] >= size:
            yield waiting[:, :size]
            waiting = waiting[:, size:]
    if waiting.shape[1]:
        yield waiting
