"""Readers of files from strangers, valid samples for each, and random damage.

`tests/test_fuzzing.py` runs a little of this; `scripts/fuzz.py` runs it for as long as wanted.
"""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

import hostile
from liveportrait_talker.batch.jobs import read_jobs
from liveportrait_talker.batch.run import JOURNAL, run_batch
from liveportrait_talker.errors import TalkerError
from liveportrait_talker.media.inspection import inspect_footage, inspect_voice
from liveportrait_talker.motion.face_measurements import FaceMeasurements
from liveportrait_talker.motion.released_template import read_released_template
from liveportrait_talker.motion.template import Template, save_template
from liveportrait_talker.pipelines.driving_clip import describe_template
from liveportrait_talker.pipelines.edit_keyframes import read_keyframes
from liveportrait_talker.system.journal import Journal, read_entries

MAX_PIXELS, MAX_SECONDS = 120_000_000, 3600.0


def _read_journal(path: Path) -> None:
    read_entries(path)
    with Journal(path) as journal:
        journal.add("new", {"status": "done"})
    path.with_name(JOURNAL).write_bytes(path.read_bytes())
    jobs = path.with_name("jobs.csv")
    jobs.write_text("source,voice\nface.png,voice.wav\n")
    for name in ("face.png", "voice.wav"):
        path.with_name(name).write_bytes(b"file")
    run_batch(jobs, path.parent, dry_run=True)


def _read_batch(path: Path) -> None:
    for name in ("face.png", "voice.wav"):
        path.with_name(name).write_bytes(b"file")
    read_jobs(path, path.parent / "out")


READERS: dict[str, Callable[[Path], object]] = {
    "pictures": lambda path: inspect_footage(str(path), MAX_PIXELS, MAX_SECONDS),
    "videos": lambda path: inspect_footage(str(path), MAX_PIXELS, MAX_SECONDS),
    "sounds": lambda path: inspect_voice(str(path), MAX_SECONDS),
    "templates": lambda path: describe_template(str(path), MAX_SECONDS),
    "journals": _read_journal,
    "batch files": _read_batch,
    "keyframes": read_keyframes,
}
"""Kind → function that reads a file; it may raise TalkerError and nothing else."""


def read(kind: str, path: Path) -> str:
    """Read a file; return "read" or the sentence of the error. Other exceptions propagate."""
    try:
        READERS[kind](path)
    except TalkerError as error:
        return str(error)
    return "read"


def write_samples(kind: str, folder: Path) -> list[Path]:
    """Write small valid files of a kind."""
    write = {
        "pictures": _pictures,
        "videos": _videos,
        "sounds": _sounds,
        "templates": _templates,
        "journals": _journals,
        "batch files": _batch_files,
        "keyframes": _keyframe_files,
    }[kind]
    return list(write(folder))


def damage(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Return a damaged copy of a file; `others` are files of the same kind to splice in."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        size = max(1, len(data))
        at = rng.randrange(min(size, rng.choice((64, 512, size))))
        length = min(rng.choice((1, 2, 4, 8, 64, 1024)), size)
        how = rng.randrange(9)
        if how == 0:
            data[at : at + 1] = bytes((rng.randrange(256),))
        elif how == 1:
            number = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))
            width = rng.choice((1, 2, 4))
            data[at : at + width] = (number % 256**width).to_bytes(width, rng.choice(("big", "little")))
        elif how == 2:
            del data[at : at + length]
        elif how == 3:
            data[at:at] = data[at : at + length] * rng.choice((1, 2, 50))
        elif how == 4:
            data[at:at] = rng.randbytes(length)
        elif how == 5:
            del data[at:]
        elif how == 6:
            other = rng.choice(others)
            begin = rng.randrange(max(1, len(other)))
            data[at : at + length] = other[begin : begin + length]
        elif how == 7:
            data[at : at + length] = bytes(length)
        else:
            data[at : at + 1] = bytes((data[at] ^ 1 << rng.randrange(8),)) if at < len(data) else b""
    return bytes(data[: 1 << 20])


