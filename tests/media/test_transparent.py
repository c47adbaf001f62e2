"""Videos whose frames have an opacity: WebM, QuickTime and numbered pictures."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from liveportrait_talker.errors import MediaError
from liveportrait_talker.media import VideoWriter, check_output
from liveportrait_talker.media.image_sequence import SequenceWriter, check_sequence_output, is_sequence_name
from sounds import syllables, write_wav

TEXTS = {"title": "a title", "comment": "AI-generated: a test"}


def frames(count: int = 5) -> list[np.ndarray]:
    """Return (48, 64, 4) images: an orange square on nothing, one column further right in each."""
    images = np.zeros((count, 48, 64, 4), np.uint8)
    for k, image in enumerate(images):
        image[8:40, 8 + k : 40 + k] = (240, 140, 20, 255)
    return list(images)


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        if video.codec_context.name != "vp9":
            return [frame.to_ndarray(format="rgba") for frame in container.decode(video)]
        decoder = av.CodecContext.create("libvpx-vp9", "r")  # FFmpeg's own ignores the opacity
        return [f.to_ndarray(format="rgba") for packet in container.demux(video) for f in decoder.decode(packet)]


@pytest.mark.parametrize(("suffix", "sound"), [(".webm", "opus"), (".mov", "aac")])
def test_the_opacity_and_the_sound_are_kept(tmp_path: Path, suffix: str, sound: str):
    voice = write_wav(tmp_path / "voice.wav", syllables(0.2))
    out = tmp_path / f"out{suffix}"
    with VideoWriter(out, size=(64, 48), fps=25, voice=voice, frame_count=5, transparent=True, **TEXTS) as video:
        for frame in frames():
            video.write(frame)
    for wanted, got in zip(frames(), decode(out), strict=True):
        assert np.abs(got[..., 3].astype(int) - wanted[..., 3]).mean() < 3
        inside = np.s_[14:34, 16:34, :3]
        assert np.abs(got[inside].astype(int) - wanted[inside]).mean() < 6
    with av.open(str(out)) as container:
        metadata = {key.lower(): value for key, value in container.metadata.items()}
        assert metadata["title"] == TEXTS["title"] and metadata["comment"] == TEXTS["comment"]
        assert [s.codec_context.name for s in container.streams.audio] == [sound]
        assert container.duration == pytest.approx(200_000, abs=45_000)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_mp4_is_refused(tmp_path: Path):
    with pytest.raises(MediaError, match=r"must end in \.webm .* to be transparent"):
        check_output(tmp_path / "a.mp4", overwrite=False, transparent=True)
    with pytest.raises(MediaError, match=r"must end in \.mp4"):
        check_output(tmp_path / "a.webm", overwrite=False)


def test_numbered_pictures(tmp_path: Path):
    out = tmp_path / "frame_%03d.png"
    assert is_sequence_name(out) and not is_sequence_name(tmp_path / "frame.png")
    with SequenceWriter(out, overwrite=False, **TEXTS) as sequence:
        for frame in frames(2):
            sequence.write(frame)
        assert not (tmp_path / "frame_001.png").exists(), "they appear when all are complete"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["frame_001.png", "frame_002.png"]
    with Image.open(tmp_path / "frame_002.png") as image:
        np.testing.assert_array_equal(np.array(image), frames(2)[1])
        assert image.text["Comment"] == TEXTS["comment"]
    with pytest.raises(MediaError, match="exists already"):
        check_sequence_output(out, overwrite=False)


def test_an_interrupted_sequence_leaves_nothing(tmp_path: Path):
    with pytest.raises(RuntimeError), SequenceWriter(tmp_path / "f_%d.png", overwrite=False, **TEXTS) as sequence:
        sequence.write(frames(1)[0])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
