from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import number_image, number_in, tone, write_clip, write_sound
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liveportrait_talker.errors import MediaError
from liveportrait_talker.media import Footage, open_footage, read_waveform, video

CLIPS = {
    "plain.mp4": {},
    "keys.mp4": {"options": {"g": "7", "bf": "3"}},
    "open_gop.mkv": {"options": {"x264-params": "open-gop=1:keyint=9:bframes=3:scenecut=0"}},
    "a.ts": {"options": {"g": "11", "bf": "2"}},
    "a.avi": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "a.mov": {"codec": "mjpeg"},
    "a.webm": {"codec": "libvpx", "options": {"g": "10", "deadline": "realtime", "cpu-used": "8"}},
    "bare.h264": {"options": {"bf": "2"}},
}


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_forward_and_backward(numbered_clip: Callable[..., Path], name: str) -> None:
    with open_footage(numbered_clip(name, **CLIPS[name])) as footage:
        assert (len(footage), footage.fps, footage.size) == (60, 25, (96, 64))
        assert [number_in(footage[k]) for k in range(60)] == list(range(60))
        assert [number_in(footage[k]) for k in reversed(range(60))] == list(reversed(range(60)))


@pytest.mark.parametrize("name", CLIPS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, 59), min_size=1, max_size=12), capacity=st.integers(2, 9))
def test_any_order_gives_the_same_frames(
    numbered_clip: Callable[..., Path], name: str, order: list[int], capacity: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video, "CACHE_BYTES", capacity * 3 * 96 * 64)
        with open_footage(numbered_clip(name, **CLIPS[name])) as footage:
            assert [number_in(footage[k]) for k in order] == order
            assert len(footage._frames._cache) <= capacity  # type: ignore[union-attr]


def test_frames_are_read_only_and_indices_are_checked(numbered_clip: Callable[..., Path]) -> None:
    with open_footage(numbered_clip("plain.mp4")) as footage:
        with pytest.raises(ValueError, match="read-only"):
            footage[0][0] = 0
        for k in (-1, 60):
            with pytest.raises(IndexError, match=f"frame {k} of 60 in plain.mp4"):
                footage[k]
        assert "plain.mp4, 96×64, 60 frames, 25 fps" in repr(footage)
        assert footage.pixel_aspect == 1


@pytest.mark.parametrize(
    ("fps", "wanted"), [(Fraction(30000, 1001), 30000 / 1001), (Fraction(24000, 1001), 24000 / 1001), (50, 50), (2, 5)]
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_rates_are_exact_and_within_bounds(tmp_path: Path, fps: Fraction, wanted: float, name: str) -> None:
    path = write_clip(tmp_path / name, (number_image(k) for k in range(20)), fps=fps)
    with open_footage(path) as footage:
        assert footage.fps == pytest.approx(wanted, rel=1e-9)
        if fps != 2:
            assert [number_in(footage[k]) for k in range(len(footage))] == list(range(20))
        else:  # 2 fps, resampled to 5
            assert [number_in(footage[k]) for k in range(10)] == [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]


def test_variable_frame_rate(tmp_path: Path) -> None:
    times = np.cumsum([0, *[40, 80, 120] * 15]).tolist()  # ms
    pictures = (number_image(k) for k in range(len(times)))
    path = write_clip(tmp_path / "a.mp4", pictures, times=times, time_base=Fraction(1, 1000), fps=25)
    with open_footage(path) as footage:
        assert footage.fps is not None
        assert footage.fps == pytest.approx(1000 * len(times) / (times[-1] + 80), rel=0.02)
        for k in range(len(footage)):
            assert number_in(footage[k]) == np.searchsorted(times, k / footage.fps * 1000 + 1e-3, side="right") - 1


def test_jitter_neither_repeats_nor_drops_frames(tmp_path: Path) -> None:
    times = [round(1000 * k / 30) + (0, 7, -6, 3)[k % 4] * (0 < k < 59) for k in range(60)]
    path = write_clip(
        tmp_path / "a.mkv", (number_image(k) for k in range(60)), times=times, time_base=Fraction(1, 1000), fps=30
    )
    with open_footage(path) as footage:
        assert [number_in(footage[k]) for k in range(len(footage))] == list(range(60))


def test_rotation_by_metadata(tmp_path: Path) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, :48] = 255  # the top left corner, as stored
    path = write_clip(tmp_path / "a.mp4", [image] * 3)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    for clockwise, numbers, corner in ((90, (0, 1, -1, 0), (0, -1)), (180, (-1, 0, 0, -1), (-1, -1))):
        for place, number in zip((0, 1, 3, 4), numbers, strict=True):
            content[matrix + 4 * place : matrix + 4 * place + 4] = (number << 16).to_bytes(4, "big", signed=True)
        path.write_bytes(content)
        with open_footage(path) as footage:
            assert footage.size == ((64, 96) if clockwise == 90 else (96, 64))
            assert footage[0].mean(axis=2)[corner] > 200
            assert footage[0].mean() == pytest.approx(64, abs=4)