def _face(side: int = 96) -> Image.Image:
    y, x = np.mgrid[0:side, 0:side]
    return Image.fromarray(np.dstack([x * 2, y * 2, (x + y)]).astype(np.uint8))


def _pictures(folder: Path) -> Iterator[Path]:
    image = _face()
    kinds: dict[str, dict[str, object]] = {
        "a.png": {}, "a.jpg": {}, "b.jpg": {"progressive": True}, "a.webp": {}, "b.webp": {"lossless": True},
        "a.gif": {}, "a.bmp": {}, "a.tif": {}, "b.tif": {"compression": "tiff_lzw"}, "a.avif": {}, "a.jp2": {},
        "a.ppm": {},
    }  # fmt: skip
    for name, options in kinds.items():
        image.save(folder / name, **options)  # type: ignore[arg-type]
        yield folder / name
    image.convert("RGBA").save(folder / "rgba.png")
    image.convert("P").save(folder / "palette.png")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(folder / "i16.png")
    image.convert("CMYK").save(folder / "cmyk.jpg")
    image.convert("F").save(folder / "float.tif")
    for name in ("rgba.png", "palette.png", "i16.png", "cmyk.jpg", "float.tif"):
        yield folder / name
    frames = [image.rotate(30 * k) for k in range(4)]
    for name in ("moving.gif", "moving.webp", "moving.png"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:], duration=40)
        yield folder / name
    yield hostile.write_webp(folder / "claim.webp")
    try:
        import pi_heif  # noqa: F401

        image.save(folder / "a.heic")
    except (KeyError, ValueError, OSError):  # this build cannot encode
        return
    yield folder / "a.heic"


def _videos(folder: Path) -> Iterator[Path]:
    for name, codec, pixels in (
        ("a.mp4", "libx264", "yuv420p"), ("a.mov", "mjpeg", "yuvj420p"), ("a.mkv", "libx264", "yuv444p"),
        ("a.webm", "libvpx-vp9", "yuva420p"), ("a.avi", "mpeg4", "yuv420p"), ("a.ts", "mpeg2video", "yuv420p"),
        ("a.flv", "flv", "yuv420p"), ("a.h264", "libx264", "yuv420p"), ("a.gif", "gif", "rgb8"),
        ("a.ogv", "libtheora", "yuv420p"), ("b.mp4", "libx265", "yuv420p10le"), ("c.mp4", "libaom-av1", "yuv420p"),
    ):  # fmt: skip
        path = folder / f"{codec}-{name}"
        try:
            _write_video(path, codec, pixels)
        except (ValueError, av.error.FFmpegError):  # not in this build of FFmpeg
            continue
        yield path
    yield hostile.write_mp4(folder / "edits.mp4", edits=3, samples=40)


