"""Conversion of frames: colours, orientation, aspect ratio, transparency, interlacing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import colour_difference

from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.media import open_footage
from liveportrait_talker.media.still import BACKDROP
from shared import DATA, needs_shared

CASES = DATA / "cases"
# Linear RGB of BT.709 → of BT.2020.
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def hlg(linear: np.ndarray) -> np.ndarray:
    """Convert display light, 1 = 203 cd/m², to an HLG signal (BT.2100)."""
    display = linear * 203 / 1000
    luma = np.maximum(display @ (0.2627, 0.6780, 0.0593), 1e-9)[..., None]
    scene = np.clip(display * luma ** (1 / 1.2 - 1), 0, 1)
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


def pq(linear: np.ndarray) -> np.ndarray:
    """Convert display light, 1 = 203 cd/m², to a PQ signal (BT.2100)."""
    root = np.clip(linear * 203 / 10_000, 0, 1) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * root) / (1 + 2392 / 128 * root)) ** (2523 / 32)


def write_wide(path: Path, image: np.ndarray, signal, transfer: int) -> Path:
    """Write a 10-bit HEVC video in BT.2020 with the display light of `image` on a BT.1886 display."""
    linear = (image / 255.0) ** 2.4 @ TO_BT2020.T
    codes = np.rint(65535 * np.clip(signal(np.clip(linear, 0, 1)), 0, 1)).astype(np.uint16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25, options={"x265-params": "log-level=none:qp=8"})
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, transfer, 1
        for k in range(3):
            frame = av.VideoFrame.from_ndarray(codes, format="rgb48le")
            frame = frame.reformat(format="yuv420p10le", dst_colorspace=9, src_color_range=2, dst_color_range=1)
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("transfer", "signal", "description"),
    [
        (18, hlg, "HDR (HLG, BT.2020)"),
        (16, pq, "HDR (PQ, BT.2020)"),
        (14, lambda x: x ** (1 / 2.4), "wide-gamut (BT.2020)"),
    ],
    ids=["HLG", "PQ", "SDR"],
)
def test_hdr_and_wide_gamut_are_converted(tmp_path, caplog, transfer, signal, description):
    image = np.array(open_footage(PORTRAIT, max_side=256)[0])
    got = open_footage(write_wide(tmp_path / "wide.mp4", image, signal, transfer))[1]
    assert colour_difference(got, image) < 3
    assert f"wide.mp4 is {description} video" in caplog.text


@needs_shared
def test_hlg_clip_of_a_phone():
    """The clip was made from aoc.mp4; ignoring HLG gives an error of 20 to 33 ΔE."""
    with open_footage(CASES / "iphone_hlg_bt2020.mov") as wide, open_footage(DATA / "talking" / "aoc.mp4") as plain:
        got = wide[10]
        original = min((plain[k] for k in range(60)), key=lambda frame: np.abs(frame.astype(int) - got).mean())
    assert colour_difference(got, original) <= 6


@needs_shared
def test_mirroring_display_matrix(tmp_path):
    with (
        open_footage(CASES / "front_camera_mirrored_by_matrix.mp4") as footage,
        av.open(str(CASES / "front_camera_mirrored_by_matrix.mp4")) as container,
    ):
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
        assert np.abs(footage[0].astype(int) - stored[:, ::-1]).mean() < 4


MATRICES = {
    "rotated": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "rotated the other way": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "upside down": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "mirrored": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "flipped": ((1, 0, 0, -1), lambda image: image[::-1]),
    "mirrored and rotated": ((0, 1, 1, 0), lambda image: image.swapaxes(0, 1)),
    "mirrored and rotated the other way": ((0, -1, -1, 0), lambda image: image.swapaxes(0, 1)[::-1, ::-1]),
}


@pytest.mark.parametrize("kind", MATRICES)
def test_every_display_matrix(tmp_path, kind):
    """The matrix is written into the track header of a file without one."""
    image = np.array(open_footage(PORTRAIT, max_side=160)[0][:, :112])
    plain = tmp_path / "plain.mp4"
    with av.open(str(plain), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 112, 160, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    (a, b, c, d), expected = MATRICES[kind]
    identity = b"".join(n.to_bytes(4, "big", signed=True) for n in (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30))
    matrix = b"".join(
        n.to_bytes(4, "big", signed=True) for n in (a * 65536, b * 65536, 0, c * 65536, d * 65536, 0, 0, 0, 1 << 30)
    )
    content = plain.read_bytes()
    header = content.index(b"tkhd")
    at = content.index(identity, header)
    rotated = tmp_path / "rotated.mp4"
    rotated.write_bytes(content[:at] + matrix + content[at + 36 :])
    with open_footage(rotated) as footage:
        upright = expected(image)
        assert footage.size == (upright.shape[1], upright.shape[0])
        assert np.abs(footage[1].astype(int) - upright).mean() < 6


@needs_shared
def test_changed_aspect_ratio_gets_bars(caplog):
    with open_footage(CASES / "webrtc_rotates.webm") as footage:
        first, last = footage[0], footage[len(footage) - 1]
    assert first.shape == last.shape == (512, 512, 3)
    assert last[:, :100].max() < 20 and last[:, -100:].max() < 20, "bars at the sides"
    assert last[:, 256].mean() > 30
    assert "black bars are added" in caplog.text


@pytest.mark.parametrize(
    ("suffix", "codec", "format"), [("webm", "libvpx-vp9", "yuva420p"), ("mov", "prores_ks", "yuva444p10le")]
)
def test_transparent_video_shows_the_backdrop(tmp_path, suffix, codec, format):
    path = tmp_path / f"clear.{suffix}"
    image = np.zeros((128, 128, 4), np.uint8)
    image[32:96, 32:96] = (200, 30, 30, 255)
    image[:, :, :3] = np.maximum(image[:, :, :3], 1)
    image[:20, :, :3] = (0, 255, 0)  # invisible: alpha is 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 128, format
        if suffix == "mov":
            stream.codec_context.options = {"profile": "4444", "alpha_bits": "16"}
        else:
            stream.metadata["alpha_mode"] = "1"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgba").reformat(format=format)))
        container.mux(stream.encode(None))
    with open_footage(path) as footage:
        shown = footage[1].astype(int)
    assert np.abs(shown[5:15, 40:90] - BACKDROP).max() < 12
    assert np.abs(shown[50:80, 50:80] - (200, 30, 30)).mean() < 12


def test_interlaced_frames_are_deinterlaced(tmp_path):
    """A bright block moves 6 px per field: without deinterlacing, its edges show combing."""
    path = tmp_path / "fields.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "tff=1:crf=12"})
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        for k in range(10):
            frame = np.full((128, 192, 3), 40, np.uint8)
            for field in (0, 1):
                left = 20 + 12 * k + 6 * field
                frame[field + 32 : 96 : 2, left : left + 40] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    with open_footage(path) as footage:
        assert len(footage) == 10
        shown = footage[4][..., 1].astype(int)
    combing = np.abs(shown[41:87:2] - (shown[40:86:2] + shown[42:88:2]) / 2).mean(axis=0).max()
    assert combing < 40, "180 without deinterlacing"


@pytest.mark.parametrize(("suffix", "codec", "format"), [("avi", "huffyuv", "bgra"), ("mov", "qtrle", "argb")])
def test_unused_alpha_is_ignored(tmp_path, caplog, suffix, codec, format):
    """32-bit screen captures have alpha 0."""
    path = tmp_path / f"capture.{suffix}"
    image = np.full((64, 64, 4), (200, 60, 10, 0), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, format
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgba").reformat(format=format)))
        container.mux(stream.encode(None))
    with open_footage(path) as footage:
        assert np.abs(footage[1].astype(int) - (200, 60, 10)).max() < 4
    assert "its alpha channel is ignored" in caplog.text


def test_colours_by_numbers_that_cannot_be_converted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Found by fuzzing: swscale refuses some matrices of H.273."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        options = {"x264-params": "colormatrix=chroma-derived-nc"}
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((96, 96, 3), (200, 90, 40), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_footage(path) as footage:
        assert np.abs(footage[3].mean(axis=(0, 1)) - (200, 90, 40)).max() < 12
    assert [record.message for record in caplog.records if "unknown numbers" in record.message]
