"""Small files that claim far more than they hold are refused at once, by their structure."""

from __future__ import annotations

import gc
import struct
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from clips import number_image
from PIL import Image

import hostile
from liveportrait_talker.errors import MediaError
from liveportrait_talker.media import VideoWriter, open_footage, read_waveform
from liveportrait_talker.media.media_file import MediaFile
from liveportrait_talker.media.timeline import read_timeline


def refusal(path: Path, **limits: float) -> str:
    with pytest.raises(MediaError) as refused:
        open_footage(path, **limits).close()  # type: ignore[arg-type]
    return str(refused.value)


@pytest.mark.parametrize("edits", [200, 5000, 20_000])
def test_edit_lists_that_repeat_a_film(tmp_path: Path, edits: int):
    path = hostile.write_mp4(tmp_path / "edits.mp4", edits=edits, samples=1000)
    assert "claims to hold far more" in refusal(path, max_seconds=1e6)


@pytest.mark.parametrize("disguise", ["first box", "bare list", "sound"])
def test_disguised_edit_lists(tmp_path: Path, disguise: str):
    path = hostile.write_mp4(tmp_path / "edits.mp4", edits=25_000, samples=1000, disguise=disguise)
    with pytest.raises(MediaError, match="claims to hold far more"):
        MediaFile(path)


def test_a_few_edits_are_honest(tmp_path: Path):
    with open_footage(hostile.write_mp4(tmp_path / "film.mp4", edits=2, samples=50)) as footage:
        assert len(footage) == 12  # 50 twice, at 1 ms each, seen at 120 frames/s


@pytest.mark.parametrize("samples", [40_000, 1_000_000])
def test_overlapping_samples(tmp_path: Path, samples: int):
    overlapping = hostile.write_mp4(tmp_path / "long.mp4", samples=40_000)
    tiny = hostile.write_mp4(tmp_path / "tiny.mp4", samples=samples, sample_size=1)
    for path in (overlapping, tiny):
        assert "claims to hold far more" in refusal(path)


def test_pictures_with_too_many_pixels(tmp_path: Path):
    assert "16383×16383, the limit is 46.7 million" in refusal(hostile.write_webp(tmp_path / "a.webp"))
    Image.new("L", (6001, 6001)).save(tmp_path / "a.jp2")
    assert "6001×6001, the limit is 35 million" in refusal(tmp_path / "a.jp2")
    assert "too many pixels" in refusal(hostile.write_png(tmp_path / "a.png", 11_000, 11_000))
    assert "too narrow (64×100000)" in refusal(hostile.write_png(tmp_path / "b.png", 64, 100_000))


def test_animations_that_would_fill_the_memory(tmp_path: Path):
    assert "too long for an animated" in refusal(hostile.write_png(tmp_path / "a.png", 1000, 1000, frames=160))


def test_grey_pictures_of_more_than_8_bits_keep_their_values(tmp_path: Path):
    """They are converted a few rows at a time: `tiff_I_10900.tif` took 2.8 GB."""
    ramp = np.linspace(0, 1, 1500 * 900).reshape(900, 1500)
    expected = np.rint(255 * ramp)
    cases = {
        "i16.png": (65535 * ramp).astype(np.uint16),
        "i32.tif": (65535 * ramp).astype(np.int32),
        "high.tif": (2**31 * ramp * 0.999).astype(np.int32),
        "f1.tif": ramp.astype(np.float32),
        "f255.tif": (255 * ramp).astype(np.float32),
    }
    for name, values in cases.items():
        Image.fromarray(values).save(tmp_path / name)
        with open_footage(tmp_path / name) as footage:
            assert np.abs(footage[0][..., 0] - expected).max() <= 1, name
    broken = ramp.astype(np.float32)
    broken[0, 0], broken[1, 1] = np.nan, -np.inf
    Image.fromarray(broken).save(tmp_path / "nan.tif")
    with open_footage(tmp_path / "nan.tif") as footage:
        assert np.abs(footage[0][2:, :, 0] - expected[2:]).max() <= 1


def test_frames_that_grow_in_mid_stream(tmp_path: Path):
    path = hostile.write_growing_h264(tmp_path / "a.h264", (160, 7680))
    assert "7680×7680, the limit is 36 million" in refusal(path)


def test_frames_that_grow_later(tmp_path: Path):
    """The first frames decide how many threads decode, and what is checked."""
    path = hostile.write_growing_h264(tmp_path / "a.h264", (*[256] * 14, 5952))
    with open_footage(path) as footage:
        shapes = {footage[k].shape for k in range(len(footage))}
    assert shapes == {(256, 256, 3)}


