"""Unusual and damaged files: they can be read, or the error is one clear sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from liveportrait_talker.errors import MediaError
from liveportrait_talker.media import open_footage, read_waveform

STILLS = {
    "no_face.jpg": (640, 480),
    "two_faces.jpg": (900, 512),
    "rgb_16bit.png": (256, 256),
    "gray.png": (256, 256),
    "palette.png": (256, 256),
    "rgba.png": (256, 256),
    "cmyk.jpg": (256, 256),
    "exif_rotated.jpg": (354, 474),
    "portrait.webp": (256, 256),
    "portrait.avif": (256, 256),
    "portrait.heic": (256, 256),
    "odd_321x241.png": (321, 241),
    "huge_8000x6000.jpg": (2560, 1920),
}
VIDEOS = {  # size, frames, fps
    "animated.gif": ((160, 160), 3, 25 / 3),
    "no_audio.mp4": ((320, 320), 75, 25),
    "no_face.mp4": ((320, 240), 50, 25),
    "odd_321x241.mp4": ((321, 241), 75, 25),
    "rotated_by_metadata.mp4": ((320, 240), 75, 25),
    "truncated.mp4": ((320, 320), 31, 25),
    "variable_rate.mp4": ((320, 320), 46, 46 / 3.04),
}
VOICES = {
    "u8.wav": 2.5,
    "s24.wav": 2.5,
    "stereo_48k.mp3": 2.5,
    "silence_2s.wav": 2.0,
    "nan_float.wav": 2.5,
    "audio_only.mp4": 3.0,
    "truncated.mp4": 1.15,
}
NO_FOOTAGE = {
    "empty.png": "is empty",
    "truncated.png": "is damaged or incomplete",
    "text_renamed.jpg": "is not a picture, video or audio file",
    "one_pixel.png": r"is too small \(1×1\)",
    "truncated_no_index.mp4": "is not a picture, video or audio file that can be read, or it is damaged",
    "audio_only.mp4": "has no picture",
    "u8.wav": "has no picture",
}
NO_VOICE = {
    "zero_samples.wav": "an audio stream without samples",
    "20ms.wav": "has only 20 ms of audio",
    "no_audio.mp4": "has no audio",
    "truncated_no_index.mp4": "is not a picture, video or audio file that can be read, or it is damaged",
    "text_renamed.jpg": "is not a picture, video or audio file",
    "gray.png": "has no audio",
    "empty.png": "is empty",
}
WARNED = {
    "huge_8000x6000.jpg": "--max-size",
    "truncated.mp4": "can be read",
    "nan_float.wav": "400 samples",
}

Find = Callable[[str], Path]


@pytest.mark.parametrize("name", STILLS)
def test_stills(bad_file: Find, name: str, caplog: pytest.LogCaptureFixture) -> None:
    footage = open_footage(bad_file(name))
    assert (footage.is_still, len(footage), footage.size) == (True, 1, STILLS[name])
    assert (WARNED.get(name, "") in caplog.text) and (name in WARNED) == bool(caplog.text)


@pytest.mark.parametrize("name", ["cmyk.jpg", "palette.png", "portrait.webp", "portrait.avif", "portrait.heic"])
def test_image_is_the_same_in_every_format(bad_file: Find, name: str) -> None:
    expected = open_footage(bad_file("rgb_16bit.png"))[0].astype(int)
    assert np.abs(open_footage(bad_file(name))[0] - expected).mean() < 2


@pytest.mark.parametrize("name", VIDEOS)
def test_videos(bad_file: Find, name: str, caplog: pytest.LogCaptureFixture) -> None:
    size, frames, fps = VIDEOS[name]
    with open_footage(bad_file(name)) as footage:
        assert (footage.size, len(footage)) == (size, frames)
        assert footage.fps == pytest.approx(fps)
        for k in (0, frames - 1, frames // 2):
            assert footage[k].shape == (size[1], size[0], 3)
    assert (WARNED.get(name, "") in caplog.text) and (name in WARNED) == bool(caplog.text)


def test_rotated_by_metadata_is_upright(bad_file: Find) -> None:
    with open_footage(bad_file("rotated_by_metadata.mp4")) as rotated, open_footage(bad_file("no_audio.mp4")) as plain:
        woman = plain[0].astype(int)  # the rotated video shows 240 of these 320 rows

        def difference(image: np.ndarray) -> float:
            return min(float(np.abs(image - woman[top : top + 240]).mean()) for top in range(81))

        assert difference(rotated[0]) < 0.5 * difference(rotated[0][::-1, ::-1])


@pytest.mark.parametrize("name", VOICES)
def test_voices(bad_file: Find, name: str, caplog: pytest.LogCaptureFixture) -> None:
    voice = read_waveform(bad_file(name))
    assert voice.duration_seconds == pytest.approx(VOICES[name], abs=0.02)
    assert np.isfinite(voice.samples).all()
    assert (WARNED.get(name, "") in caplog.text) and (name in WARNED) == bool(caplog.text)


@pytest.mark.parametrize(
    ("name", "as_voice"), [*((name, False) for name in NO_FOOTAGE), *((name, True) for name in NO_VOICE)]
)
def test_clear_errors(bad_file: Find, name: str, as_voice: bool, capfd: pytest.CaptureFixture[str]) -> None:
    message = NO_VOICE[name] if as_voice else NO_FOOTAGE[name]
    with pytest.raises(MediaError, match=message) as caught:
        (read_waveform if as_voice else open_footage)(bad_file(name))
    text = str(caught.value)
    assert text.startswith(name) and "\n" not in text and not text.endswith(".")
    assert capfd.readouterr() == ("", "")  # FFmpeg prints nothing


def test_all_bad_files_are_tested(bad_file: Find) -> None:
    known = {*STILLS, *VIDEOS, *VOICES, *NO_FOOTAGE, *NO_VOICE}
    assert {path.name for path in bad_file("empty.png").parent.iterdir()} <= known
