from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from heic import write_tiled
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from liveportrait_talker.errors import MediaError
from liveportrait_talker.media import open_footage
from liveportrait_talker.media.limits import Limits
from liveportrait_talker.media.still import BACKDROP, read_still

RAMP = np.zeros((80, 120, 3), np.uint8)
RAMP[..., 0] = np.linspace(0, 255, 120)[None]
RAMP[..., 1] = np.linspace(0, 255, 80)[:, None]
RAMP[:40, :60, 2] = 200
GREY = RAMP.mean(axis=2).round().astype(np.uint8)


def read(path: Path, **limits: int) -> np.ndarray:
    footage = open_footage(path, **limits)
    assert footage.is_still
    assert len(footage) == 1
    assert footage[0].shape == (footage.size[1], footage.size[0], 3)
    assert footage[0].dtype == np.uint8
    return footage[0].astype(int)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000", "QOI", "AVIF", "JPEG", "GIF"])
def test_formats_by_content(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture.Mp4"  # the extension is irrelevant
    how = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}, "AVIF": {"quality": 98}}
    Image.fromarray(RAMP).save(path, kind, **how.get(kind, {}))
    assert np.abs(read(path) - RAMP).mean() < (6 if kind == "GIF" else 2)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation(tmp_path: Path, orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a"
    how = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}
    Image.fromarray(RAMP).save(path, kind, exif=exif, **how.get(kind, {}))
    stored_to_shown = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }
    assert np.abs(read(path) - stored_to_shown[orientation](RAMP)).mean() < 2


def test_transparency_shows_the_backdrop(tmp_path: Path) -> None:
    alpha = np.zeros((80, 120), np.uint8)
    alpha[:, 40:80], alpha[:, 80:] = 128, 255
    hidden = RAMP.copy()
    hidden[:, :40] = (255, 0, 255)  # must be invisible
    Image.fromarray(np.dstack([hidden, alpha])).save(tmp_path / "a.png")
    expected = RAMP + (np.array(BACKDROP) - RAMP) * (1 - alpha[..., None] / 255)
    assert np.abs(read(tmp_path / "a.png") - expected).max() <= 1
    small = read(tmp_path / "a.png", max_side=64)
    assert np.abs(small[:, :18] - BACKDROP).max() <= 1


@pytest.mark.parametrize("mode", ["LA", "P", "1", "L"])
def test_grey_and_palette(tmp_path: Path, mode: str) -> None:
    grey = np.where(GREY > 100, 255, 0).astype(np.uint8) if mode == "1" else GREY
    Image.fromarray(grey).convert(mode).save(tmp_path / "a.png")
    assert np.abs(read(tmp_path / "a.png") - grey[..., None]).max() <= 1


def test_transparent_palette(tmp_path: Path) -> None:
    image = Image.new("P", (120, 80))
    image.paste(1, (60, 0, 120, 80))
    image.putpalette([10, 20, 30, 90, 80, 70])
    image.save(tmp_path / "a.png", transparency=0)
    shown = read(tmp_path / "a.png")
    assert shown[0, 0].tolist() == list(BACKDROP)
    assert shown[0, -1].tolist() == [90, 80, 70]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (GREY.astype(np.uint16) * 257, "PNG"),
        (GREY.astype(np.uint16) * 257, "TIFF"),
        (GREY.astype(np.float32) / 255, "TIFF"),
        (GREY.astype(np.float32), "TIFF"),
    ],
)
def test_deep_grey_is_scaled(tmp_path: Path, values: np.ndarray, kind: str) -> None:
    Image.fromarray(values).save(tmp_path / "a", kind)
    assert np.abs(read(tmp_path / "a") - GREY[..., None]).max() <= 1


def test_deep_grey_is_rotated_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "a.png", exif=exif)
    assert np.abs(read(tmp_path / "a.png")[..., 0] - np.rot90(GREY, -1)).max() <= 1


def test_cmyk(tmp_path: Path) -> None:
    Image.fromarray(RAMP).convert("CMYK").save(tmp_path / "a.jpg", quality=98, subsampling=0)
    assert np.abs(read(tmp_path / "a.jpg") - RAMP).mean() < 4


