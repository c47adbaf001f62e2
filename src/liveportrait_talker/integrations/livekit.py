"""A video generator for LiveKit Agents: an agent's sound in, images and sound of a live face out (docs/agents.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from os import PathLike

from ..options.live import LiveOptions
from ..pipelines.talk import Talker
from .avatar import Avatar

try:
    from livekit import rtc
    from livekit.agents.voice.avatar import AudioSegmentEnd, AvatarOptions, VideoGenerator
except ImportError as error:
    raise ImportError(
        "the face for LiveKit needs a library that is not installed: pip install 'liveportrait-talker[livekit]'."
    ) from error


class TalkerVideoGenerator(VideoGenerator):
    """A live face for an AvatarRunner. Made by `start`; close it after the runner.

    Images come at a constant rate, and with them, while the face speaks, the sound of the same 1 / fps seconds; an
    AudioSegmentEnd follows the sound that it ends.
    """

    def __init__(self, avatar: Avatar) -> None:
        self._avatar = avatar

    @classmethod
    async def start(
        cls, portrait: str | PathLike[str], options: LiveOptions | None = None, *, talker: Talker | None = None
    ) -> TalkerVideoGenerator:
        """Find and draw the face.

        Args:
            portrait: a picture with a face.
            options: see LiveOptions.
            talker: one for several generators, which then share networks and the portrait.

        Raises:
            TalkerError: the portrait or an option is wrong.
        """
        return cls(await Avatar.start(portrait, options or LiveOptions(), talker))

    @property
    def options(self) -> AvatarOptions:
        """Sizes and rates, for AvatarRunner."""
        session = self._avatar.session
        width, height = session.size
        return AvatarOptions(
            video_width=width,
            video_height=height,
            video_fps=session.fps,
            audio_sample_rate=session.sample_rate,
            audio_channels=1,
        )

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """Speak sound; wait until there is room for it, and at the end of a segment until that was spoken.

        So the next segment is not read before: AvatarRunner counts one at a time.
        """
        if isinstance(frame, AudioSegmentEnd):
            await self._avatar.end()
        else:
            await self._avatar.say(bytes(frame.data), frame.sample_rate, frame.num_channels)

    async def clear_buffer(self) -> None:
        """Interrupt: drop what was not spoken, and shut the lips."""
        await self._avatar.clear()

    async def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        """Yield images, sound, and ends of segments, until `aclose`."""
        rate, (width, height) = self._avatar.session.sample_rate, self._avatar.session.size
        async for made in self._avatar.frames():
            yield rtc.VideoFrame(width, height, rtc.VideoBufferType.RGB24, made.image)
            if made.audio:
                yield rtc.AudioFrame(made.audio, rate, 1, len(made.audio) // 2)
            if made.is_end:
                yield AudioSegmentEnd()

    async def aclose(self) -> None:
        """End the session; may be called again."""
        await self._avatar.close()
