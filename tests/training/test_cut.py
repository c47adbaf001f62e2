"""Clips: exact to the frame and to the sample at any frame rate, with reproducible bytes."""

from __future__ import annotations

import subprocess
import sys

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training_videos import SOUND_RATE, chirp, numbers, samples, turned, write_video

from liveportrait_talker.training.cut import Segment, cut_clips


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "25.mp4")
    write_video(folder / "30.mp4", fps=30, frames=120)
    write_video(folder / "50.mp4", fps=50, frames=200, sound=False)
    write_video(folder / "long.mp4", frames=1000)
    return folder


def cut_one(video, tmp_path, spans):
    clips = tmp_path / "clips"
    clips.mkdir(exist_ok=True)
    pieces = [Segment(name, *span, clips / f"{name}.mp4") for name, span in spans.items()]
    return cut_clips(video, pieces, tmp_path), clips


@pytest.mark.parametrize(("name", "fps"), [("25", 25), ("30", 30), ("50", 50)])
def test_frames_are_those_shown_at_25_a_second(videos, tmp_path, name, fps):
    spans = {"a": (0, 9), "b": (7, 52), "c": (20, 22), "d": (90, 99), "e": (61, 61)}
    reasons, clips = cut_one(videos / f"{name}.mp4", tmp_path, spans)
    assert reasons == dict.fromkeys(spans)
    for clip, (first, last) in spans.items():
        assert numbers(clips / f"{clip}.mp4") == [k * fps // 25 for k in range(first, last + 1)], clip
        with av.open(str(clips / f"{clip}.mp4")) as file:
            assert file.streams.video[0].average_rate == 25
            assert bool(file.streams.audio) == (fps != 50)
    assert not list(tmp_path.glob("*.part"))


def test_late_segments_are_exact(videos, tmp_path):
    spans = {"late": (900, 930), "last": (998, 999), "early": (400, 410)}
    reasons, clips = cut_one(videos / "long.mp4", tmp_path, spans)
    assert reasons == dict.fromkeys(spans)
    for clip, (first, last) in spans.items():
        assert numbers(clips / f"{clip}.mp4") == list(range(first, last + 1))
        if last - first > 9:
            assert lag(clips / f"{clip}.mp4", first, 40.0) == 0


def lag(clip, first, seconds):
    """By how many samples the clip's sound is late."""
    heard = samples(clip)
    whole = np.pad(chirp(seconds), 2000)
    start = first * SOUND_RATE // 25 + 2000
    core = heard[: len(heard) // 2 * 2]
    fits = [
        core @ whole[start + shift : start + shift + len(core)]
        for shift in range(-1500, min(1500, len(whole) - start - len(core)))
    ]
    return int(np.argmax(fits)) - 1500


@pytest.mark.parametrize("name", ["25", "30"])
def test_sound_is_exact_to_the_sample(videos, tmp_path, name):
    _, clips = cut_one(videos / f"{name}.mp4", tmp_path, {"a": (13, 62)})
    heard = samples(clips / "a.mp4")
    assert abs(len(heard) - 50 * SOUND_RATE // 25) <= 1024  # AAC's last block
    assert lag(clips / "a.mp4", 13, 4.0) == 0


def test_a_variable_rate_is_followed(tmp_path):
    stamps = list(np.cumsum([0, *[33, 33, 80, 20, 20, 200, 40, 40, 10, 30] * 6]))
    video = write_video(tmp_path / "v.mkv", frames=len(stamps), stamps=[int(s) for s in stamps], sound=False)
    reasons, clips = cut_one(video, tmp_path, {"a": (1, 50)})
    assert reasons == {"a": None}
    shown = [int(np.searchsorted(stamps, 40 * k, side="right")) - 1 for k in range(1, 51)]
    assert numbers(clips / "a.mp4") == shown


def test_a_rotated_video_becomes_upright(videos, tmp_path):
    video = turned(videos / "25.mp4", tmp_path / "turned.mp4")
    reasons, clips = cut_one(video, tmp_path, {"a": (3, 6)})
    assert reasons == {"a": None}
    with av.open(str(clips / "a.mp4")) as file:
        frame = next(file.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (64, 160, 0)
    from liveportrait_talker.media.footage import open_footage

    with open_footage(video) as source, open_footage(clips / "a.mp4") as clip:
        assert np.abs(source[3].astype(int) - clip[0]).mean() < 4


def test_bytes_do_not_depend_on_other_segments(videos, tmp_path):
    kept = []
    for number, spans in enumerate([{"a": (7, 52), "b": (10, 60)}, {"a": (7, 52), "b": (10, 60)}, {"a": (7, 52)}]):
        folder = tmp_path / str(number)
        folder.mkdir()
        _, clips = cut_one(videos / "30.mp4", folder, spans)
        kept.append((clips / "a.mp4").read_bytes())
    assert kept[0] == kept[1] == kept[2]


def test_complete_segments_of_a_truncated_video_are_kept(videos, tmp_path):
    content = (videos / "long.mp4").read_bytes()
    (tmp_path / "v.mp4").write_bytes(content[: len(content) // 2])
    reasons, clips = cut_one(tmp_path / "v.mp4", tmp_path, {"a": (5, 25), "b": (20, 990), "c": (980, 990)})
    assert reasons["a"] is None and numbers(clips / "a.mp4") == list(range(5, 26))
    for name in "bc":
        assert reasons[name].startswith("the video is too short: it ends after")
        assert not (clips / f"{name}.mp4").exists()


def test_an_unreadable_video_fails_all_segments(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"no video" * 100)
    reasons, _ = cut_one(tmp_path / "v.mp4", tmp_path, {"a": (0, 5), "b": (3, 9)})
    assert reasons == dict.fromkeys("ab", "the video is damaged: nothing in it can be read")


def test_incomplete_sound_fails_the_segment(tmp_path):
    video = write_video(tmp_path / "v.mp4", sound_seconds=2.0)
    reasons, _ = cut_one(video, tmp_path, {"a": (0, 40), "b": (30, 90)})
    assert reasons == {"a": None, "b": "the sound is not complete"}


@given(st.integers(0, 80), st.integers(0, 19))
@settings(deadline=None, max_examples=12)
def test_any_span(videos, tmp_path_factory, first, more):
    last = min(first + more, 99)
    folder = tmp_path_factory.mktemp("span")
    reasons, clips = cut_one(videos / "30.mp4", folder, {"a": (first, last)})
    assert reasons == {"a": None}
    assert numbers(clips / "a.mp4") == [k * 30 // 25 for k in range(first, last + 1)]


def test_a_full_disk_is_reported_and_leaves_no_files(videos, tmp_path):
    """A real limit on the size of files (EFBIG, treated like ENOSPC), in a process of its own."""
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom liveportrait_talker.training.cut import Segment, cut_clips\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))\n"
        f"work = Path({str(tmp_path)!r})\n"
        f"cut_clips(Path({str(videos / '25.mp4')!r}), [Segment('a', 0, 80, work / 'clip.mp4')], work)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MediaError: the disk is full" in done.stderr, done.stderr[-500:]
    assert not list(tmp_path.iterdir())


def test_the_same_frames_get_the_same_bytes_each_time(tmp_path):
    """With x264's macroblock tree one encoding in eight differed."""
    video = write_video(tmp_path / "video.mp4", fps=30, frames=120)
    made = set()
    for k in range(40):
        work = tmp_path / str(k)
        work.mkdir()
        assert cut_clips(video, [Segment("clip", 71, 97, work / "clip.mp4")], work) == {"clip": None}
        made.add((work / "clip.mp4").read_bytes())
    assert len(made) == 1
