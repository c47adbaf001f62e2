"""`bench`: time every stage of `generate` with the embedded renderer in one run."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Floats64
from ...driving.signal.driver import SignalDriver
from ...face.tracker import track
from ...media import VideoWriter, Waveform, open_footage, read_waveform
from ...motion import HeadTrack, MotionTrack, MouthControls
from ...motion.blink import natural_blinks
from ...motion.breath import natural_breath
from ...motion.head import natural_head_pose
from ...options.talk import TalkOptions
from ...pipelines.talk import DEFAULT_FPS, Talker
from ...progress import OnProgress
from ...render.embedded.renderer import EmbeddedRenderer
from ...render.paste import composite


@dataclass(frozen=True)
class Stage:
    """The time of one stage."""

    name: str
    milliseconds: float
    per: str
    """`frame` or `run`."""
    share: float
    """Share of the end-to-end time per frame, or of the run."""


@dataclass(frozen=True)
class BenchTable:
    """Result of `bench`. Its text is a table."""

    size: tuple[int, int]
    frames: int
    stages: tuple[Stage, ...]
    frames_per_second: float
    """End to end, with encoding, without start-up."""
    real_time_factor: float
    """Speed relative to playback."""
    overlap: float
    """Separate times of drawing and encoding over their concurrent time: 1 = sequential, 2 = fully concurrent."""
    peak_mb: float

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "size": self.size,
            "frames": self.frames,
            "stages": [vars(stage) for stage in self.stages],
            "frames_per_second": self.frames_per_second,
            "real_time_factor": self.real_time_factor,
            "overlap": self.overlap,
            "peak_mb": self.peak_mb,
        }

    def __str__(self) -> str:
        width, height = self.size
        rows = [f"embedded renderer, {width}×{height}, {self.frames} frames"]
        rows += [f"  {s.name:32s} {s.milliseconds:9.2f} ms/{s.per:6s} {100 * s.share:5.0f} %" for s in self.stages]
        rows.append(
            f"  end to end {self.frames_per_second:.1f} frames/s, {self.real_time_factor:.2f} × real time, drawing and "
            f"encoding overlap {self.overlap:.2f} ×, peak memory {self.peak_mb:.0f} MB"
        )
        return "\n".join(rows)


def bench(source: Path, *, frames: int, on_progress: OnProgress) -> BenchTable:
    """Time every stage on `source` with a synthetic voice of `frames` frames at 25 frames/s.

    Raises:
        TalkerError: `source` cannot be read or shows no face.
    """
    fps = DEFAULT_FPS
    embedded = TalkOptions(renderer="embedded", blink_rate=60)
    with tempfile.TemporaryDirectory() as folder, open_footage(source) as footage:
        voice_file = Path(folder) / "voice.wav"
        _write_voice(voice_file, frames / fps)
        times: list[tuple[str, float]] = []

        def timed(name: str, work: Callable[[], Any]) -> Any:
            on_progress("timing", len(times), 7)
            start = time.perf_counter()
            result = work()
            times.append((name, time.perf_counter() - start))
            return result

        tracked = timed("find the face", lambda: track(footage))
        voice: Waveform = timed("read the voice", lambda: read_waveform(voice_file))
        driver = SignalDriver()
        driver.drive(voice, tracked, fps)  # compile
        mouth = timed("voice to mouth", lambda: driver.drive(voice, tracked, fps))
        motion = _busy_track(mouth, fps)
        face = timed("prepare the portrait", lambda: EmbeddedRenderer().prepare(tracked))
        for _ in face.frames(_busy_track(MouthControls(mouth.values[:12]), fps)):
            pass  # compile
        drawn = timed("draw", lambda: sum(1 for _ in face.frames(motion)))
        images = [composite(tracked, f) for f in face.frames(_busy_track(MouthControls(mouth.values[:50]), fps))]

        def encode() -> None:
            with _writer(Path(folder) / "a.mp4", footage.size, voice_file, drawn) as writer:
                for k in range(drawn):
                    writer.write(images[k % len(images)])

        timed("encode", encode)
        report = timed(
            "whole run",
            lambda: Talker().save(source, voice_file, Path(folder) / "b.mp4", embedded),
        )
        start = time.perf_counter()
        with _writer(Path(folder) / "c.mp4", footage.size, voice_file, drawn) as writer:
            for frame in face.frames(motion):
                writer.write(composite(tracked, frame))
        concurrent = time.perf_counter() - start
        on_progress("timing", 7, 7)
        size = footage.size
    seconds = dict(times)
    per_frame = ("draw", "encode")
    stages = [Stage(n, 1e3 * s, "run", s / seconds["whole run"]) for n, s in times if n not in per_frame]
    stages += [Stage(n, 1e3 * seconds[n] / drawn, "frame", seconds[n] / concurrent) for n in per_frame]
    stages.append(Stage("draw and encode side by side", 1e3 * concurrent / drawn, "frame", 1.0))
    return BenchTable(
        size=size,
        frames=report.frames,
        stages=tuple(stages),
        frames_per_second=drawn / concurrent,
        real_time_factor=drawn / fps / concurrent,
        overlap=(seconds["draw"] + seconds["encode"]) / concurrent,
        peak_mb=peak_memory_mb(),
    )


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def _writer(path: Path, size: tuple[int, int], voice: Path, frames: int) -> VideoWriter:
    return VideoWriter(
        path,
        size=size,
        fps=DEFAULT_FPS,
        voice=voice,
        frame_count=frames,
        crf=TalkOptions().quality,
        comment="",
        title="",
    )


def _busy_track(mouth: MouthControls, fps: float) -> MotionTrack:
    """Return a track with movement in every channel, the most expensive case."""
    frames, rng = len(mouth), np.random.default_rng(0)
    head = natural_head_pose(np.full(frames, -20.0), np.ones(frames), fps, rng)
    gaze = np.repeat(rng.uniform(-0.5, 0.5, (frames // 10 + 1, 2)), 10, axis=0)[:frames]
    blinks, breath = natural_blinks(frames, fps, rng), natural_breath(frames, fps, rng)
    return MotionTrack(fps, HeadTrack.turning(head), blinks, gaze, mouth, breath=breath)


def _write_voice(path: Path, seconds: float) -> None:
    """Write a synthetic voice."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((32767 * synthetic_voice(seconds)).astype("<i2").tobytes())


def synthetic_voice(seconds: float) -> Floats64:
    """Return a harmonic tone with four syllables per second, at 16 kHz."""
    t = np.arange(int(seconds * 16_000)) / 16_000
    hum = np.sin(2 * np.pi * 120 * t) + 0.5 * np.sin(2 * np.pi * 720 * t) + 0.3 * np.sin(2 * np.pi * 1300 * t)
    voice: Floats64 = 0.2 * hum * np.clip(np.sin(2 * np.pi * 4 * t), 0, 1)
    return voice
