"""Outputs that cannot be written are refused before the work starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from liveportrait_talker.errors import MediaError
from liveportrait_talker.media import check_output
from liveportrait_talker.media.image_output import check_image_output


@pytest.fixture(params=["mp4", "png"])
def check(request):
    def run(path: Path, overwrite: bool) -> None:
        (check_output if request.param == "mp4" else check_image_output)(
            path.with_suffix(f".{request.param}"), overwrite
        )

    run.suffix = f".{request.param}"  # type: ignore[attr-defined]
    return run


def test_links_that_refer_to_each_other(tmp_path, check):
    one, other = tmp_path / f"a{check.suffix}", tmp_path / f"b{check.suffix}"
    one.symlink_to(other)
    other.symlink_to(one)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (one, tmp_path / "loop" / "c.x"):
        with pytest.raises(MediaError, match="cannot be written"):
            check(path, True)


def test_a_link_into_a_missing_folder(tmp_path, check):
    link = tmp_path / f"a{check.suffix}"
    link.symlink_to(tmp_path / "nowhere" / f"b{check.suffix}")
    with pytest.raises(MediaError, match="nowhere"):
        check(link, True)
    (tmp_path / "nowhere").mkdir()
    check(link, False)


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "é" * 300, "a/" * 3000 + "b"], ids=ascii)
def test_impossible_names(tmp_path, check, name):
    with pytest.raises(MediaError, match=r"characters that file names|cannot be written \(File name too long\)"):
        check(tmp_path / f"{name}.x", False)
