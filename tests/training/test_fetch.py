"""Downloading with the real yt-dlp from a local host with failures."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import av
import pytest
from training_videos import hosting, numbers, samples, write_video

pytest.importorskip("yt_dlp")

from liveportrait_talker.errors import MediaError, OptionError
from liveportrait_talker.training import fetch as module
from liveportrait_talker.training.cut import Segment, cut_clips
from liveportrait_talker.training.fetch import Cancelled, FetchError, FetchPolicy, fetch


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("v") / "v.mp4", frames=250).read_bytes()


@pytest.fixture(scope="module")
def host():
    with hosting() as host:
        yield host


@pytest.fixture
def policy(host):
    return FetchPolicy(address_template=host.template, attempts=3, first_pause=0.01, timeout=5)


def test_a_file_is_downloaded_completely(host, content, policy, tmp_path):
    host.answers["good-_1"] = content
    found = fetch("good-_1", tmp_path, policy)
    assert found.video.read_bytes() == content and list(tmp_path.iterdir()) == [found.video] and found.sound is None


@pytest.mark.parametrize(
    ("status", "reason", "permanent"),
    [
        (404, "not found (404)", True),
        (410, "gone (410)", True),
        (451, "blocked in this country", True),
        (400, "the server refused (400)", True),
        (403, "the server refused (403)", False),
        (429, "too many requests (429)", False),
        (503, "the server refused (503)", False),
    ],
)
def test_statuses_are_classified_and_temporary_ones_retried(host, policy, tmp_path, status, reason, permanent):
    video = f"status{status}"
    host.answers[video] = status
    with pytest.raises(FetchError) as caught:
        fetch(video, tmp_path, policy)
    assert (caught.value.reason, caught.value.permanent) == (reason, permanent)
    assert host.asked[video] == (1 if permanent else 3)


@pytest.mark.parametrize("trouble", [429, 503])
def test_temporary_failures_are_waited_for(host, content, policy, tmp_path, trouble):
    host.answers[f"later{trouble}"] = lambda n: trouble if n == 0 else content
    assert fetch(f"later{trouble}", tmp_path, policy).video.read_bytes() == content


def test_a_broken_connection_is_resumed(host, content, policy, tmp_path):
    host.answers["reset"] = lambda n: ("reset", content) if n in (1, 2) else content  # 0 is only looked at
    assert fetch("reset", tmp_path, policy).video.read_bytes() == content


def test_a_permanently_broken_connection_is_temporary(host, content, policy, tmp_path):
    host.answers["broken"] = lambda n: ("reset", content) if n else content  # 0 is only looked at
    with pytest.raises(FetchError) as caught:
        fetch("broken", tmp_path, replace(policy, attempts=1))
    assert (caught.value.reason, caught.value.permanent) == ("the connection broke", False)


@pytest.mark.parametrize(("status", "reason"), [(503, "the server refused (503)"), (404, "not found (404)")])
def test_a_file_refused_after_its_page(host, content, policy, tmp_path, status, reason):
    host.answers[f"behind{status}"] = lambda n: status if n else content
    with pytest.raises(FetchError) as caught:
        fetch(f"behind{status}", tmp_path, replace(policy, attempts=1))
    assert (caught.value.reason, caught.value.permanent) == (reason, status == 404)


def test_an_unreachable_host_is_temporary(policy, tmp_path):
    with pytest.raises(FetchError) as caught:
        fetch("x", tmp_path, replace(policy, address_template="http://127.0.0.1:9/{id}", attempts=1))
    assert (caught.value.reason, caught.value.permanent) == ("the connection broke", False)


def test_too_large_a_file_is_refused(host, content, policy, tmp_path):
    host.answers["large"] = content
    with pytest.raises(FetchError, match="too large") as caught:
        fetch("large", tmp_path, replace(policy, max_bytes=5000))
    assert caught.value.permanent


def test_cancellation_stops_the_download(host, content, policy, tmp_path):
    host.answers["slow"] = ("slow", content)
    with pytest.raises(Cancelled):
        fetch("slow", tmp_path, policy, is_cancelled=lambda: host.asked["slow"] > 1)


@pytest.mark.parametrize(
    ("said", "reason", "permanent"),
    [
        ("Private video. Sign in if you've been granted access to this video", "private", True),
        ("Video unavailable. This video has been removed by the uploader", "removed", True),
        ("Video unavailable", "removed", True),
        ("This video is no longer available because the YouTube account has been terminated.", "removed", True),
        ("The uploader has not made this video available in your country", "blocked in this country", True),
        ("Sign in to confirm your age. This video may be inappropriate for some users.", "age-restricted", True),
        ("Sign in to confirm you’re not a bot.", "the host asks for a pause", False),
        ("Video unavailable. This content isn't available, try again later.", "the host asks for a pause", False),
        ("Requested format is not available. Use --list-formats", "no usable format", False),
        ("The read operation timed out", "timed out", False),
        ("Unable to extract player response; please report this", "the host's answer was not understood", False),
    ],
)
def test_messages_of_youtube_are_classified(said, reason, permanent):
    from yt_dlp.utils import DownloadError

    found = module._classify_error(DownloadError(f"ERROR: [youtube] abc: {said}"))
    assert isinstance(found, FetchError) and (found.reason, found.permanent) == (reason, permanent)


def test_a_full_disk_ends_the_run(host, content, tmp_path):
    """A real limit on the size of files (EFBIG, treated like ENOSPC), in a process of its own."""
    host.answers["full"] = content
    code = (
        "import resource, sys\nfrom pathlib import Path\nimport yt_dlp\n"
        "from liveportrait_talker.training.fetch import FetchPolicy, fetch\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))\n"
        f"fetch('full', Path({str(tmp_path)!r}), FetchPolicy(address_template={host.template!r}, attempts=1))"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False)
    assert "MediaError: the disk is full" in done.stderr, done.stderr[-800:]
    import errno

    for number in (errno.ENOSPC, errno.EDQUOT):
        assert isinstance(module._classify_error(OSError(number, "x")), MediaError)


@pytest.mark.parametrize(
    "wrong",
    [
        {"address_template": "https://example.org/"},
        {"address_template": "file:///{id}"},
        {"address_template": "{id}"},
        {"attempts": 0},
        {"timeout": float("nan")},
        {"rate_limit": 0},
        {"max_height": 10},
    ],
)
def test_invalid_policies_are_refused(wrong):
    with pytest.raises(OptionError):
        FetchPolicy(**wrong)


FORMATS = [  # as YouTube offers them
    {"format_id": "18", "ext": "mp4", "vcodec": "avc1.42001E", "acodec": "mp4a.40.2", "height": 360},
    {"format_id": "140", "ext": "m4a", "vcodec": "none", "acodec": "mp4a.40.2"},
    {"format_id": "251", "ext": "webm", "vcodec": "none", "acodec": "opus"},
    {"format_id": "136", "ext": "mp4", "vcodec": "avc1.4d401f", "acodec": "none", "height": 720},
    {"format_id": "247", "ext": "webm", "vcodec": "vp9", "acodec": "none", "height": 720},
    {"format_id": "137", "ext": "mp4", "vcodec": "avc1.640028", "acodec": "none", "height": 1080},
]


@pytest.mark.parametrize(
    ("without", "height", "chosen"),
    [
        ((), 720, ["136", "140"]),
        ((), 360, ["18"]),
        (("140", "136", "137", "247"), 720, ["18"]),
        (("136", "137", "247"), 720, ["18"]),
        (("18", "136", "247"), 2000, ["137", "140"]),
    ],
)
def test_one_or_two_files_are_chosen_without_a_merge(policy, tmp_path, without, height, chosen):
    import yt_dlp

    formats = [{**f, "url": f"http://127.0.0.1:9/{f['format_id']}"} for f in FORMATS if f["format_id"] not in without]
    settings = module._settings(tmp_path, replace(policy, max_height=height), module._Logger(), lambda progress: None)
    with yt_dlp.YoutubeDL({**settings, "simulate": True}) as downloader:
        found = downloader.process_video_result({"id": "x", "title": "x", "formats": formats}, download=True)
    assert [each["format_id"] for each in found["requested_downloads"]] == chosen


def test_video_and_audio_may_be_two_files(host, policy, tmp_path):
    """Offered by a DASH manifest, fetched as two files, cut together."""
    silent = write_video(tmp_path / "silent.mp4", frames=100, sound=False).read_bytes()
    whole = write_video(tmp_path / "whole.mp4", frames=100)
    with av.open(str(whole)) as file, av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as sound:
        stream = sound.add_stream_from_template(file.streams.audio[0])
        for packet in file.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                sound.mux(packet)
    host.answers |= {"p.mp4": silent, "s.m4a": (tmp_path / "sound.m4a").read_bytes()}
    base = host.template.removesuffix("{id}")
    host.answers["two.mpd"] = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT4S">'
        '<Period><AdaptationSet mimeType="video/mp4"><Representation id="p" codecs="avc1.42c00a" width="160" height="64" '
        f'bandwidth="9"><BaseURL>{base}p.mp4</BaseURL></Representation></AdaptationSet><AdaptationSet '
        'mimeType="audio/mp4"><Representation id="s" codecs="mp4a.40.2" bandwidth="9">'
        f"<BaseURL>{base}s.m4a</BaseURL></Representation></AdaptationSet></Period></MPD>"
    ).encode()
    work = tmp_path / "work"
    work.mkdir()
    found = fetch("two.mpd", work, policy)
    assert found.video.read_bytes() == silent and found.sound.read_bytes() == host.answers["s.m4a"]
    reasons = [
        cut_clips(video, [Segment("a", 10, 60, tmp_path / f"{sound}.mp4")], work, sound=found.sound if sound else None)
        for video, sound in ((found.video, True), (whole, False))
    ]
    assert reasons == [{"a": None}, {"a": None}]
    assert numbers(tmp_path / "True.mp4") == list(range(10, 61))
    assert (samples(tmp_path / "True.mp4") == samples(tmp_path / "False.mp4")).all()


def test_an_id_is_quoted_in_the_address():
    assert FetchPolicy().address("../a&b=1") == "https://www.youtube.com/watch?v=..%2Fa%26b%3D1"
