"""The video generator for LiveKit Agents, with the package's AvatarRunner and queue of sound, without a server."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
from documented import blocks_of, copy_portrait

from liveportrait_talker import LiveOptions, NoFaceError, Talker
from liveportrait_talker.examples import PORTRAIT
from sounds import syllables

pytest.importorskip("livekit.agents", reason="needs livekit-agents: make companions-test")

from livekit import rtc
from livekit.agents.voice.avatar import AudioSegmentEnd, AvatarRunner, QueueAudioOutput

from liveportrait_talker.integrations.livekit import TalkerVideoGenerator

RATE = 24_000
OPTIONS = LiveOptions(renderer="embedded", max_size=160, sample_rate=RATE)
TALKER = Talker()


def chunks(seconds: float, rate: int = RATE, chunk_seconds: float = 0.02, channels: int = 1) -> list[rtc.AudioFrame]:
    samples = np.repeat((32767 * syllables(seconds, rate) + 3).astype("<i2"), channels)
    step = round(chunk_seconds * rate) * channels
    parts = [samples[k : k + step] for k in range(0, len(samples), step)]
    return [rtc.AudioFrame(part.tobytes(), rate, channels, len(part) // channels) for part in parts]


def alone(check):
    """Run `check(generator, made)`, where `made` grows by what the generator yields."""

    async def run() -> None:
        generator = await TalkerVideoGenerator.start(PORTRAIT, OPTIONS, talker=TALKER)
        made = []

        async def collect() -> None:
            async for item in generator:
                made.append(item)

        collecting = asyncio.create_task(collect())
        try:
            await check(generator, made)
        finally:
            await generator.aclose()
            await asyncio.wait_for(collecting, 10)

    asyncio.run(asyncio.wait_for(run(), 120))


def sound_of(made) -> np.ndarray:
    return np.concatenate(
        [np.zeros(0, np.int16), *[np.frombuffer(i.data, "<i2") for i in made if isinstance(i, rtc.AudioFrame)]]
    )


def seconds_of(made) -> float:
    """Return how much sound there is, without the gaps of a busy machine."""
    return np.count_nonzero(sound_of(made)) / RATE


@pytest.mark.parametrize(
    ("rate", "chunk_seconds", "channels"), [(24_000, 0.02, 1), (8000, 0.005, 1), (48_000, 5, 2), (44_100, 0.3, 1)]
)
def test_a_segment_comes_whole_and_ends_once(rate, chunk_seconds, channels):
    async def check(generator, made):
        for chunk in chunks(0.6, rate, chunk_seconds, channels):
            await generator.push_audio(chunk)
        await generator.push_audio(AudioSegmentEnd())
        kinds = [type(item) for item in made]
        assert kinds.count(AudioSegmentEnd) == 1 and kinds[-1] is AudioSegmentEnd
        assert kinds[-2] is rtc.AudioFrame and kinds[-3] is rtc.VideoFrame
        assert seconds_of(made) == pytest.approx(0.6, abs=0.05)
        image = next(item for item in made if isinstance(item, rtc.VideoFrame))
        assert (image.width, image.height) == (160, 160)
        assert image.convert(rtc.VideoBufferType.I420).width == 160

    alone(check)


def test_what_is_cleared_does_not_end_or_come_again():
    async def check(generator, made):
        async def speak():
            for chunk in chunks(100, chunk_seconds=50):
                await generator.push_audio(chunk)
            await generator.push_audio(AudioSegmentEnd())

        speaking = asyncio.create_task(speak())
        while not len(sound_of(made)):
            await asyncio.sleep(0.02)
        speaking.cancel()
        await generator.clear_buffer()
        count = len(made)
        await asyncio.wait_for(generator.push_audio(AudioSegmentEnd()), 5)  # as DataStreamAudioReceiver does
        await asyncio.sleep(0.4)
        assert not sound_of(made[count:]).any()
        for chunk in chunks(0.4):
            await generator.push_audio(chunk)
        await generator.push_audio(AudioSegmentEnd())
        assert seconds_of(made[count:]) == pytest.approx(0.4, abs=0.05)

    alone(check)


def test_closed_twice_and_while_it_speaks():
    async def check(generator, made):
        speaking = asyncio.create_task(generator.push_audio(chunks(30, chunk_seconds=30)[0]))
        await asyncio.sleep(0.2)
        await generator.aclose()
        await generator.aclose()
        await asyncio.wait_for(speaking, 5)
        await generator.push_audio(chunks(0.1)[0])
        await generator.push_audio(AudioSegmentEnd())
        await generator.clear_buffer()

    alone(check)


def test_a_cancelled_reader_or_speaker_does_no_harm():
    async def check(generator, made):
        speaking = asyncio.create_task(generator.push_audio(chunks(30, chunk_seconds=30)[0]))
        await asyncio.sleep(0.2)
        speaking.cancel()
        await generator.clear_buffer()
        count = len(made)
        for chunk in chunks(0.4):
            await generator.push_audio(chunk)
        await generator.push_audio(AudioSegmentEnd())
        assert seconds_of(made[count:]) == pytest.approx(0.4, abs=0.05)

    alone(check)


def test_a_picture_without_a_face(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "grey.png"), np.full((200, 200, 3), 128, np.uint8))
    with pytest.raises(NoFaceError):
        asyncio.run(TalkerVideoGenerator.start(tmp_path / "grey.png", OPTIONS))


class FakeRoom:
    """A connected room that publishes to nobody."""

    def __init__(self) -> None:
        self.tracks = []
        self.local_participant = SimpleNamespace(publish_track=self.publish)

    async def publish(self, track, options):
        self.tracks.append(track.name)

        async def subscribed():
            return None

        return SimpleNamespace(wait_for_subscription=subscribed)

    def on(self, *_):
        return None

    off = on

    def isconnected(self) -> bool:
        return True


def with_runner(check):
    """Run `check(audio, finished)` with an AvatarRunner; `finished` grows by its events."""

    async def run() -> None:
        generator = await TalkerVideoGenerator.start(PORTRAIT, OPTIONS, talker=TALKER)
        audio, room, finished = QueueAudioOutput(sample_rate=RATE), FakeRoom(), []
        audio.on("playback_finished", finished.append)
        runner = AvatarRunner(room, audio_recv=audio, video_gen=generator, options=generator.options)
        await runner.start()
        try:
            await check(audio, finished)
            assert room.tracks == ["avatar_audio", "avatar_video"]
        finally:
            await runner.aclose()
            await generator.aclose()

    asyncio.run(asyncio.wait_for(run(), 120))


def test_runner_tells_when_segments_were_played():
    async def check(audio, finished):
        for seconds in (0.4, 0.02, 0.6):  # queued at once
            for chunk in chunks(seconds):
                await audio.capture_frame(chunk)
            audio.flush()
        await asyncio.wait_for(audio.wait_for_playout(), 60)
        assert [event.interrupted for event in finished] == [False] * 3
        for event, seconds in zip(finished, (0.4, 0.02, 0.6), strict=True):
            assert seconds - 0.04 <= event.playback_position < seconds + 2  # gaps of a busy machine

    with_runner(check)


def test_runner_tells_where_it_was_interrupted():
    async def check(audio, finished):
        for chunk in chunks(30):
            await audio.capture_frame(chunk)
        audio.flush()
        await asyncio.sleep(1.5)
        audio.clear_buffer()
        await asyncio.wait_for(audio.wait_for_playout(), 5)
        (event,) = finished
        assert event.interrupted and 0.2 < event.playback_position < 10
        for chunk in chunks(0.4):
            await audio.capture_frame(chunk)
        audio.flush()
        await asyncio.wait_for(audio.wait_for_playout(), 60)
        assert not finished[1].interrupted
        assert 0.36 <= finished[1].playback_position < 2

    with_runner(check)


def test_the_lines_in_the_documentation(tmp_path, monkeypatch):
    (code,) = [block for block in blocks_of("agents.md") if "livekit" in block]
    copy_portrait(tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "docs/agents.md", "exec"), names)

    async def check() -> None:
        session, room, finished = SimpleNamespace(output=SimpleNamespace()), FakeRoom(), []
        runner, face = await names["show_face"](session, room)
        audio = session.output.audio
        audio.on("playback_finished", finished.append)
        for chunk in chunks(0.4):
            await audio.capture_frame(chunk)
        audio.flush()
        await asyncio.wait_for(audio.wait_for_playout(), 60)
        await runner.aclose()
        await face.aclose()
        assert [event.interrupted for event in finished] == [False]

    asyncio.run(check())
