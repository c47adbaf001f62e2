"""The cache: where it is, and that nobody else can have put anything into it."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import pytest

from liveportrait_talker.system.cache import cache_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows keeps a user's files apart by itself")


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the home folder unusable; return the temporary folder."""
    blocked, temporary = tmp_path / "home", tmp_path / "tmp"
    blocked.write_text("a file, in which no folder can be made")
    temporary.mkdir()
    monkeypatch.setenv("HOME", str(blocked))
    for variable in ("XDG_CACHE_HOME", "LPT_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return temporary


def test_the_cache_is_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LPT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    folder = cache_folder("poses")
    assert folder == tmp_path / ".cache" / "liveportrait-talker" / "poses"
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("poses") == tmp_path / "xdg" / "liveportrait-talker" / "poses"


def test_without_a_home_it_is_in_a_private_folder(no_home):
    folder = cache_folder("numba")
    assert folder.parent == no_home
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "kept").touch()
    assert cache_folder("numba") == folder


def _plant_a_link(folder: Path) -> None:
    (folder.parent / "theirs").mkdir(0o700)
    folder.symlink_to(folder.parent / "theirs")


def _plant_an_open_folder(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def _plant_a_folder_of_the_group(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o770)


def _plant_a_folder_of_another_user(folder: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder to another user")
    folder.mkdir(0o700)
    os.chown(folder, 12345, 12345)


def _give_the_folder_above_to_another_user(folder: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder to another user")
    folder.parent.chmod(0o1777)
    os.chown(folder.parent, 12345, 12345)


def _plant_a_file(folder: Path) -> None:
    folder.touch()


def _open_the_folder_above(folder: Path) -> None:
    folder.parent.chmod(0o777)  # and not sticky, as the system's temporary folder is


PLANTS = [
    (_plant_a_link, "link or a file"),
    (_plant_an_open_folder, "other users can write"),
    (_plant_a_folder_of_the_group, "other users can write"),
    (_plant_a_folder_of_another_user, "belongs to another user"),
    (_plant_a_file, "link or a file"),
    (_open_the_folder_above, "other users can write"),
    (_give_the_folder_above_to_another_user, "other users can write"),
]


@pytest.mark.parametrize(("plant", "reason"), PLANTS)
def test_a_folder_that_others_may_have_filled_is_not_used(no_home, plant, reason):
    plant(no_home / f"liveportrait-talker-{os.geteuid()}-numba")
    with pytest.raises(OSError, match=r"Not a directory|folder"):  # the reason is that of the home folder
        cache_folder("numba")


@pytest.mark.parametrize(("plant", "reason"), PLANTS)
@pytest.mark.parametrize("variable", ["LPT_CACHE", "XDG_CACHE_HOME"])
def test_nor_is_a_configured_one(no_home, monkeypatch, variable, plant, reason):
    configured = no_home / "configured"
    folder = configured / "numba" if variable == "LPT_CACHE" else configured / "liveportrait-talker" / "numba"
    folder.parent.mkdir(parents=True)
    monkeypatch.setenv(variable, str(configured))
    plant(folder)
    if variable == "LPT_CACHE":  # there is no other place
        with pytest.raises(OSError, match=reason):
            cache_folder("numba")
    else:
        assert cache_folder("numba") == no_home / f"liveportrait-talker-{os.geteuid()}-numba"


def test_an_unknown_home_folder_is_no_internal_error(no_home, monkeypatch):
    monkeypatch.setenv("LPT_CACHE", "~nosuchuser/cache")
    with pytest.raises(OSError, match="not known"):
        cache_folder("numba")


def test_a_folder_that_others_can_write_is_named_once_with_the_remedy(no_home, monkeypatch, caplog):
    """As folders are that were made under umask 002."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(no_home))
    folder = no_home / "liveportrait-talker" / "poses"
    folder.mkdir(parents=True)
    folder.chmod(0o775)
    with caplog.at_level(logging.WARNING):
        assert cache_folder("poses") == cache_folder("poses") != folder
    (warning,) = caplog.messages
    assert f"chmod go-w {folder}" in warning
    folder.chmod(0o755)
    assert cache_folder("poses") == folder


def test_the_remedy_names_the_folder_above_where_that_is_open(no_home, monkeypatch):
    monkeypatch.setenv("LPT_CACHE", str(no_home / "cache"))
    _open_the_folder_above(no_home / "cache")
    with pytest.raises(OSError, match=f"chmod go-w {no_home}:"):
        cache_folder("poses")


def test_a_home_that_is_not_writable_is_no_warning(no_home, caplog):
    with caplog.at_level(logging.WARNING):
        cache_folder("poses")
    assert not caplog.messages
