"""A video service for Pipecat: sound of a TTS service in, images and sound of a live face out. See docs/agents.md."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from os import PathLike
from typing import Any

from ..options.live import LiveOptions
from ..pipelines.talk import Talker
from .avatar import Avatar

try:
    from pipecat.frames.frames import (
        CancelFrame,
        EndFrame,
        Frame,
        InterruptionFrame,
        OutputImageRawFrame,
        OutputTransportReadyFrame,
        TTSAudioRawFrame,
        TTSStartedFrame,
        TTSStoppedFrame,
    )
    from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
    from pipecat.services.ai_service import AIService
    from pipecat.services.settings import ServiceSettings
except ImportError as error:
    raise ImportError(
        "the face for Pipecat needs a library that is not installed: pip install 'liveportrait-talker[pipecat]'."
    ) from error


class TalkerVideoService(AIService):
    """A live face between a TTS service and the output transport.

    TTSAudioRawFrame go in; OutputImageRawFrame (RGB) come out at a constant rate, and with them, while the face speaks,
    TTSAudioRawFrame of the same 1 / fps seconds. A TTSStoppedFrame follows the sound that it ends. An interruption
    drops what was not spoken and shuts the lips. Images begin when the output transport is ready, or with the first
    sound.

    Args:
        portrait: a picture with a face.
        options: see LiveOptions; its `sample_rate` is replaced by the pipeline's.
        talker: one for several services, which then share networks and the portrait.
        **kwargs: of AIService.
    """

    def __init__(
        self,
        portrait: str | PathLike[str],
        options: LiveOptions | None = None,
        *,
        talker: Talker | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(settings=ServiceSettings(model=None), **kwargs)
        self._portrait, self._options, self._talker = portrait, options or LiveOptions(), talker
        self._avatar: Avatar | None = None
        self._forwarding: asyncio.Task[None] | None = None
        self._context_id: str | None = None

    def can_generate_metrics(self) -> bool:
        """Return True: the time to first byte is that from TTSStartedFrame to the first sound."""
        return True

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Find and draw the face. Raises TalkerError."""
        await super().setup(setup)
        options = replace(self._options, sample_rate=setup.audio_out_sample_rate)
        self._avatar = await Avatar.start(self._portrait, options, self._talker)

    async def stop(self, frame: EndFrame) -> None:
        """Speak what is left, and end the session."""
        await super().stop(frame)
        if self._avatar and self._forwarding:
            await self._avatar.end()
        await self._close()

    async def cancel(self, frame: CancelFrame) -> None:
        """End the session."""
        await super().cancel(frame)
        await self._close()

    async def cleanup(self) -> None:
        """End the session."""
        await super().cleanup()
        await self._close()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Speak sound; pass the other frames on, in order."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame) and direction is FrameDirection.DOWNSTREAM:
            await self._say(frame)
            return
        if isinstance(frame, TTSStartedFrame):
            await self.start_ttfb_metrics()
        elif isinstance(frame, TTSStoppedFrame) and self._avatar and self._forwarding:
            await self._avatar.end()
        elif isinstance(frame, InterruptionFrame) and self._avatar:
            await self._avatar.clear()
        elif isinstance(frame, OutputTransportReadyFrame):
            self._begin()
        await self.push_frame(frame, direction)

    async def _say(self, frame: TTSAudioRawFrame) -> None:
        self._context_id = frame.context_id
        self._begin()
        if self._avatar:
            await self._avatar.say(frame.audio, frame.sample_rate, frame.num_channels)

    def _begin(self) -> None:
        if self._avatar and not self._forwarding:
            self._forwarding = self.create_task(self._forward(self._avatar))

    async def _forward(self, avatar: Avatar) -> None:
        try:
            async for made in avatar.frames():
                await self.push_frame(OutputImageRawFrame(made.image, avatar.session.size, "RGB"))
                if made.audio:
                    await self.stop_ttfb_metrics()
                    rate = avatar.session.sample_rate
                    await self.push_frame(TTSAudioRawFrame(made.audio, rate, 1, context_id=self._context_id))
        except Exception as error:
            await self.push_error(f"the live face stopped: {error}", error)

    async def _close(self) -> None:
        if self._avatar:
            await self._avatar.close()
        if self._forwarding:
            await self.cancel_task(self._forwarding)
        self._avatar = self._forwarding = None