def test_colour_profile(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RAMP).save(tmp_path / "same.png", icc_profile=profile)
    assert np.abs(read(tmp_path / "same.png") - RAMP).max() <= 1
    Image.fromarray(GREY).save(tmp_path / "other.png", icc_profile=profile)  # an RGB profile in a grey image
    assert np.abs(read(tmp_path / "other.png") - GREY[..., None]).max() <= 1
    Image.fromarray(RAMP).save(tmp_path / "broken.png", icc_profile=b"nonsense")
    assert np.abs(read(tmp_path / "broken.png") - RAMP).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_scaling_down_is_logged(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    Image.fromarray(RAMP.repeat(20, 0).repeat(20, 1)).save(tmp_path / "big", kind)
    small = read(tmp_path / "big", max_side=300)
    assert small.shape == (200, 300, 3)
    assert "big is scaled down from 2400×1600 to 300×200; --max-size keeps more pixels" in caplog.text
    same = np.asarray(Image.fromarray(RAMP).resize((300, 200), Image.Resampling.BOX)).astype(int)
    assert np.abs(small - same).mean() < 3
    assert open_footage(tmp_path / "big", max_side=None).size == (2400, 1600)


def test_decompression_bomb_is_rejected_before_decoding(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side, size in ((12_000, "12000×12000"), (60_000, "more than 178 million")):
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        path = tmp_path / "bomb.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        with pytest.raises(MediaError, match=f"bomb.png has too many pixels .{size}, the limit is 120 million"):
            open_footage(path)


def test_damaged_and_wrong_files(tmp_path: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)).save(whole, "JPEG")
    cases = {
        "cut.jpg": (whole.getvalue()[:9000], "cut.jpg is damaged or incomplete"),
        "text.png": (b"hello\n" * 50, "text.png is not a picture, video or audio file"),
        "empty.jpg": (b"", r"empty.jpg is empty \(0 bytes\)"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=message):
            open_footage(tmp_path / name)
    with pytest.raises(MediaError, match="is a folder; give a file in it"):
        open_footage(tmp_path)
    with pytest.raises(MediaError, match=r"none.png does not exist; check"):
        open_footage(tmp_path / "none.png")
    with pytest.raises(MediaError, match=r"cannot be opened \(File name too long\)"):
        open_footage(tmp_path / ("x" * 300))
    Image.new("RGB", (63, 400)).save(tmp_path / "thin.png")
    with pytest.raises(MediaError, match=r"thin.png is too small \(63×400\); give"):
        open_footage(tmp_path / "thin.png")


# ------------------------------------------------------------------ unusual files of phones, editors and websites


def noise(side: int = 200) -> Image.Image:
    """Return an image of noise."""
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_without_end_marker_is_read(tmp_path, caplog, progressive):
    noise().save(tmp_path / "whole.jpg", progressive=progressive)
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "short.jpg").write_bytes(content[:-2])
    assert np.array_equal(read(tmp_path / "short.jpg"), read(tmp_path / "whole.jpg"))
    assert "short.jpg lacks its last bytes, but no rows of the picture" in caplog.text


@pytest.mark.parametrize("missing", [1000, 5000])
def test_jpeg_without_last_rows_is_rejected(tmp_path, missing):
    noise().save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-missing])
    with pytest.raises(MediaError, match=r"cut\.jpg is damaged or incomplete"):
        read(tmp_path / "cut.jpg")


@pytest.mark.parametrize("megabytes", [1.3, 30])
def test_png_with_large_text_is_read(tmp_path, megabytes):
    notes = PngInfo()
    notes.add_text("workflow", "x" * int(megabytes * 1e6), zip=True)
    noise().save(tmp_path / "noted.png", pnginfo=notes)
    assert np.array_equal(read(tmp_path / "noted.png"), np.asarray(noise()))


