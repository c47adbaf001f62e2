"""Calls of functions in a child process with limits of memory and time, for input that may be hostile."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import MediaError, NoFaceError, OptionError, TalkerError, WeightsError

MEMORY_MB = 950
"""Limit of the memory that the calls allocate, in MB."""
_NEAR_LIMIT = 0.93  # of it: decoders take a failed allocation for a damaged frame, and go on
MB = 1_000_000
_BASE_SECONDS, _SECONDS_PER_MB = 6.0, 0.5
_POLL_S = 0.5
_WALL_FACTOR = 3.0  # a child that waits, or shares its CPU with many others, is given more time than CPU seconds


@dataclass(frozen=True)
class FileCall:
    """A call of a function on a file."""

    function: str
    """MODULE:NAME. It raises TalkerError for a file that cannot be used."""
    path: Path
    """The first argument, passed as a string."""
    arguments: Sequence[Any] = ()
    """The further arguments. They and the result are JSON values."""
    work_seconds: float = 0.0
    """CPU seconds that the call may compute besides opening the file."""

    @property
    def megabytes(self) -> float:
        """Size of the file; 0 for one that cannot be read, which the function will report."""
        try:
            return self.path.stat().st_size / MB
        except (OSError, ValueError):
            return 0.0

    @property
    def cpu_seconds(self) -> float:
        """Limit of the time that all threads of the call compute."""
        return _BASE_SECONDS + self.work_seconds + _SECONDS_PER_MB * self.megabytes


class LimitedProcess:
    """A child process for one list of calls. It starts at once, so that it can be started before it is needed.

    The memory limit holds on Linux, the limit of CPU time on Linux and macOS; three times the CPU time is the limit of
    the elapsed time everywhere. The child ends when this object is closed or its parent dies; on Windows, a child whose
    parent dies makes its calls first.

    Args:
        module: the module of the functions, which the child imports ahead.
    """

    def __init__(self, module: str) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; import {module}; from {__name__} import serve; serve()"
        self._calls: Sequence[FileCall] = ()
        self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and code)
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the parent, which ends the child
        )

    def __enter__(self) -> LimitedProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def start(self, calls: Sequence[FileCall]) -> None:
        """Begin the calls, in order; to be used once."""
        self._calls = calls
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            for call in calls:
                pipe.write(_line([call.function, [str(call.path), *call.arguments], call.cpu_seconds]))
        self._process.stdin = None

    def results(self) -> list[Any]:
        """Wait, and return the results of the calls.

        Raises:
            TalkerError: of the first call that raised one; the calls after it are not made.
            MediaError: a call exceeded a limit or crashed.
        """
        seconds = _WALL_FACTOR * sum(call.cpu_seconds for call in self._calls)
        timed_out = False
        try:
            output, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
            self._process.kill()
            output, _ = self._process.communicate()
        finally:
            self.close()
        results: list[Any] = []
        for line in output.splitlines():
            kind, content = json.loads(line)
            if kind != "result":
                raise _error(kind, content)
            results.append(content)
        if len(results) < len(self._calls):
            name = self._calls[len(results)].path.name
            if timed_out or self._exceeded_cpu_time():
                raise MediaError(f"{name} takes too long to open: it is damaged or made to do harm; export it again")
            raise MediaError(f"{name} cannot be opened: its decoder crashed; export it again in another format")
        return results

    def stop(self) -> None:
        """End the child while another thread waits for its results, which raises MediaError there."""
        with contextlib.suppress(OSError):  # it has ended
            self._process.kill()

    def close(self) -> None:
        """End the child; can be called twice, but not while another thread waits for its results."""
        self.stop()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _exceeded_cpu_time(self) -> bool:
        if sys.platform == "win32":
            return False
        import signal

        return self._process.returncode == -signal.SIGXCPU


def serve() -> None:
    """Make the calls that arrive on standard input, and write their results to standard output; runs in the child."""
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not be taken for a reply
    logging.disable(logging.CRITICAL)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(OSError):  # Linux: when memory is short, the kernel ends this process first
        Path("/proc/self/oom_score_adj").write_text("900")
    calls = [json.loads(line) for line in sys.stdin.buffer]
    functions = [_resolve(function) for function, _, _ in calls]
    limit_memory()
    before = _peak_mb()
    for function, (_, arguments, cpu_seconds) in zip(functions, calls, strict=True):
        _limit_cpu_seconds(cpu_seconds)
        reply = _reply(function, arguments)
        if _peak_mb() - before > _NEAR_LIMIT * MEMORY_MB:
            reply = _needs_too_much_memory(arguments[0])
        replies.write(_line(reply))
        if reply[0] != "result":
            break
    os._exit(0)  # closing damaged files may take long


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_S)
    os._exit(1)


def _reply(function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[str, Any]:
    """Make one call; return ("result", value), or an error for `_error`."""
    try:
        return "result", function(*arguments)
    except Exception as error:
        if _is_out_of_memory(error):
            return _needs_too_much_memory(arguments[0])
        if isinstance(error, TalkerError):
            return type(error).__name__, str(error)
        return "internal", f"{type(error).__name__}: {error}"


def _needs_too_much_memory(path: str) -> tuple[str, str]:
    return "MediaError", (
        f"{Path(path).name} needs more than {_NEAR_LIMIT * MEMORY_MB:.0f} MB of memory to open: it is damaged or too "
        "large; export it again at a smaller size"
    )


def _peak_mb() -> float:
    """Return the most memory that this process has had, in MB; 0 where the limit of memory does not hold."""
    if not sys.platform.startswith("linux"):
        return 0.0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB


def _error(kind: str, message: str) -> Exception:
    """Return an error of the child by the name of its class, one of a few: a file may have taken over the child."""
    if kind == "internal":  # a defect of ours
        return RuntimeError(message)
    classes = (MediaError, NoFaceError, OptionError, WeightsError)
    return {each.__name__: each for each in classes}.get(kind, TalkerError)(message)


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error was raised because of a MemoryError, such as FFmpeg's."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        error = error.__cause__ or error.__context__
    return False


def _resolve(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    resolved: Callable[..., Any] = getattr(import_module(module), name)
    return resolved


def limit_memory() -> None:
    """Limit the memory that this process can allocate from now on to `MEMORY_MB`; no effect except on Linux."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    limit = int(status.partition("VmData:")[2].split()[0]) * 1024 + MEMORY_MB * MB
    limit = _at_most_hard(resource.RLIMIT_DATA, limit)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_cpu_seconds(seconds: float) -> None:
    """Limit the CPU time from now on; no effect on Windows."""
    if sys.platform == "win32":
        return
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = _at_most_hard(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime + seconds) + 1)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def _at_most_hard(kind: int, limit: int) -> int:
    """Return a limit of `resource`, lowered to the hard one."""
    import resource

    _, hard = resource.getrlimit(kind)
    return limit if hard == resource.RLIM_INFINITY else min(limit, hard)


def _line(content: Any) -> bytes:
    return json.dumps(content).encode() + b"\n"
