"""Position of audio blocks by their time stamps."""

from __future__ import annotations

_GAP_S = 0.05  # longer gaps between time stamps are silence
JUMP_S = 0.5
"""Time stamps that jump back by more, in seconds, begin a new segment, as in concatenated recordings."""
_LONGEST_GAP_S = 3600.0  # so do time stamps that jump forward by more


class AudioClock:
    """Position in an audio stream whose blocks arrive in order."""

    def __init__(self, start: float | None) -> None:
        self.position = 0.0
        """Seconds so far, including silence."""
        self._start = start  # as a time stamp, in seconds; None: that of the first block

    def gap(self, at: float | None) -> float:
        """Return the seconds of silence before a block with time stamp `at`; if negative, the part of it to skip."""
        if at is None:
            return 0.0
        if self._start is None:
            self._start = at
        gap = at - self._start - self.position
        if not self.position:
            return gap
        if gap < -JUMP_S or gap > _LONGEST_GAP_S:
            self._start += gap
            return 0.0
        return gap if gap > _GAP_S else 0.0
