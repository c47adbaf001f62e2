"""Standard output and standard error: reports, notes, progress bars. Printing never fails a run."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import time
from types import TracebackType
from typing import Any

_LINES_EVERY_S = 30.0
# Control characters but tab and line feed, line separators, and what changes the direction of text: names in files may
# hold them, and a terminal obeys them.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_BAR = "{desc} |{bar:30}| {n_fmt}/{total_fmt} {remaining}"
_shown: list[Bars] = []  # bars on the terminal: lines are written above them


def prepare_streams() -> None:
    """Open closed streams on the null device, and let both escape characters that their encoding lacks."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file would get this number, and with it what libraries print
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # absent where the stream is replaced
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def print_out(text: str) -> None:
    """Write a report to standard output; a closed or full one does not fail the run."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(_escaped(text) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stdout = None
    except (OSError, ValueError) as error:
        say(f"note: the report could not be printed ({getattr(error, 'strerror', None) or error}).")
        sys.stdout = None


def say(text: str) -> None:
    """Write a line to standard error, above the progress bars; do nothing where it is closed or full."""
    if sys.stderr is None:
        return
    text = _escaped(text).replace("\n", r"\n")
    with contextlib.suppress(OSError, ValueError):
        if _shown:
            from tqdm import tqdm

            tqdm.write(text, file=sys.stderr)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


def show_trace(trace: str) -> None:
    """Write a traceback to standard error."""
    for line in trace.splitlines():
        say(line)


EXIT_FAILURE, EXIT_MISTAKE, EXIT_INTERRUPTED = 1, 2, 130
"""Exit codes: a failure of ours or of single jobs, a mistake of the user, Ctrl-C. 0 is success."""


class Bars:
    """One progress bar per stage on standard error, or a line every 30 s where that is not a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._bars: dict[str, Any] = {}
        self._stage, self._stage_start, self._last_line = "", 0.0, 0.0

    def __enter__(self) -> Bars:
        return self

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report progress: see `OnProgress`."""
        if self._quiet or sys.stderr is None:
            return
        stage = _escaped(stage)
        with contextlib.suppress(OSError, ValueError):
            if _is_terminal():
                self._draw(stage, done, total)
            else:
                self._write_line(stage, done, total)

    def _draw(self, stage: str, done: int, total: int) -> None:
        if not self._bars:
            _shown.append(self)
        if stage not in self._bars:
            from tqdm import tqdm

            tqdm.monitor_interval = 0  # no monitor thread
            columns, rows = shutil.get_terminal_size()
            self._bars[stage] = tqdm(
                desc=stage, total=total, file=sys.stderr, bar_format=_BAR, ncols=columns, nrows=rows
            )
        bar = self._bars[stage]
        bar.total = total
        bar.update(done - bar.n)

    def _write_line(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._stage_start, self._last_line = stage, now, now
        if now - self._last_line >= _LINES_EVERY_S and 0 < done < total:
            self._last_line = now
            seconds = (now - self._stage_start) / done * (total - done)
            remaining = f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
            say(f"{stage}: {done} of {total}, about {remaining} left")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in self._bars.values():
            with contextlib.suppress(OSError, ValueError):
                bar.refresh()
                bar.close()
        if self in _shown:
            _shown.remove(self)


def _escaped(text: str) -> str:
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