def test_large_colour_profile_is_read(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    padded = len(profile) + 1_400_000
    large = padded.to_bytes(4, "big") + profile[4:] + bytes(1_400_000)
    noise().save(tmp_path / "profiled.png", icc_profile=large)
    assert np.abs(read(tmp_path / "profiled.png").astype(int) - np.asarray(noise())).max() <= 2


def test_huge_jpeg_is_decoded_at_reduced_size(tmp_path):
    Image.effect_mandelbrot((4000, 3000), (-2, -1.5, 1, 1.5), 30).convert("RGB").save(tmp_path / "large.jpg")
    limits = Limits(max_side=640, max_pixels=4_000_000, max_seconds=60)
    assert read_still(tmp_path / "large.jpg", limits).image.shape == (480, 640, 3)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_animation_is_a_video(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    frames = [Image.new("RGB", (80, 80), (level, level, level)) for level in (40, 90, 140, 190)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[80, 80, 160, 80])
    with open_footage(path) as footage:
        assert footage.fps == pytest.approx(12.5)
        shown = [int(footage[k].mean()) for k in range(len(footage))]
    assert shown == pytest.approx([40, 90, 140, 140, 190], abs=2)


def test_progressive_jpeg_truncated_between_scans_is_rejected(tmp_path):
    """All rows are present, but without colours or details."""
    noise().save(tmp_path / "whole.jpg", progressive=True)
    content = (tmp_path / "whole.jpg").read_bytes()
    scans = [k for k in range(len(content) - 1) if content[k : k + 2] == b"\xff\xda"]
    assert len(scans) > 4
    for number, scan in enumerate(scans[1:]):
        cut = tmp_path / f"cut{number}.jpg"
        tables = content.rfind(b"\xff\xc4", 0, scan)  # the tables of a scan precede it
        cut.write_bytes(content[: tables if tables > scans[number] else scan])
        with pytest.raises(MediaError, match="damaged or incomplete"):
            read(cut)


def test_default_duration_of_animation_frames(tmp_path):
    frames = [Image.new("RGB", (80, 80), (level, level, level)) for level in range(40, 240, 20)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=0)
    with open_footage(tmp_path / "a.gif") as footage:
        assert (len(footage), footage.fps) == (10, pytest.approx(10))


def test_truncated_animation_is_read_as_far_as_possible(tmp_path, caplog):
    frames = [noise().rotate(90 * k) for k in range(4)]
    frames[0].save(tmp_path / "whole.gif", save_all=True, append_images=frames[1:], duration=100)
    content = (tmp_path / "whole.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(content[: len(content) * 2 // 3])
    with open_footage(tmp_path / "cut.gif") as footage:
        assert len(footage) >= 2
    assert "cut.gif is damaged; the " in caplog.text


def test_png_that_is_no_animation_is_a_still(tmp_path):
    notes = PngInfo()
    notes.add_text("workflow", "x" * 30_000_000, zip=True)
    noise().save(tmp_path / "noted.png", pnginfo=notes)
    assert open_footage(tmp_path / "noted.png").is_still
    Image.new("1", (14_000, 14_000)).save(tmp_path / "large.png")
    with pytest.raises(MediaError, match="too many pixels"):
        open_footage(tmp_path / "large.png")


P3_TO_SRGB = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])


def p3_patches() -> tuple[np.ndarray, np.ndarray]:
    """Return the same colours in Display P3 and in sRGB: (128, 128, 3) uint8 each."""
    rng = np.random.default_rng(3)
    srgb = np.repeat(np.repeat(rng.integers(60, 200, (4, 4, 3)), 32, 0), 32, 1).astype(np.uint8)
    coded = srgb / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    p3 = np.clip(linear @ np.linalg.inv(P3_TO_SRGB).T, 0, 1)
    stored = np.where(p3 <= 0.0031308, 12.92 * p3, 1.055 * p3 ** (1 / 2.4) - 0.055)
    return np.rint(stored * 255).astype(np.uint8), srgb


@pytest.mark.parametrize("suffix", ["heic", "avif", "png"])
def test_cicp_colours_are_converted(tmp_path, caplog, suffix):
    stored, shown = p3_patches()
    path = tmp_path / f"p3.{suffix}"
    if suffix == "heic":
        write_tiled(path, stored, primaries=12)
    elif suffix == "avif":
        Image.fromarray(stored).save(path, quality=100)
        content = path.read_bytes()
        path.write_bytes(content.replace(b"colrnclx\x00\x01", b"colrnclx\x00\x0c"))
    else:
        written = io.BytesIO()
        Image.fromarray(stored).save(written, "PNG")
        content = written.getvalue()
        kind = b"cICP" + bytes([12, 13, 0, 1])
        path.write_bytes(
            content[:33] + struct.pack(">I", 4) + kind + struct.pack(">I", zlib.crc32(kind)) + content[33:]
        )
    image = read(path).astype(np.float32) / 255
    lab, right = (cv2.cvtColor(one.astype(np.float32), cv2.COLOR_RGB2LAB) for one in (image, shown / 255))
    difference = np.linalg.norm(lab - right, axis=-1)[8::32, 8::32]
    assert difference.max() < 4 and difference.mean() < 1.5
    assert f"p3.{suffix} is a wide-gamut (P3) picture; its colours are converted to sRGB" in caplog.text
