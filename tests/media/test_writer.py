from __future__ import annotations

import os
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from clips import number_image, number_in, tone, write_sound

from liveportrait_talker.errors import MediaError
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.media import VideoWriter, check_output, muxer, open_footage, read_waveform

BEEPS = (0.4, 1.52, 2.0, 3.6)  # seconds; on frame boundaries at 25 fps
BEEP_SECONDS = 0.08


def writer(path: Path, **how: Any) -> VideoWriter:
    how = {"size": (96, 64), "fps": 25, "voice": None, "frame_count": 10, "comment": "made", "title": "a"} | how
    return VideoWriter(path, **how)


def write_numbers(path: Path, **how: Any) -> Path:
    with writer(path, **how) as video:
        for k in range(how.get("frame_count", 10)):
            video.write(number_image(k, how.get("size", (96, 64))))
    return path


def beeping(seconds: float, sample_rate: int, channels: int) -> np.ndarray:
    sound = np.zeros(round(seconds * sample_rate))
    for start in BEEPS:
        beep = tone(BEEP_SECONDS, sample_rate, 1000, 0.8)
        first = round(start * sample_rate)
        sound[first : first + len(beep)] = beep
    return np.stack([sound] * channels)


def onsets(values: np.ndarray, times: np.ndarray, threshold: float) -> np.ndarray:
    """Return the times at which `values` exceed `threshold` after at least 0.2 s below it."""
    loud = times[values > threshold]
    return loud[np.diff(loud, prepend=-1) > 0.2]


