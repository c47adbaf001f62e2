"""Opening a media file by its content: the one place where a file meets FFmpeg's demuxers and decoders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error

from ..errors import MediaError

if TYPE_CHECKING:
    from types import TracebackType

    from av.packet import Packet

    Stream = Any  # an av VideoStream or AudioStream

# A playlist must not make FFmpeg open further files or addresses: every protocol is refused, and the file itself
# comes through Python's reads, which need none.
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

    def packets(self, stream: Stream) -> Iterator[Packet[Any]]:
        """Packets of `stream` from the current place, the empty one that flushes the decoder last."""
        packets = self.container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError):  # the file breaks off here: flush what the decoder holds
                self.damaged = True
                return
            yield packet

    def decode(self, stream: Stream) -> Iterator[Any]:
        """Decoded frames (VideoFrame or AudioFrame) of `stream`, in the order in which they are shown."""
        flushed = False
        for packet in self.packets(stream):
            flushed = packet.size == 0
            yield from self._decode(stream, packet)
        if not flushed:
            yield from self._decode(stream, None)

    def _decode(self, stream: Stream, packet: Packet[Any] | None) -> list[Any]:
        try:
            return list(stream.decode(packet))
        except (av.error.FFmpegError, ValueError):
            self.damaged = True
            return []
