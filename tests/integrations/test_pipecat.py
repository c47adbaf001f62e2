"""The video service for Pipecat, in a pipeline of Pipecat's own test utilities."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from documented import blocks_of, copy_portrait

from liveportrait_talker import LiveOptions, Talker
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.media import open_footage, read_waveform
from sounds import syllables

pytest.importorskip("pipecat", reason="needs pipecat-ai: make companions-test")

from pipecat.frames.frames import (
    CancelFrame,
    InterruptionFrame,
    OutputImageRawFrame,
    OutputTransportReadyFrame,
    TextFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.tests.utils import SleepFrame, run_test

from liveportrait_talker.integrations.pipecat import TalkerVideoService

RATE = 24_000  # of a pipeline, by default
TALKER = Talker()


def run(frames, direction=FrameDirection.DOWNSTREAM, **kwargs):
    """Return what comes out downstream, and the service."""
    service = TalkerVideoService(PORTRAIT, LiveOptions(renderer="embedded", max_size=160), talker=TALKER)
    down, _ = asyncio.run(
        asyncio.wait_for(
            run_test(service, frames_to_send=frames, frames_to_send_direction=direction, start_timeout=60, **kwargs),
            timeout=120,
        )
    )
    return down, service


def speech(seconds: float, rate: int = RATE, chunk_seconds: float = 0.02) -> list[TTSAudioRawFrame]:
    samples = (32767 * syllables(seconds, rate) + 3).astype("<i2").tobytes()
    step = 2 * round(chunk_seconds * rate)
    return [TTSAudioRawFrame(samples[k : k + step], rate, 1, context_id="turn 1") for k in range(0, len(samples), step)]


def sound_of(frames) -> np.ndarray:
    audio = [frame.audio for frame in frames if isinstance(frame, TTSAudioRawFrame)]
    return np.frombuffer(b"".join(audio), "<i2")


def seconds_of(frames) -> float:
    """Return how much sound there is, without the gaps of a busy machine."""
    return np.count_nonzero(sound_of(frames)) / RATE


def test_sound_comes_whole_with_its_images_before_the_stop():
    voice = speech(1.0)
    down, _ = run([TTSStartedFrame(), *voice, TTSStoppedFrame(), TextFrame("after")])
    sound, said = sound_of(down), sound_of(voice)
    assert np.abs(sound[sound != 0].astype(int) - said[said != 0]).max() <= 1
    assert np.flatnonzero(sound)[0] < RATE / 25 and sound[-RATE // 25 :].any()
    images = [frame for frame in down if isinstance(frame, OutputImageRawFrame)]
    assert all(frame.size == (160, 160) and len(frame.image) == 160 * 160 * 3 for frame in images)
    assert len({frame.image for frame in images}) > 10
    kinds = [type(frame) for frame in down]
    assert kinds[0] is TTSStartedFrame
    last_sound = len(kinds) - 1 - kinds[::-1].index(TTSAudioRawFrame)
    assert last_sound < kinds.index(TTSStoppedFrame) < kinds.index(TextFrame)
    for k, kind in enumerate(kinds):
        assert kind is not TTSAudioRawFrame or kinds[k - 1] is OutputImageRawFrame
    assert {frame.context_id for frame in down if isinstance(frame, TTSAudioRawFrame)} == {"turn 1"}


@pytest.mark.parametrize(("rate", "chunk_seconds"), [(8000, 0.5), (44_100, 2.0), (24_000, 0.005)])
def test_any_rate_and_chunk(rate, chunk_seconds):
    down, _ = run([*speech(0.5, rate, chunk_seconds), TTSStoppedFrame()])
    assert seconds_of(down) == pytest.approx(0.5, abs=0.05)


def test_an_end_without_a_stop_is_spoken_to_the_end():
    down, _ = run(speech(0.4))
    assert seconds_of(down) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("chunk_seconds", [0.02, 10])
def test_an_interruption_drops_the_rest_at_once(chunk_seconds):
    down, _ = run(
        [
            TTSStartedFrame(),
            *speech(10, chunk_seconds=chunk_seconds),
            TTSStoppedFrame(),
            SleepFrame(2.0),
            InterruptionFrame(),
            SleepFrame(0.4),
            *speech(0.4),
            TTSStoppedFrame(),
        ]
    )
    kinds = [type(frame) for frame in down]
    at = kinds.index(InterruptionFrame)
    assert 0.2 < len(sound_of(down[:at])) / RATE < 8
    assert seconds_of(down[at:]) == pytest.approx(0.4, abs=0.05)
    assert OutputImageRawFrame in kinds[at : at + 10]  # it lives on, without sound
    assert kinds.count(TTSStoppedFrame) == 1


def test_images_begin_when_the_transport_is_ready():
    down, _ = run([SleepFrame(0.4)])
    assert not down
    down, _ = run([OutputTransportReadyFrame(), SleepFrame(0.4)], FrameDirection.UPSTREAM)
    assert {type(frame) for frame in down} == {OutputImageRawFrame}


def test_cancelled_while_speaking():
    down, service = run([*speech(30, chunk_seconds=10), SleepFrame(0.4), CancelFrame()], send_end_frame=False)
    assert len(sound_of(down)) < 20 * RATE
    asyncio.run(service.cleanup())


def test_the_event_loop_is_not_blocked():
    async def watched() -> float:
        late = []

        async def watch() -> None:
            while True:
                start = asyncio.get_running_loop().time()
                await asyncio.sleep(0.005)
                late.append(asyncio.get_running_loop().time() - start)

        watcher = asyncio.create_task(watch())
        service = TalkerVideoService(PORTRAIT, LiveOptions(renderer="embedded", max_size=160), talker=TALKER)
        await run_test(service, frames_to_send=[*speech(1, chunk_seconds=1), TTSStoppedFrame()], start_timeout=60)
        watcher.cancel()
        return float(np.median(late))

    assert asyncio.run(watched()) < 0.04


def test_the_bot_in_the_documentation(tmp_path, monkeypatch):
    pytest.importorskip("espeakng_loader", reason="needs the extra speech")
    (code,) = [block for block in blocks_of("agents.md") if "pipecat" in block]
    copy_portrait(tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/agents.md", "exec"), {})
    voice = read_waveform(tmp_path / "bot.mp4")
    loud = np.abs(voice.samples).reshape(-1)[: len(voice.samples) // 400 * 400].reshape(-1, 400).max(axis=1) > 0.02
    assert np.count_nonzero(loud) * 400 / voice.sample_rate > 1.5
    footage = open_footage(tmp_path / "bot.mp4")
    assert footage.fps == 25 and len({footage[k].tobytes() for k in range(0, 50, 5)}) > 5
