"""A live session for asyncio, without a framework; and what is said where a framework is missing."""

from __future__ import annotations

import asyncio
import importlib
import sys

import numpy as np
import pytest

from liveportrait_talker import LiveOptions, OptionError, Talker
from liveportrait_talker.examples import PORTRAIT
from liveportrait_talker.integrations.avatar import Avatar
from sounds import syllables

RATE = 16_000
OPTIONS = LiveOptions(renderer="embedded", max_size=160, sample_rate=RATE)
VOICE = (32767 * syllables(1) + 3).astype("<i2").tobytes()
TALKER = Talker()


def run(check):
    """Run `check(avatar, made)`, where `made` grows by the frames."""

    async def main() -> None:
        avatar = await Avatar.start(PORTRAIT, OPTIONS, TALKER)
        made = []

        async def collect() -> None:
            async for frame in avatar.frames():
                made.append(frame)

        collecting = asyncio.create_task(collect())
        try:
            await check(avatar, made)
        finally:
            await avatar.close()
            await asyncio.wait_for(collecting, 10)

    asyncio.run(asyncio.wait_for(main(), 120))


def sound_of(made) -> np.ndarray:
    sound = np.frombuffer(b"".join(frame.audio for frame in made), "<i2")
    return sound[sound != 0]


def test_an_utterance_ends_with_its_last_frame():
    async def check(avatar, made):
        await avatar.say(VOICE, RATE)
        await avatar.end()
        said = np.frombuffer(VOICE, "<i2")
        assert np.abs(sound_of(made).astype(int) - said[said != 0]).max() <= 1
        assert [frame.is_end for frame in made].index(True) == len(made) - 1
        assert made[-1].audio and not made[0].audio
        assert {len(frame.image) for frame in made} == {160 * 160 * 3}
        await avatar.end()  # of nothing
        assert sum(frame.is_end for frame in made) == 2

    run(check)


def test_what_is_cleared_is_not_heard_and_nobody_waits():
    async def check(avatar, made):
        speaking = asyncio.create_task(avatar.say(VOICE * 100, RATE))
        while not len(sound_of(made)):
            await asyncio.sleep(0.01)
        assert avatar.session.pending_seconds < 1  # what waits stays outside
        await avatar.clear()
        count = len(made)
        await asyncio.wait_for(speaking, 5)
        await avatar.say(VOICE, RATE)
        ending = asyncio.create_task(avatar.end())
        await asyncio.sleep(0)
        await avatar.clear()
        await asyncio.wait_for(ending, 5)
        assert not any(frame.is_end for frame in made[count:])
        count = len(made)
        while len(made) < count + 10:
            await asyncio.sleep(0.01)
        assert not len(sound_of(made[count + 1 :]))

    run(check)


def test_a_hundred_interruptions():
    async def check(avatar, made):
        for _ in range(100):
            await avatar.say(VOICE[:3200], RATE)
            await avatar.clear()
        count = len(made)
        await avatar.say(VOICE, RATE)
        await avatar.end()
        assert len(sound_of(made[count:])) / RATE == pytest.approx(1, abs=0.02)

    run(check)


def test_bad_sound_is_refused_and_closing_ends_all():
    async def check(avatar, made):
        with pytest.raises(OptionError, match="out of range"):
            await avatar.say(VOICE, 4000)
        speaking = asyncio.create_task(avatar.say(VOICE * 100, RATE, 2))
        await asyncio.sleep(0.1)
        await avatar.close()
        await avatar.close()
        await asyncio.wait_for(speaking, 5)
        await avatar.say(VOICE, RATE)
        await avatar.end()
        await avatar.clear()

    run(check)


def test_an_error_of_the_drawing_ends_all_waits():
    async def main() -> None:
        avatar = await Avatar.start(PORTRAIT, OPTIONS, TALKER)
        avatar.session._draw = lambda track: 1 / 0
        speaking = asyncio.create_task(avatar.say(VOICE * 100, RATE))
        with pytest.raises(ZeroDivisionError):
            await avatar.frames().__anext__()
        await asyncio.wait_for(speaking, 5)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "module"), [("pipecat", "pipecat.frames.frames"), ("livekit", "livekit.agents.voice.avatar")]
)
def test_a_missing_framework_is_named(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"liveportrait_talker.integrations.{name}", raising=False)
    with pytest.raises(ImportError, match=rf"pip install 'liveportrait-talker\[{name}\]'"):
        importlib.import_module(f"liveportrait_talker.integrations.{name}")
