"""Checks of input files in a child process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import hostile
from liveportrait_talker import AnimateOptions, MediaError, TalkOptions, check_media
from liveportrait_talker.examples import PORTRAIT, VOICE
from liveportrait_talker.options.edit import EditSetup
from liveportrait_talker.pipelines.media_check import MediaChecks


def test_good_files_pass():
    check_media(sources=PORTRAIT, voices=[VOICE])
    check_media(sources=[str(PORTRAIT)], voices=str(VOICE), options=TalkOptions(max_seconds=20))
    check_media()


def test_limits_of_the_options():
    with pytest.raises(MediaError, match=r"portrait\.png has too many pixels"):
        check_media(sources=PORTRAIT, options=TalkOptions(max_megapixels=0.2))
    with pytest.raises(MediaError, match=r"voice\.wav is longer than the limit of 2 seconds"):
        check_media(voices=VOICE, options=TalkOptions(max_seconds=2))


def test_a_suffix_does_not_keep_a_source_from_being_checked(tmp_path: Path):
    film = hostile.write_mp4(tmp_path / "film.mp4", edits=20_000, samples=1000)
    disguised = Path(shutil.copy(film, tmp_path / "film.npz"))
    with pytest.raises(MediaError, match=r"film\.npz is damaged: it claims"):
        check_media(sources=disguised)


@pytest.mark.parametrize("options", [TalkOptions, AnimateOptions, EditSetup])
def test_the_files_of_mouths_are_checked(options: type, tmp_path: Path):
    film = hostile.write_mp4(tmp_path / "film.mp4", edits=20_000, samples=1000)
    with pytest.raises(MediaError, match=r"film\.mp4 is damaged: it claims"):
        check_media(sources=PORTRAIT, options=options(mouth_from=(PORTRAIT, film)))


@pytest.mark.parametrize(
    ("name", "sentence"), [("motion.npz", "motion template"), ("motion.mp4", "not a picture, video or audio file")]
)
def test_what_is_followed_may_be_a_motion_template(tmp_path: Path, name: str, sentence: str):
    (tmp_path / name).write_bytes(b"PK nothing")
    with MediaChecks() as checks, pytest.raises(MediaError, match=sentence):
        checks.check(TalkOptions(), driving=tmp_path / name)
