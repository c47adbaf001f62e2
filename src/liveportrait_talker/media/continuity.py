"""Where pieces of sound belong by their time stamps."""

from __future__ import annotations

_GAP_S = 0.05  # a longer one between time stamps is silence
_JUMP_S = 0.5  # stamps that go back by more begin a new stretch, such as a recording joined to another
_LONGEST_GAP_S = 3600.0  # stamps that go forward by more do so, too


class SoundClock:
    """Counts the seconds of a sound whose pieces come one after the other."""

    def __init__(self, start: float | None) -> None:
        self.given = 0.0
        """Seconds so far, silence included."""
        self._start = start  # on the clock of the stamps; None begins with the first piece

    def gap(self, at: float | None) -> float:
        """Seconds of silence that come before a piece stamped `at`; below 0, what is left out at its beginning."""
        if at is None:
            return 0.0
        if self._start is None:
            self._start = at
        gap = at - self._start - self.given
        if not self.given:
            return gap
        if gap < -_JUMP_S or gap > _LONGEST_GAP_S:
            self._start += gap
            return 0.0
        return gap if gap > _GAP_S else 0.0