def test_a_raw_stream_is_not_decoded_beyond_the_limit(tmp_path: Path):
    path = hostile.write_growing_h264(tmp_path / "a.h264", (64,) * 60)  # 180 frames
    timeline = read_timeline(path, max_seconds=2)
    assert timeline is not None
    assert 2 < timeline.duration_seconds < 4
    assert "the limit is 2" in refusal(path, max_seconds=2)


def test_frames_with_data_that_pyav_does_not_know(tmp_path: Path):
    """Found by fuzzing: `frame.side_data` raises ValueError for the EXIF data that FFmpeg 8 gives frames."""
    exif = Image.Exif()
    exif[0x010E] = "a description"
    with open_footage(hostile.write_mp4(tmp_path / "a.mp4", samples=50, exif=exif)) as footage:
        assert footage[1].shape == (160, 160, 3)


@pytest.mark.parametrize(("rate", "channels"), [(1_660_992_384, 1), (0, 1), (7, 1), (8000, 60_000)])
def test_impossible_sample_rates(tmp_path: Path, rate: int, channels: int):
    """Found by fuzzing: a second of silence at 1.6 GHz takes gigabytes."""
    path = tmp_path / "a.au"
    path.write_bytes(b".snd" + struct.pack(">5I", 24, 0xFFFFFFFF, 1, rate, channels) + bytes(60_000))
    with pytest.raises(MediaError, match=r"unsupported format|not a picture, video or audio"):
        read_waveform(path)


def test_impossible_offsets(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Found by fuzzing: PyAV printed the traceback of a failed seek."""
    description = struct.pack(">d4s5I", 16_000, b"lpcm", 0, 2, 1, 1, 16)
    head = b"caff\0\1\0\0" + b"desc" + struct.pack(">q", len(description)) + description
    (tmp_path / "a.caf").write_bytes(head + b"data" + struct.pack(">q", 2**62) + bytes(4000))
    with pytest.raises(MediaError):
        read_waveform(tmp_path / "a.caf")
    assert "Traceback" not in capfd.readouterr().err


def test_containers_of_games_and_playlists_are_not_opened(tmp_path: Path):
    concat = tmp_path / "list.txt"
    concat.write_text("ffconcat version 1.0\nfile other.mp4\n")
    assert "is not a picture, video or audio file" in refusal(concat)
    hls = tmp_path / "list.m3u8"
    hls.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.ts\n")
    assert "is not a picture, video or audio file" in refusal(hls)
    assert "hls" in av.formats_available  # FFmpeg would open it


def test_closing_a_video_frees_its_decoder_at_once(tmp_path: Path):
    """Without a garbage collection: the decoder has threads, and the cache up to 64 MB of frames."""
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, size=(96, 64), fps=25, voice=None, frame_count=9, comment="c", title="t") as video:
        for k in range(9):
            video.write(number_image(k))
    collecting = gc.isenabled()
    gc.disable()
    try:
        counts = []
        for _ in range(12):
            with open_footage(path) as footage:
                footage[8]
                footage[2]
            counts.append(_threads())
    finally:
        if collecting:
            gc.enable()
    assert counts[-1] == counts[1]


def _threads() -> int:
    """Return the number of threads of this process, those of libraries included where the system tells."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else threading.active_count()


def test_samples_without_a_numpy_type(tmp_path: Path):
    """Found by fuzzing."""
    head = struct.pack(
        "<4sI8sIHHIIHH4sI", b"RIFF", 80_036, b"WAVEfmt ", 16, 1, 1, 16_000, 128_000, 8, 64, b"data", 80_000
    )
    (tmp_path / "a.wav").write_bytes(head + bytes(80_000))
    with pytest.raises(MediaError, match="unsupported format"):
        read_waveform(tmp_path / "a.wav")


def test_large_jpeg_2000_files_are_decoded_at_a_smaller_size(tmp_path: Path):
    ramp = np.linspace(0, 255, 5200, dtype=np.uint8)
    picture = Image.fromarray(np.broadcast_to(ramp, (5200, 5200)).copy())
    picture.save(tmp_path / "a.jp2")
    with open_footage(tmp_path / "a.jp2") as footage:
        assert footage.size == (2560, 2560)
        assert np.abs(footage[0][7, :, 0] - np.linspace(0, 255, 2560)).max() < 4
    picture.save(tmp_path / "b.jp2", num_resolutions=1)  # it has no smaller size
    assert "5200×5200, the limit is 16 million" in refusal(tmp_path / "b.jp2")
