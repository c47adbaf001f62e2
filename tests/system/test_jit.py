"""Compiled kernels: kept between runs, and compiled anew wherever they cannot be kept or loaded."""

from __future__ import annotations

import ast
import errno
import hashlib
import importlib.util
import itertools
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import liveportrait_talker
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.system import jit
from sounds import syllables, write_wav

SOURCE = """
from liveportrait_talker.system.jit import inlined, kernel

@inlined
def _add(a, b):
    return a + b

@kernel
def total(values):
    result = 0.0
    for value in values:
        result = _add(result, value)
    return result
"""
_numbers = itertools.count()
PACKAGE = Path(liveportrait_talker.__file__).parent


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return the file of a module with a kernel."""
    file = tmp_path / "package" / "sums.py"
    file.parent.mkdir()
    file.write_text(SOURCE)
    return file


def run(file: Path) -> int:
    """Load the module as a new process would, call its kernel, and return how often the cache was used."""
    jit._digest_of.cache_clear()
    spec = importlib.util.spec_from_file_location(f"sums{next(_numbers)}", file)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.total(np.arange(5.0)) == 10.0
    return sum(module.total.stats.cache_hits.values())


def kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix != ".pyc")


def block(folder: Path) -> None:
    """Put a file where a folder would be made."""
    folder.write_text("")


def test_compiled_code_is_kept_beside_the_source(package):
    assert run(package) == 0
    assert run(package) == 1
    (file,) = kept(package.parent / "__pycache__")
    package.write_text(SOURCE.replace("return a + b", "return a - b").replace("= 0.0", "= 20.0"))
    assert run(package) == 0, "the old code was used"
    assert len(kept(package.parent / "__pycache__")) == 2
    assert file.exists()


def test_a_change_of_another_file_of_the_folder_means_a_new_compilation(package):
    """Where an `inlined` function may be."""
    other = package.with_name("shading.py")
    other.write_text("SCALE = 1.0")
    assert run(package) == 0
    assert run(package) == 1
    other.write_text("SCALE = 2.0")
    assert run(package) == 0, "the old code was used"


def test_another_version_of_the_package_means_a_new_compilation(package, monkeypatch):
    run(package)
    monkeypatch.setattr(jit, "__version__", "9.9")
    assert run(package) == 0, "the old code was used"


def _compiled(tree: ast.Module) -> list[ast.FunctionDef]:
    """Return the functions of a module that Numba compiles: the decorated ones, and those given to `kernel`."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "kernel"]
    given = {ast.unparse(call.args[0]) for call in calls}
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [f for f in functions if f.name in given or {"kernel", "inlined"} & set(map(ast.unparse, f.decorator_list))]


def test_kernels_use_nothing_of_other_folders():
    """Their compiled code would outlive a change there."""
    used, wrong = set(), []
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        imported = {alias.asname or alias.name: node for node in imports for alias in node.names}
        for function in _compiled(tree):
            names = {node.id for part in function.body for node in ast.walk(part) if isinstance(node, ast.Name)}
            for name in names & set(imported):
                used.add(name)
                origin = imported[name]
                if origin.level != 1 or origin.module is None or "." in origin.module:
                    wrong.append((file.name, function.name, name))
    assert {"ramp", "widen"} <= used, "the search finds nothing"
    assert not wrong


def test_a_read_only_package_is_cached_in_the_home_folder(package, tmp_path, monkeypatch):
    block(package.parent / "__pycache__")
    monkeypatch.setenv("LPT_CACHE", str(tmp_path / "cache"))
    assert run(package) == 0
    assert run(package) == 1
    assert len(kept(tmp_path / "cache" / "numba")) == 1


@pytest.mark.parametrize("what", ["a link", "open to all"])
def test_a_folder_that_others_may_have_filled_is_neither_read_nor_written(package, tmp_path, monkeypatch, caplog, what):
    block(package.parent / "__pycache__")
    block(tmp_path / "home")
    for variable in ("LPT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    planted = tmp_path / f"liveportrait-talker-{os.geteuid()}-numba"
    if what == "a link":
        planted.symlink_to(theirs)
    else:
        planted.mkdir()
        planted.chmod(0o777)
    with caplog.at_level(logging.WARNING):
        assert run(package) == run(package) == 0
    assert not list(theirs.iterdir()) and not list(planted.iterdir())
    assert "it is compiled in every run" in caplog.text


def test_numbas_own_variable_names_a_folder_that_is_checked_as_well(package, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "numba"))
    assert run(package) == 0
    assert run(package) == 1
    folder = tmp_path / "numba" / "liveportrait-talker"
    assert len(kept(folder)) == 1
    folder.chmod(0o777)
    second = package.parent.with_name("second") / package.name
    second.parent.mkdir()
    second.write_text(SOURCE)
    with caplog.at_level(logging.WARNING):
        assert run(second) == run(second) == 0
    assert "other users can write it" in caplog.text


@pytest.mark.parametrize("damage", ["empty", "truncated", "zeros", "zeros in the middle", "other", "a pickle"])
def test_a_damaged_file_is_replaced(package, damage):
    run(package)
    (file,) = kept(package.parent / "__pycache__")
    good = file.read_bytes()
    half = len(good) // 2
    file.write_bytes(
        {
            "empty": b"",
            "truncated": good[:half],
            "zeros": bytes(len(good)),
            "zeros in the middle": good[: half - 200] + bytes(400) + good[half + 200 :],
            "other": b"\x93NUMPY" * 100,
            "a pickle": b"cbuiltins\nexit\n(I7\ntR.",
        }[damage]
    )
    assert run(package) == 0
    renewed = file.read_bytes()
    assert renewed[:32] == hashlib.sha256(renewed[32:]).digest() and len(renewed) > half
    assert run(package) == 1


def test_a_full_disk_is_noted_once(package, monkeypatch, caplog):
    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with caplog.at_level(logging.WARNING):
        assert run(package) == run(package) == 0
    assert caplog.text.count("No space left on device") == 1
    assert not kept(package.parent / "__pycache__"), "something is left"


@pytest.mark.slow
def test_a_video_is_made_where_nothing_can_be_cached(tmp_path):
    copy = shutil.copytree(PACKAGE, tmp_path / "lib" / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in {path.parent for path in copy.rglob("*.py")}:
        block(folder / "__pycache__")
    block(tmp_path / "cache")
    voice = write_wav(tmp_path / "voice.wav", syllables(0.4))
    command = [sys.executable, "-P"] if sys.version_info >= (3, 11) else [sys.executable]
    done = subprocess.run(
        [*command, "-m", "liveportrait_talker", "generate", str(PORTRAIT), str(voice), "-o", "a.mp4"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "lib"), "LPT_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.mp4").is_file()
    assert done.stderr.count("it is compiled in every run") == 1