def _write_video(path: Path, codec: str, pixels: str) -> None:
    with av.open(str(path), "w", options={"movflags": "+faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 96
        stream.pix_fmt = pixels
        sound = None
        if path.suffix in (".mp4", ".mkv", ".avi"):
            sound = container.add_stream("aac" if path.suffix != ".avi" else "mp3", rate=16_000)
            sound.layout = "mono"
        for k in range(8):
            frame = av.VideoFrame.from_image(_face().rotate(10 * k)).reformat(format=pixels)
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            for k in range(5):
                tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                tone.sample_rate, tone.pts = 16_000, 1024 * k
                container.mux(sound.encode(tone))
            container.mux(sound.encode(None))


def _sounds(folder: Path) -> Iterator[Path]:
    yield hostile.write_voice(folder / "a.wav", 0.4)
    samples = np.sin(np.arange(12_800) / 9).astype(np.float32)[None]
    for name, codec in (
        ("a.mp3", "mp3"), ("a.flac", "flac"), ("a.ogg", "libvorbis"), ("a.opus", "libopus"), ("a.m4a", "aac"),
        ("a.aac", "aac"), ("f.wav", "pcm_f32le"), ("a.aiff", "pcm_s16be"), ("a.caf", "alac"), ("a.wv", "wavpack"),
        ("a.mka", "ac3"), ("a.au", "pcm_mulaw"),
    ):  # fmt: skip
        path = folder / f"{codec}-{name}"
        try:
            with av.open(str(path), "w", format="adts" if name == "a.aac" else None) as container:
                stream = container.add_stream(codec, rate=48_000)
                stream.layout = "mono"
                resampler = av.AudioResampler(
                    format=stream.format.name, layout="mono", rate=48_000, frame_size=stream.frame_size or 1024
                )
                frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 48_000, 0
                for part in (*resampler.resample(frame), None):
                    container.mux(stream.encode(part))
        except (ValueError, av.error.FFmpegError):  # not in this build of FFmpeg
            continue
        yield path


def _templates(folder: Path) -> Iterator[Path]:
    n = 3
    one, two = np.zeros((n, 3)), np.zeros((n, 2))
    seen = FaceMeasurements(25.0, one, two, np.ones(n), two + 0.3, two, np.zeros((n, 4)), two)
    save_template(Template(None, seen), folder / "landmarks.npz")
    frame = {name: np.full((1, 21, 3), 0.1, np.float32) for name in ("exp", "kp", "x_s")}
    frame |= {"scale": np.ones((1, 1), np.float32), "t": np.zeros((1, 3), np.float32), "R": np.eye(3)[None]}
    content = {"n_frames": n, "output_fps": 25, "motion": [frame] * n}
    content |= {"c_eyes_lst": [np.full((1, 2), 0.3)] * n, "c_lip_lst": [np.full((1, 1), 0.1)] * n}
    (folder / "released.pkl").write_bytes(pickle.dumps(content))
    save_template(Template(read_released_template(folder / "released.pkl"), seen), folder / "both.npz")
    yield from (folder / name for name in ("landmarks.npz", "released.pkl", "both.npz"))


def _journals(folder: Path) -> Iterator[Path]:
    lines = [{"key": f"k{k}", "entry": {"status": s, "reason": "r"}} for k, s in enumerate(("done", "failed", "later"))]
    done = {"status": "done", "frames": 3, "video_seconds": 1.0, "elapsed_seconds": 2.0, "renderer": "embedded"}
    lines.append({"key": "x", "entry": done})
    (folder / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in lines))
    yield folder / JOURNAL


def _batch_files(folder: Path) -> Iterator[Path]:
    job = {
        "source": "face.png",
        "voice": "voice.wav",
        "out": "a.mp4",
        "id": "a",
        "seed": 3,
        "yaw": [1, 2],
        "crop": True,
    }
    (folder / "jobs.jsonl").write_text(json.dumps(job) + "\n" + json.dumps({**job, "out": "b/c.mp4", "id": "b"}) + "\n")
    (folder / "jobs.csv").write_text(
        "source,voice,out,seed,fps\nface.png,voice.wav,a.mp4,1,25\nface.png,voice.wav,,,\n"
    )
    (folder / "semicolon.csv").write_text("source;voice;pupil_x\nface.png;voice.wav;1,5\n")
    yield from (folder / name for name in ("jobs.jsonl", "jobs.csv", "semicolon.csv"))


def _keyframe_files(folder: Path) -> Iterator[Path]:
    (folder / "k.json").write_text(json.dumps([{"time": 0, "smile": 0.2}, {"time": 1.5, "rotate_yaw": 5, "smile": 1}]))
    (folder / "k.csv").write_text("time,smile,rotate_yaw\n0,0,5\n1,1,\n")
    yield from (folder / name for name in ("k.json", "k.csv"))


def contents(paths: list[Path]) -> list[tuple[str, bytes]]:
    """Return names and contents of samples."""
    return [(path.name, path.read_bytes()) for path in paths]
