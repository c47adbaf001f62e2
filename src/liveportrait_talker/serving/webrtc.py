"""Live sessions over WebRTC: a browser's microphone, camera and text in, image and sound of the face out.

Each call is a session. A thread of its own draws; all else runs in the event loop that answers calls. Messages of the
data channel: docs/live.md, Page.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from ..audio.speech import speak
from ..errors import OptionError, TalkerError
from ..live.frame import LiveFrame
from ..live.session import LiveSession
from ..media.audio_file import read_waveform
from ..media.waveform import Waveform
from ..options.live import LiveOptions
from ..pipelines.media_check import check_media
from ..pipelines.talk import Talker
from ..system.temporary_folders import TemporaryFolder
from .tracks import PACKET, SAMPLE_RATE, Packets, Track, mono, video_frame

log = logging.getLogger(__name__)

MAX_CHARACTERS = 1000
"""Of a text; about 70 s of speech."""

_MOST_QUEUED_S = 1.0  # of frames that the network does not take; older ones are dropped
_MOST_WAITING_S = 0.3  # of the microphone's sound; it is dropped while more waits, such as a text
_MOST_TEXTS = 8
_LARGEST_MESSAGE = 16_384  # bytes
_CAMERA_SIDE = 640  # px, to which larger camera images are reduced
_CONNECT_S = 20.0  # for the browser to connect after its call was answered
_REPORT_S = 0.4


class Calls:
    """Answers calls with live sessions. For one event loop.

    Args:
        portrait: a picture with a face, of the calls that bring none.
        options: of every session; the sample rate is that of WebRTC.
        most_sessions: calls at once; another one is refused.
        ice_servers: STUN and TURN servers, as dictionaries of RTCIceServer.
    """

    def __init__(
        self, portrait: Path, options: LiveOptions, *, most_sessions: int, ice_servers: tuple[dict[str, str], ...] = ()
    ) -> None:
        self._portrait, self._options = portrait, replace(options, sample_rate=SAMPLE_RATE)
        self._most, self._open = most_sessions, 0
        self._configuration = RTCConfiguration([RTCIceServer(**server) for server in ice_servers])
        self._talker = Talker()
        self._calls: set[_Call] = set()

    def first_frame(self) -> LiveFrame:
        """Return a frame of the face at rest. Raises TalkerError where there can be no session."""
        with self._talker.live(self._portrait, self._options) as session:
            return next(session)

    async def answer(self, offer: str, portrait: bytes | None = None) -> str:
        """Return the SDP answer to a browser's SDP offer, and start a session.

        Args:
            offer: of sound and image in both directions.
            portrait: content of a picture with a face, for this call only.

        Raises:
            OptionError: the offer makes no sense.
            MediaError: the picture cannot be used.
            TalkerError: there are too many calls.
        """
        if self._open >= self._most:
            raise TalkerError("All sessions are taken: try again later.")
        self._open += 1
        try:
            session = await asyncio.to_thread(self._session, portrait)
        except BaseException:
            self._open -= 1
            raise
        call = _Call(session, RTCPeerConnection(self._configuration), self._options.look_ahead, self._forget)
        self._calls.add(call)
        try:
            return await call.accept(offer)
        except Exception as error:  # aiortc's parser has no error of its own
            log.debug("an offer was refused", exc_info=True)
            await call.close()
            raise OptionError("the offer is not one of a browser that sends sound and image.") from error
        except BaseException:
            await call.close()
            raise

    async def close(self) -> None:
        """End all calls."""
        self._most = 0
        await asyncio.gather(*(call.close() for call in tuple(self._calls)))

    def _session(self, portrait: bytes | None) -> LiveSession:
        if portrait is None:
            return self._talker.live(self._portrait, self._options)
        with TemporaryFolder("lpt-portrait-") as folder:
            path = folder / "the portrait"  # so it is called in messages
            path.write_bytes(portrait)
            check_media(sources=path, options=self._options)
            return Talker().live(path, self._options)  # of its own: the picture is forgotten with the call

    def _forget(self, call: _Call) -> None:
        self._calls.discard(call)
        self._open -= 1


class _Call:
    """A browser and its session."""

    def __init__(
        self,
        session: LiveSession,
        connection: RTCPeerConnection,
        look_ahead: float,
        forget: Callable[[_Call], None],
    ) -> None:
        self._session, self._connection, self._look_ahead, self._forget = session, connection, look_ahead, forget
        self._loop = asyncio.get_running_loop()
        self._image = Track("video", max(1, round(_MOST_QUEUED_S * session.fps)))
        self._sound = Track("audio", round(_MOST_QUEUED_S * SAMPLE_RATE / PACKET))
        self._packets = Packets()
        self._channel: RTCDataChannel | None = None
        self._texts: asyncio.Queue[str] = asyncio.Queue(_MOST_TEXTS)
        self._interruptions = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._drawing = Thread(target=self._draw, name="lpt-live", daemon=True)
        self._deadline = self._loop.call_later(_CONNECT_S, lambda: self._start(self.close()))
        self._closed = False
        self._reported = ("", 0.0)  # state, and when
        connection.on("track", self._receive)
        connection.on("datachannel", self._open_channel)
        connection.on("connectionstatechange", self._follow_connection)

    async def accept(self, offer: str) -> str:
        """Return the answer to an offer."""
        await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        self._connection.addTrack(self._sound)
        self._connection.addTrack(self._image)
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return str(self._connection.localDescription.sdp)

    async def close(self) -> None:
        """End the session and the connection."""
        if self._closed:
            return
        self._closed = True
        self._deadline.cancel()
        self._session.close()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        try:
            await self._connection.close()
            if self._drawing.ident is not None:
                await asyncio.to_thread(self._drawing.join)
        finally:
            self._forget(self)
        counts = self._session.counts
        log.info("a call of %.0f s ended: %d frames skipped.", counts.frames / self._session.fps, counts.skipped_frames)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow_connection(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and self._drawing.ident is None and not self._closed:
            self._deadline.cancel()
            self._drawing.start()
            self._start(self._speak_texts())
        elif state in ("failed", "closed"):
            await self.close()

    def _draw(self) -> None:
        """Draw until the session is closed, in a thread of its own."""
        with suppress(RuntimeError):  # the loop has ended
            for frame in self._session:
                sound = self._packets.push(frame.samples)
                self._loop.call_soon_threadsafe(self._send, frame, video_frame(frame), sound)

    def _send(self, frame: LiveFrame, image: VideoFrame | None, sound: list[AudioFrame]) -> None:
        if image is not None:
            self._image.put(image)
        for packet in sound:
            self._sound.put(packet)
        state, time_seconds = self._reported
        if frame.state != state or frame.time_seconds - time_seconds >= _REPORT_S:
            self._reported = (frame.state, frame.time_seconds)
            waiting = self._session.pending_seconds
            self._tell(state=frame.state, delay_ms=round(1000 * (self._look_ahead + 1 / self._session.fps + waiting)))

    def _receive(self, track: MediaStreamTrack) -> None:
        self._start(self._listen(track) if track.kind == "audio" else self._watch(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        """Say what the microphone hears."""
        with suppress(MediaStreamError, TalkerError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                if self._session.pending_seconds < _MOST_WAITING_S:
                    self._session.push(mono(frame), frame.sample_rate)

    async def _watch(self, track: MediaStreamTrack) -> None:
        """Follow the camera; images that come while another one is being read are dropped."""
        reading: asyncio.Future[None] | None = None
        with suppress(MediaStreamError):
            while True:
                frame = await track.recv()
                assert isinstance(frame, VideoFrame)
                if reading is None or reading.done():
                    reading = self._loop.run_in_executor(None, self._follow_face, frame)

    def _follow_face(self, frame: VideoFrame) -> None:
        shrink = min(1.0, _CAMERA_SIDE / max(frame.width, frame.height))
        width, height = max(1, round(shrink * frame.width)), max(1, round(shrink * frame.height))
        with suppress(TalkerError):  # it was closed meanwhile
            image = frame.to_ndarray(format="rgb24", width=width, height=height)
            self._session.follow(np.asarray(image, np.uint8))

    def _open_channel(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._read_message)

    def _read_message(self, message: str | bytes) -> None:
        """Do what a message asks for."""
        try:
            asked = json.loads(message) if len(message) <= _LARGEST_MESSAGE else None
        except ValueError:
            asked = None
        match asked:
            case {"say": str(text)} if not text.strip():
                self._tell(error="The text is empty: write a sentence.")
            case {"say": str(text)} if len(text) > MAX_CHARACTERS:
                self._tell(error=f"The text has more than {MAX_CHARACTERS:,} characters: shorten it.")
            case {"say": str()} if self._texts.full():
                self._tell(error="Too many texts wait to be spoken: wait, or interrupt.")
            case {"say": str(text)}:
                self._texts.put_nowait(text)
            case {"interrupt": True}:
                self._interruptions += 1
                while not self._texts.empty():
                    self._texts.get_nowait()
                self._session.clear()
                self._sound.drop_waiting()
            case _:
                self._tell(error="The message is unknown: reload the page.")

    async def _speak_texts(self) -> None:
        while True:
            text = await self._texts.get()
            interruptions = self._interruptions
            try:
                voice = await asyncio.to_thread(_synthesised, text)
                if interruptions == self._interruptions:
                    self._session.push(voice.samples, voice.sample_rate)
                    self._session.end()
            except TalkerError as error:
                self._tell(error=str(error))

    def _tell(self, **content: object) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(json.dumps(content))


def _synthesised(text: str) -> Waveform:
    with tempfile.TemporaryDirectory(prefix="lpt-live-") as folder:
        return read_waveform(speak(text, Path(folder) / "voice.wav"))
