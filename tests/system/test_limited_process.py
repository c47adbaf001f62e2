"""Calls in a child process with limits of memory and time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from liveportrait_talker.errors import MediaError, OptionError
from liveportrait_talker.system import limited_process
from liveportrait_talker.system.limited_process import FileCall, LimitedProcess

FILE = Path("some/portrait.png")


def call(*calls: FileCall) -> list[Any]:
    with LimitedProcess("limited_calls") as process:
        process.start(calls)
        return process.results()


def one(name: str, *arguments: Any) -> FileCall:
    return FileCall(f"limited_calls:{name}", FILE, arguments)


def test_results_are_returned_in_order():
    assert call(one("measure", 1), one("measure", 2)) == [len(str(FILE)), 2 * len(str(FILE))]
    assert call(one("talk")) == ["this"]
    assert call() == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory limit holds on Linux only")
def test_memory_is_limited():
    with pytest.raises(MediaError, match=r"portrait\.png needs more than \d+ MB of memory"):
        call(one("measure", 1), one("allocate"))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of CPU time")
def test_time_is_limited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limited_process, "_BASE_SECONDS", 0.2)
    with pytest.raises(MediaError, match=r"portrait\.png takes too long"):
        call(one("spin"))


def test_a_crash_is_reported():
    with pytest.raises(MediaError, match=r"portrait\.png cannot be opened: its decoder crashed"):
        call(one("crash"))


def test_errors_keep_their_class():
    with pytest.raises(OptionError, match="do it right"):
        call(one("refuse"), one("measure", 1))
    with pytest.raises(RuntimeError, match="ZeroDivisionError: a defect"):
        call(one("fail"))


def test_a_closed_process_is_gone():
    process = LimitedProcess("limited_calls")
    process.start([one("spin")])
    process.close()
    process.close()
    with pytest.raises(MediaError, match="cannot be opened"):
        process.results()


@pytest.mark.skipif(sys.platform == "win32", reason="uses signals")
def test_the_child_ends_with_its_parent():
    code = (
        "import sys, pathlib; from liveportrait_talker.system.limited_process import *\n"
        "process = LimitedProcess('limited_calls')\n"
        "process.start([FileCall('limited_calls:spin', pathlib.Path('x'))])\n"
        "print(process._process.pid, flush=True); process.results()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 20
    while _is_running(child):
        assert time.monotonic() < end, "the child outlives its parent"
        time.sleep(0.1)


def _is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