def test_colours_of_a_video(tmp_path: Path) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :32], image[:, 32:64], image[:, 64:] = (200, 40, 60), (30, 180, 90), (50, 60, 210)
    path = write_clip(tmp_path / "a.mp4", [image] * 3, options={"crf": "4"})
    with open_footage(path) as footage:
        inside = np.s_[8:-8, [10, 48, 80]]
        assert np.abs(footage[1][inside].astype(int) - image[inside]).max() <= 6


def test_scaling_down_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_clip(tmp_path / "a.mp4", (number_image(k, (192, 128)) for k in range(5)))
    with open_footage(path, max_side=96) as footage:
        assert footage.size == (96, 64)
        assert number_in(footage[3]) == 3
    assert "a.mp4 is scaled down from 192×128 to 96×64; --max-size" in caplog.text


def test_truncated_video_is_read_as_far_as_possible(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 64, 96, 3), np.uint8)
    path = write_clip(tmp_path / "cut.mp4", noise)
    whole = write_clip(tmp_path / "whole.ts", noise)
    for file in (path, whole):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with caplog.at_level(logging.WARNING), open_footage(file) as footage:
            assert 10 < len(footage) < 45
            for k in range(len(footage)):
                assert footage[k].shape == (64, 96, 3)


def test_unsuitable_files_are_rejected(tmp_path: Path, numbered_clip: Callable[..., Path]) -> None:
    sound = write_sound(tmp_path / "voice.wav", tone(1.0, 16_000)[None], 16_000)
    with pytest.raises(MediaError, match=r"voice.wav has no picture; give a photo or a video"):
        open_footage(sound)
    clip = numbered_clip("plain.mp4")
    with pytest.raises(MediaError, match=r"plain.mp4 is 2 seconds long, the limit is 1; cut it"):
        open_footage(clip, max_seconds=1)
    with pytest.raises(MediaError, match=r"plain.mp4 has too many pixels \(96×64, the limit is 0.005 million\)"):
        open_footage(clip, max_pixels=5000)
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    with pytest.raises(MediaError, match=r"list.mp4 is not a picture, video or audio file"):
        open_footage(playlist)


def test_unknown_codecs(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mp4", [number_image(k) for k in range(3)])
    film.write_bytes(film.read_bytes().replace(b"avc1", b"xyz1"))
    with pytest.raises(MediaError, match=r"film.mp4 has an unsupported video format"):
        open_footage(film)
    voice = write_sound(tmp_path / "voice.mov", tone(1.0, 16_000)[None], 16_000)
    voice.write_bytes(voice.read_bytes().replace(b"sowt", b"xyz1"))
    with pytest.raises(MediaError, match=r"voice.mov has audio of an unsupported format"):
        read_waveform(voice)


def test_footage_from_arrays() -> None:
    still = Footage.from_array("a", number_image(3))
    assert (still.is_still, len(still), still.size) == (True, 1, (96, 64))
    moving = Footage.from_frames("b", [number_image(k) for k in range(4)], fps=25)
    assert (moving.is_still, len(moving), number_in(moving[2])) == (False, 4, 2)
    with pytest.raises(ValueError, match=r"must be \(H, W, 3\) uint8"):
        Footage.from_array("c", np.zeros((4, 4), np.uint8))


def test_the_first_frames_share_the_video():
    footage = Footage.from_frames("clip", [number_image(k) for k in range(5)], 25)
    short = footage.first(3)
    assert [number_in(short[k]) for k in range(len(short))] == [0, 1, 2] and short.fps == 25
    assert footage.first(5) is footage and footage.first(9) is footage
