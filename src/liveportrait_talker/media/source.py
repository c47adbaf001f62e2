"""Opening a media file by its content: the one place where a file meets FFmpeg's demuxers and decoders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
from av.audio.stream import AudioStream
from av.stream import Disposition

from ..errors import MediaError

if TYPE_CHECKING:
    from types import TracebackType

    from av.codec.context import CodecContext
    from av.packet import Packet
    from av.video.stream import VideoStream

    Stream = Any  # an av VideoStream or AudioStream

# A playlist must not make FFmpeg open further files or addresses: every protocol is refused, and the file itself
# comes through Python's reads, which need none.
_AT_ONCE_S = 0.05  # a sound that is earlier by less has its first samples left out instead
_OPEN_OPTIONS = {"protocol_whitelist": "none"}


def check_input(path: Path) -> None:
    """Raise MediaError unless `path` is a readable file that is not empty."""
    try:
        if path.is_dir():
            raise MediaError(f"{path} is a folder; give a file in it")
        if not path.exists():
            raise MediaError(f"{path} does not exist; check the name and the folder")
        if not path.is_file():
            raise MediaError(f"{path} is not an ordinary file; save it to one first")
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError(f"{path.name} is empty (0 bytes); get the file again")
    except OSError as error:
        raise MediaError(f"{path} cannot be opened ({error.strerror}); check the name and the permissions") from error


class _Content:
    """A file without its name, so that FFmpeg has to judge it by its content."""

    def __init__(self, file: Any) -> None:
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell


class MediaFile:
    """An open video or sound file that is read as far as it goes.

    What cannot be decoded is skipped and remembered in `damaged`; the reader decides what to say about it.
    Raises MediaError when nothing in the file is sound or picture.
    """

    def __init__(self, path: Path) -> None:
        check_input(path)
        self.name = path.name
        self.damaged = False
        self._file = path.open("rb")
        try:
            self.container = av.open(
                _Content(self._file),
                mode="r",
                options=_OPEN_OPTIONS,
                metadata_errors="replace",
                buffer_size=1 << 18,
            )
        except (av.error.FFmpegError, ValueError, OSError) as error:
            self._file.close()
            raise MediaError(
                f"{self.name} is not a picture, video or sound that can be read, or it is damaged; "
                "open it in a player and save it anew"
            ) from error

    def __enter__(self) -> MediaFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self.container.close()
        self._file.close()

    def moving_picture(self) -> VideoStream | None:
        """The first video stream that is no cover."""
        return next((s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic), None)

    def sound(self) -> AudioStream | None:
        """The sound that players take, or the first that can be decoded where that one can't."""
        best = self.container.streams.best("audio")
        tracks = (
            [best, *self.container.streams.audio] if isinstance(best, AudioStream) else self.container.streams.audio
        )
        return next((s for s in tracks if s.codec_context is not None and s.codec_context.sample_rate > 0), None)

    def start_seconds(self) -> float | None:
        """When the file begins, on its own clock, where it has both a moving picture and sound; else None.

        That is when the picture begins, or the sound if it is earlier by more than `_AT_ONCE_S`.
        """
        starts = [
            float(s.start_time * s.time_base)
            for s in (self.moving_picture(), self.sound())
            if s is not None and s.start_time is not None and s.time_base is not None
        ]
        if len(starts) < 2:
            return None
        picture, sound = starts
        return sound if sound < picture - _AT_ONCE_S else picture

    def packets(self, *streams: Stream) -> Iterator[Packet[Any]]:
        """Packets of `streams` from the current place, the empty ones that flush their decoders last."""
        packets = self.container.demux(*streams)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError):  # the file breaks off here: flush what the decoder holds
                self.damaged = True
                return
            yield packet

    def decode(self, stream: Stream, decoder: CodecContext | None = None) -> Iterator[Any]:
        """Decoded frames (VideoFrame or AudioFrame) of `stream`, in the order in which they are shown.

        `decoder` takes the place of the stream's own.
        """
        flushed = False
        for packet in self.packets(stream):
            flushed = packet.size == 0
            yield from self._decode(decoder or stream, packet)
        if not flushed:
            yield from self._decode(decoder or stream, None)

    def _decode(self, decoder: Any, packet: Packet[Any] | None) -> list[Any]:
        try:
            return list(decoder.decode(packet))
        except (av.error.FFmpegError, ValueError):
            self.damaged = True
            return []
