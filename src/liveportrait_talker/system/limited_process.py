"""Calls of functions in a child process with limits of memory and time, for input that may be hostile."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

from .. import errors
from ..errors import TalkerError

MB = 1_000_000
_WALL_FACTOR = 3.0  # a child that waits, or shares its CPU with many others, is given more time than CPU seconds


class LimitExceeded(Exception):
    """A call was ended because it exceeded a limit, or because it crashed.

    Args:
        call: index of the call.
        limit: what it exceeded.
    """

    def __init__(self, call: int, limit: Literal["memory", "time", "crash"]) -> None:
        super().__init__(f"call {call} was ended ({limit})")
        self.call, self.limit = call, limit


@dataclass(frozen=True)
class Call:
    """A call of a module-level function of this package; arguments and result are JSON values."""

    function: Callable[..., Any]
    arguments: Sequence[Any]
    cpu_seconds: float
    """Limit of the time that all its threads compute."""


class LimitedProcess:
    """A child process for one list of calls. It starts at once, so that it can be started before it is needed.

    The memory limit holds on Linux, the limit of CPU time on Linux and macOS; three times the CPU time is the limit of
    the elapsed time everywhere. The child ends when this object is closed or its parent dies.

    Args:
        memory_mb: limit of the memory that the calls allocate.
    """

    def __init__(self, memory_mb: int) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve({memory_mb})"
        self._calls: Sequence[Call] = ()
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

    def start(self, calls: Sequence[Call]) -> None:
        """Begin the calls, in order; to be used once."""
        self._calls = calls
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            for call in calls:
                function = f"{call.function.__module__}:{call.function.__qualname__}"
                pipe.write(_line([function, list(call.arguments), call.cpu_seconds]))
        self._process.stdin = None

    def results(self) -> list[Any]:
        """Wait, and return the results of the calls.

        Raises:
            TalkerError: of the first call that raised one; the calls after it are not made.
            LimitExceeded: a call was ended.
        """
        seconds = _WALL_FACTOR * sum(call.cpu_seconds for call in self._calls)
        try:
            output, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, _ = self._process.communicate()
            raise LimitExceeded(output.count(b"\n"), "time") from None
        finally:
            self.close()
        results: list[Any] = []
        for line in output.splitlines():
            kind, content = json.loads(line)
            if kind == "result":
                results.append(content)
            elif kind == "memory":
                raise LimitExceeded(len(results), "memory")
            elif kind == "internal":
                raise RuntimeError(content)
            else:
                raise _error(kind, content)
        if len(results) < len(self._calls):
            raise LimitExceeded(len(results), self._cause_of_death())
        return results

    def close(self) -> None:
        """End the child; can be called twice."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _cause_of_death(self) -> Literal["time", "crash"]:
        if sys.platform == "win32":
            return "crash"
        import signal

        return "time" if self._process.returncode == -signal.SIGXCPU else "crash"


def serve(memory_mb: int) -> None:
    """Make the calls that arrive on standard input, and write their results to standard output; runs in the child."""
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not be taken for a reply
    logging.disable(logging.CRITICAL)
    calls = [json.loads(line) for line in sys.stdin.buffer]
    functions = [_resolve(function) for function, _, _ in calls]
    _limit_memory(memory_mb * MB)
    for function, (_, arguments, cpu_seconds) in zip(functions, calls, strict=True):
        _limit_cpu_seconds(cpu_seconds)
        if not _reply(replies, function, arguments):
            break
    os._exit(0)  # closing damaged files may take long


def _reply(replies: IO[bytes], function: Callable[..., Any], arguments: Sequence[Any]) -> bool:
    """Make one call and send its result or error; return whether it succeeded."""
    try:
        reply = ["result", function(*arguments)]
    except Exception as error:
        if _is_out_of_memory(error):
            reply = ["memory", None]
        elif isinstance(error, TalkerError):
            reply = [type(error).__name__, str(error)]
        else:  # a defect of ours, which the parent reports
            reply = ["internal", f"{type(error).__name__}: {error}"]
    replies.write(_line(reply))
    return reply[0] == "result"


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error was raised because of a MemoryError, such as FFmpeg's."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        error = error.__cause__ or error.__context__
    return False


def _error(kind: str, message: str) -> TalkerError:
    """Return an error of the child by the name of its class; the child may have been taken over by a file."""
    classes = (errors.MediaError, errors.NoFaceError, errors.OptionError, errors.WeightsError)
    return {each.__name__: each for each in classes}.get(kind, TalkerError)(message)


def _resolve(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    resolved: Callable[..., Any] = getattr(import_module(module), name)
    return resolved


def _limit_memory(amount: int) -> None:
    """Limit the memory that can be allocated from now on, in bytes; no effect except on Linux."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    used = int(status.partition("VmData:")[2].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + amount, used + amount))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_cpu_seconds(seconds: float) -> None:
    """Limit the CPU time from now on; no effect on Windows."""
    if sys.platform == "win32":
        return
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime + seconds) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _line(content: Any) -> bytes:
    return json.dumps(content).encode() + b"\n"
