"""Videos whose pictures carry their own number, VoxCeleb text files, and a host on 127.0.0.1 that serves and fails."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np

BITS, BAR, HEIGHT = 10, 16, 64  # a picture is ten bars, black or white: its number in binary
SOUND_RATE = 44_100


def chirp(seconds: float) -> np.ndarray:
    """(n,) float32: a rising tone, which looks like itself at one place only."""
    t = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    return (0.5 * np.sin(2 * np.pi * (300 * t + 250 * t**2))).astype(np.float32)


def picture(number: int, width: int = BITS * BAR, height: int = HEIGHT) -> np.ndarray:
    """The luma (height, width) uint8 that says `number`."""
    bars = np.repeat([(235 if number >> bit & 1 else 16) for bit in range(BITS)], BAR).astype(np.uint8)
    row = np.pad(bars, (0, max(0, width - len(bars))), mode="edge")[:width]
    return np.tile(row, (height, 1))


def write_video(
    path: Path,
    *,
    fps: int = 25,
    frames: int = 100,
    stamps: Sequence[int] | None = None,  # ms, instead of a steady rate
    sound: bool = True,
    sound_seconds: float | None = None,
    faststart: bool = True,
    size: tuple[int, int] = (BITS * BAR, HEIGHT),
) -> Path:
    options = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", options=options) as file:
        video = file.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "10", "g": "12"})
        video.width, video.height = size[0] + size[0] % 2, size[1] + size[1] % 2
        video.pix_fmt = "yuv420p"
        tick = Fraction(1, 1000) if stamps is not None else Fraction(1, fps)
        video.codec_context.time_base = tick
        if sound:
            audio = file.add_stream("aac", rate=SOUND_RATE, layout="mono")
            audio.bit_rate = 128_000
        for number in range(frames):
            luma = picture(number, video.width, video.height)
            grey = np.full((video.height // 2, video.width), 128, np.uint8)
            frame = av.VideoFrame.from_ndarray(np.concatenate([luma, grey]), format="yuv420p")
            frame.pts, frame.time_base = number if stamps is None else stamps[number], tick
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if sound:
            samples = chirp(frames / fps if sound_seconds is None else sound_seconds)
            block = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
            file.mux(audio.encode(block))
            file.mux(audio.encode(None))
    return path


def turned(video: Path, to: Path) -> Path:
    """The same file with a display matrix that turns it by 90°, as phones write it."""
    content = bytearray(video.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # the first track is the picture; version 0
    content[place : place + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    to.write_bytes(content)
    return to


def numbers(path: Path) -> list[int]:
    """The number that each picture of a clip says."""
    found = []
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            luma = frame.to_ndarray()[: frame.height, : frame.width].astype(float)
            bars = [luma[8:-8, bit * BAR + 4 : (bit + 1) * BAR - 4].mean() > 128 for bit in range(BITS)]
            found.append(sum(1 << bit for bit, white in enumerate(bars) if white))
    return found


def samples(path: Path) -> np.ndarray:
    """(n,) float32, the clip's sound as a player would give it."""
    with av.open(str(path)) as file:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=SOUND_RATE)
        return np.concatenate([p.to_ndarray()[0] for f in file.decode(audio=0) for p in resampler.resample(f)])


def text(first: int, last: int, *, pixels: bool = False) -> str:
    """A VoxCeleb text file."""
    scale = 100 if pixels else 1
    rows = [
        f"{n:06d} \t{0.3 * scale:g} \t{0.2 * scale:g} \t{0.4 * scale:g} \t{0.5 * scale:g} "
        for n in range(first, last + 1)
    ]
    head = "Identity  : \tid1\nReference : \tx\nOffset    : \t0\nFV Conf   : \t1\t(1)\nASD Conf  : \t5\n\nFRAME \tX \tY \tW \tH \n"
    return head + "".join(row + "\n" for row in rows)


def write_metadata(root: Path, tree: dict[str, dict[str, tuple[int, int] | str]]) -> Path:
    """`speaker/video` → utterance → first and last frame, or the file's text."""
    for place, utterances in tree.items():
        folder = root / place
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in utterances.items():
            (folder / f"{name}.txt").write_text(content if isinstance(content, str) else text(*content))
    return root


Answer = int | bytes | tuple[str, bytes]
"""A status, a whole file, or a file with what goes wrong: `reset` or `slow`."""


class Host:
    """Serves `/v/<id>`; `answers[id]` is a file, or a function of the number of the request (from 0)."""

    def __init__(self, port: int) -> None:
        self.template = f"http://127.0.0.1:{port}/v/{{id}}"
        self.answers: dict[str, Answer | Callable[[int], Answer]] = {}
        self.asked: Counter[str] = Counter()

    def answer(self, video: str) -> Answer:
        number = self.asked[video]
        self.asked[video] += 1
        answer = self.answers.get(video, 404)
        return answer(number) if callable(answer) else answer


@contextmanager
def hosting() -> Iterator[Host]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            with lock:
                answer = host.answer(self.path.rsplit("/", 1)[-1])
            if isinstance(answer, int):
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            trouble, content = answer if isinstance(answer, tuple) else ("", answer)
            start = 0
            if match := re.fullmatch(r"bytes=(\d+)-\d*", self.headers.get("Range") or ""):
                start = int(match[1])
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", "application/dash+xml" if self.path.endswith(".mpd") else "video/mp4")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            try:
                if trouble == "reset":
                    self.wfile.write(content[start : start + (len(content) - start) // 2])
                    self.wfile.flush()
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    return
                for place in range(start, len(content), 4096):
                    self.wfile.write(content[place : place + 4096])
                    if trouble == "slow":
                        time.sleep(0.01)
            except OSError:  # the client has what it wanted, or was killed
                pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    host = Host(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
