"""What a live session yields, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..arrays import Floats32, Image

State = Literal["idle", "speaking", "interrupted"]


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """An image and the sound of the same 1 / fps seconds."""

    image: Image
    """(H, W, 3) uint8 RGB; (H, W, 4) RGBA without a background. Read-only: it may be given out again."""
    samples: Floats32
    """(n,) mono at the session's `sample_rate`, −1…1; silence while nobody speaks."""
    time_seconds: float
    """When the frame begins, from the start of the session: its number / fps."""
    state: State
    """idle: it listens; speaking: there is a voice; interrupted: after `clear`, until the lips are shut."""
    is_new: bool = True
    """False where the image of the frame before is shown again, because there was no time to draw one."""
    ends_utterance: bool = False
    """Whether the last sample before a call of `end` is in this frame, or was in an earlier one: `end` came late."""

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"LiveFrame({self.time_seconds:.2f} s, {self.state}, {width}×{height}, {len(self.samples)} samples)"


@dataclass
class LiveCounts:
    """What a session has delivered and dropped so far."""

    frames: int = 0
    """Delivered."""
    skipped_frames: int = 0
    """Of these, those that show the image before again."""
    paused_seconds: float = 0.0
    """For which the session stood still, because nobody asked for frames."""
    dropped_seconds: float = 0.0
    """Of sound that was pushed while too much was waiting."""
    cleared_seconds: float = 0.0
    """Of pushed sound that `clear` has dropped."""
    dropped_images: int = 0
    """Given to `follow` while one was still being read, or without a face."""