def flashes_and_beeps(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of flashes and beeps, by the time stamps of the file."""
    with av.open(str(path)) as file:
        shown = [(frame.to_ndarray(format="gray").mean(), frame.time) for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        blocks = [(frame.to_ndarray()[0], frame.time) for frame in file.decode(audio=0)]
        sample_rate = file.streams.audio[0].codec_context.sample_rate
    sound = np.concatenate([np.abs(block) for block, _ in blocks])
    times = np.concatenate([start + np.arange(len(block)) / sample_rate for block, start in blocks])
    brightness, frame_times = np.array(shown).T
    return onsets(brightness, frame_times, 128), onsets(sound, times, 0.3)


@pytest.mark.parametrize(
    ("name", "sample_rate", "channels", "codec", "fps"),
    [
        ("a.wav", 16_000, 1, "pcm_s16le", 25.0),
        ("a.wav", 44_100, 2, "pcm_s16le", 25.0),
        ("a.wav", 96_000, 2, "pcm_s24le", 30000 / 1001),
        ("a.wav", 8_000, 1, "pcm_u8", 25.0),
        ("a.wav", 37_800, 1, "pcm_s16le", 50.0),
        ("a.mp3", 48_000, 2, "libmp3lame", 25.0),
        ("a.m4a", 44_100, 2, "aac", 12.5),
        ("a.ogg", 48_000, 2, "libopus", 24.0),
    ],
)
def test_flash_and_beep(tmp_path: Path, name: str, sample_rate: int, channels: int, codec: str, fps: float) -> None:
    layout = "mono" if channels == 1 else "stereo"
    voice = write_sound(tmp_path / name, beeping(4.1, sample_rate, channels), sample_rate, codec=codec, layout=layout)
    waveform = read_waveform(voice)
    path = tmp_path / "out.mp4"
    count = waveform.frame_count(fps)
    with writer(path, voice=voice, fps=fps, frame_count=count) as video:
        for k in range(count):
            lit = any(0 <= k / fps - start + 1e-6 < BEEP_SECONDS + 1 / fps for start in BEEPS)
            video.write(np.full((64, 96, 3), 255 if lit else 0, np.uint8))
    flashes, beeps = flashes_and_beeps(path)
    first_frames = [np.ceil(start * fps - 1e-5) / fps for start in BEEPS]
    np.testing.assert_allclose(flashes, first_frames, atol=1e-3)
    np.testing.assert_allclose(beeps, BEEPS, atol=0.010)
    print(f"{name} {sample_rate}: beep − flash {1000 * np.abs(beeps - BEEPS).max():.1f} ms")
    with av.open(str(path)) as file:
        audio, video = file.streams.audio[0], file.streams.video[0]
        assert audio.time_base is not None and video.time_base is not None
        assert float(audio.duration * audio.time_base) == pytest.approx(waveform.duration_seconds, abs=0.002)
        assert abs(float(video.duration * video.time_base) - waveform.duration_seconds) <= 0.5 / fps + 0.001
        assert audio.codec_context.sample_rate == {96_000: 48_000, 37_800: 44_100}.get(sample_rate, sample_rate)
        assert audio.codec_context.layout.nb_channels == channels
        assert video.average_rate == Fraction(fps).limit_denominator(1001)


def test_all_frames_are_written_in_order(tmp_path: Path) -> None:
    with open_footage(write_numbers(tmp_path / "a.mp4", frame_count=100)) as footage:
        assert (footage.fps, footage.size) == (25, (96, 64))
        assert [number_in(footage[k]) for k in range(len(footage))] == list(range(100))


def test_colours_are_preserved(tmp_path: Path) -> None:
    patches = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    patches[0, :4] = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 0, 255]]
    image = patches.repeat(32, 0).repeat(32, 1)
    path = tmp_path / "a.mp4"
    with writer(path, size=(384, 256), frame_count=3, crf=1) as video:
        for _ in range(3):
            video.write(image)
    with open_footage(path) as footage:
        error = np.abs(footage[1][16::32, 16::32].astype(int) - patches)
    assert error.max() <= 3  # at best 2 with 8-bit YUV
    assert error.mean() < 0.8
    with av.open(str(path)) as file:
        context = file.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert context.pix_fmt == "yuv420p"


@pytest.mark.parametrize(("width", "height"), [(97, 64), (96, 65), (97, 65)])
def test_odd_sizes_are_extended_by_one_pixel(
    tmp_path: Path, width: int, height: int, caplog: pytest.LogCaptureFixture
) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], (height, width, 3))
    path = tmp_path / "odd.mp4"
    with writer(path, size=(width, height), frame_count=2, crf=1) as video:
        video.write(ramp)
        video.write(ramp)
    with open_footage(path) as footage:
        assert footage.size == (width + width % 2, height + height % 2)
        assert np.abs(footage[1][:height, :width].astype(int) - ramp).max() <= 4
    assert caplog.text.count("extended by one pixel") == 1


def test_metadata_and_streaming(tmp_path: Path) -> None:
    path = write_numbers(tmp_path / "a.mp4", comment="AI-generated with X 1.0", title="voice on portrait")
    with av.open(str(path)) as file:
        assert file.metadata["comment"] == file.metadata["synopsis"] == "AI-generated with X 1.0"
        assert file.metadata["title"] == "voice on portrait"
    content = path.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_pixel_aspect_is_written(tmp_path: Path) -> None:
    path = write_numbers(tmp_path / "a.mp4", pixel_aspect=Fraction(4, 3))
    with open_footage(path) as footage:
        assert footage.pixel_aspect == Fraction(4, 3)


def test_audio_ends_with_a_shorter_video(tmp_path: Path) -> None:
    voice = write_sound(tmp_path / "a.wav", tone(4.0, 16_000)[None], 16_000)
    path = write_numbers(tmp_path / "a.mp4", voice=voice, frame_count=25)
    assert read_waveform(path).duration_seconds == pytest.approx(1.02, abs=0.001)


def test_surround_audio_with_nan(tmp_path: Path) -> None:
    sound = np.stack([tone(1.0, 48_000)] * 6)
    sound[:, 1000:1100] = np.nan
    voice = write_sound(tmp_path / "a.wav", sound, 48_000, codec="pcm_f32le", layout="5.1")
    path = write_numbers(tmp_path / "a.mp4", voice=voice, frame_count=25)
    with av.open(str(path)) as file:
        assert file.streams.audio[0].codec_context.layout.nb_channels == 2
    samples = read_waveform(path).samples
    assert np.isfinite(samples).all()
    assert np.abs(samples[2000:]).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_exception_leaves_no_file(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), writer(tmp_path / "a.mp4") as video:
        video.write(number_image(0))
        raise error
    assert not list(tmp_path.iterdir())


def test_existing_file_is_kept_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(MediaError, match=r"a.mp4 exists already; use --overwrite"):
        writer(path)
    with pytest.raises(RuntimeError), writer(path, overwrite=True) as video:
        video.write(number_image(0))
        raise RuntimeError
    assert path.read_bytes() == b"old"
    write_numbers(path, overwrite=True)
    assert len(path.read_bytes()) > 1000


def test_wrong_frames_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="9 of 10 frames"), writer(tmp_path / "a.mp4") as video:
        for k in range(9):
            video.write(number_image(k))
    with (
        pytest.raises(ValueError, match="all 1 frames are written"),
        writer(tmp_path / "a.mp4", frame_count=1) as video,
    ):
        video.write(number_image(0))
        video.write(number_image(1))
    with pytest.raises(ValueError, match=r"must be \(64, 96, 3\) uint8"), writer(tmp_path / "a.mp4") as video:
        video.write(np.zeros((64, 64, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_unreadable_voice_is_reported(tmp_path: Path) -> None:
    (tmp_path / "voice.wav").write_bytes(b"nonsense" * 100)
    with pytest.raises(MediaError, match=r"voice.wav is not"), writer(tmp_path / "a.mp4", voice=tmp_path / "voice.wav"):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["voice.wav"]


def test_voice_is_not_overwritten(tmp_path: Path) -> None:
    path = write_numbers(tmp_path / "a.mp4")
    with pytest.raises(MediaError, match="is the voice and would be overwritten"):
        writer(path, voice=path, overwrite=True)


def test_check_output(tmp_path: Path) -> None:
    check_output(tmp_path / "fine.mp4", overwrite=False)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    for path, message in (
        (tmp_path, "is a folder; name a file in it"),
        (tmp_path / "a.avi", r"a.avi must end in .mp4"),
        (tmp_path / "none" / "a.mp4", "none for a.mp4 does not exist; create it first"),
        (tmp_path / "file" / "a.mp4", "file is not a folder|cannot be written"),
        (tmp_path / "pipe.mp4", "is not a regular file"),
        (tmp_path / ("x" * 300 + ".mp4"), "File name too long"),
    ):
        with pytest.raises(MediaError, match=message):
            check_output(path, overwrite=True)
    if os.geteuid():  # root may write anywhere
        tmp_path.chmod(0o500)
        with pytest.raises(MediaError, match="is not writable"):
            check_output(tmp_path / "a.mp4", overwrite=False)
        tmp_path.chmod(0o700)


def test_file_created_meanwhile_is_kept(tmp_path: Path) -> None:
    """docs/earlier_systems.md, defect 52: two concurrent runs."""
    path = tmp_path / "a.mp4"
    with pytest.raises(MediaError, match="was created meanwhile"), writer(path, frame_count=1) as video:
        video.write(number_image(0))
        path.write_bytes(b"another run's")
    assert path.read_bytes() == b"another run's"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(("width", "height"), [(97, 64), (96, 65), (97, 65)])
def test_odd_sizes_are_not_resampled(tmp_path: Path, width: int, height: int) -> None:
    """docs/earlier_systems.md, defect 48: resampling by one pixel would blur the image."""
    grain = np.random.default_rng(0).integers(60, 190, (height, width, 1)).astype(np.uint8).repeat(3, axis=2)
    with writer(tmp_path / "a.mp4", size=(width, height), frame_count=2, crf=1) as video:
        video.write(grain)
        video.write(grain)
    with open_footage(tmp_path / "a.mp4") as footage:
        assert np.abs(footage[1][:height, :width].astype(int) - grain).max() <= 8


def test_stopping_does_not_depend_on_queue_notifications(tmp_path: Path) -> None:
    """Ctrl-C inside `Queue.put` can lose the notification of later items, which once caused a hang."""

    def interrupt() -> None:
        with pytest.raises(KeyboardInterrupt), writer(tmp_path / "o.mp4") as video:
            video.write(number_image(0, (96, 64)))
            time.sleep(0.3)  # the encoder is waiting
            video._queue.not_empty.notify = lambda n=1: None  # type: ignore[method-assign]
            raise KeyboardInterrupt

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert not list(tmp_path.iterdir())


def test_large_frames_lose_no_more_to_the_encoder_than_by_the_slower_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A face moves by fractions of a pixel over a background that stands still. Grey, so that no matrix matters."""
    width = height = 1300
    count = 20
    image = cv2.resize(
        cv2.imread(str(PORTRAIT), cv2.IMREAD_GRAYSCALE), (width, height), interpolation=cv2.INTER_LANCZOS4
    )
    frames = []
    for k in range(count):
        shift = np.array([[1, 0, 3 * np.sin(k / 3)], [0, 1, 2.2 * np.cos(k / 4)]])
        moved, frame = cv2.warpAffine(image, shift, (width, height), flags=cv2.INTER_CUBIC), image.copy()
        frame[200:1100, 350:950] = moved[200:1100, 350:950]
        frames.append(np.stack([frame] * 3, axis=-1))
    for name, large in (("ours.mp4", muxer._LARGE), ("slower.mp4", 10**9)):
        monkeypatch.setattr(muxer, "_LARGE", large)
        with writer(tmp_path / name, size=(width, height), frame_count=count, crf=14) as video:
            for frame in frames:
                video.write(frame)
    ours, slower = (_luma_psnr(tmp_path / name, frames) for name in ("ours.mp4", "slower.mp4"))
    assert ours > slower - 0.05


def _luma_psnr(path: Path, frames: list[np.ndarray]) -> float:
    """Compare the luma of a video with that of grey frames, up to gain and offset."""
    with av.open(str(path)) as file:
        decoded = [frame.to_ndarray(format="gray").astype(float) for frame in file.decode(video=0)]
    errors = []
    for drawn, seen in zip(frames, decoded, strict=True):
        luma = drawn[..., 0].astype(float)
        gain, offset = np.polyfit(luma[::7, ::7].ravel(), seen[::7, ::7].ravel(), 1)
        errors.append(np.mean((gain * luma + offset - seen) ** 2))
    return float(10 * np.log10(255**2 / np.mean(errors)))
