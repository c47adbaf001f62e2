"""`MediaFile`: demuxing and decoding of audio and video files with FFmpeg."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import av.error
from av.audio.stream import AudioStream
from av.stream import Disposition

from ..errors import MediaError
from .boxes import check_index, too_much_claimed_error
from .limits import MAX_VIDEO_PIXELS

if TYPE_CHECKING:
    from types import TracebackType

    from av.codec.context import CodecContext
    from av.packet import Packet
    from av.video.stream import VideoStream

    Stream = Any  # an av VideoStream or AudioStream

_SYNC_TOLERANCE_S = 0.05  # audio that starts earlier by less is trimmed
# Containers that cameras, phones, recorders and editors write. FFmpeg's other demuxers, of games and playlists among
# others, would only be a danger.
_CONTAINERS = (
    "3gp aac ac3 ac4 aiff amr amrnb amrwb ape apng asf au av1 avi bmp_pipe caf dnxhd dts dtshd dv eac3 exr_pipe flac "
    "flv gif gsm gxf h261 h263 h264 hevc iff ilbc ivf jpeg_pipe jpegxl_anim jpegxl_pipe loas m4v matroska mjpeg mlp "
    "mov mp3 mpc mpc8 mpeg mpegts mpegvideo mxf nut obu ogg oma png_pipe qcp qoa rm sox spdif swf tak tiff_pipe truehd "
    "tta vc1 voc vvc w64 wav webm webp_pipe wsd wtv wv xwma yuv4mpegpipe"
)
_OPEN_OPTIONS = {
    # Playlists must not make FFmpeg open other files or URLs: all protocols are disabled. The file itself is read by
    # Python, which needs none.
    "protocol_whitelist": "none",
    "format_whitelist": _CONTAINERS.replace(" ", ","),
    "max_pixels": str(MAX_VIDEO_PIXELS),  # FFmpeg decodes the first frames when it opens a file
    "max_streams": "64",
}
_SPARE_BYTES, _SPARE_PACKETS = 32 << 20, 1000  # of packets, beyond what a file's size allows


def check_input(path: Path) -> None:
    """Raise MediaError unless `path` is a readable, non-empty file."""
    try:
        if path.is_dir():
            raise MediaError(f"{path} is a folder; give a file in it")
        if not path.exists():
            raise MediaError(f"{path} does not exist; check the name and the folder")
        if not path.is_file():
            raise MediaError(f"{path} is not a regular file; save it to one first")
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError(f"{path.name} is empty (0 bytes); get the file again")
    except OSError as error:
        raise MediaError(f"{path} cannot be opened ({error.strerror}); check the name and the permissions") from error


class _Content:
    """A file object without a name, so that FFmpeg detects the format by content."""

    def __init__(self, file: Any) -> None:
        self.read = file.read
        self.tell = file.tell
        self._file = file

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Seek, or return a negative number for an impossible offset: PyAV prints the traceback of an exception."""
        try:
            position: int = self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL
        return position


class MediaFile:
    """An open audio or video file. Raises MediaError if it is neither.

    Packets that cannot be decoded are skipped; `damaged` is True afterwards.
    """

    def __init__(self, path: Path) -> None:
        check_input(path)
        self.name = path.name
        self.damaged = False
        self._file = path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        try:
            check_index(self._file, self._size, self.name)
            self._file.seek(0)
            self.container = av.open(
                _Content(self._file),
                mode="r",
                options=_OPEN_OPTIONS,
                metadata_errors="replace",
                buffer_size=1 << 18,
            )
        except MediaError:
            self._file.close()
            raise
        except (av.error.FFmpegError, ValueError, OSError) as error:
            self._file.close()
            raise MediaError(
                f"{self.name} is not a picture, video or audio file that can be read, or it is damaged; "
                "open it in a player and export it again"
            ) from error

    def __enter__(self) -> MediaFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; can be called twice."""
        self.container.close()
        self._file.close()

    def video_stream(self) -> VideoStream | None:
        """Return the first video stream that is not cover art."""
        return next((s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic), None)

    def audio_stream(self) -> AudioStream | None:
        """Return the audio stream that players choose, or else the first that can be decoded."""
        best = self.container.streams.best("audio")
        streams: list[AudioStream] = [best] if isinstance(best, AudioStream) else []
        streams += self.container.streams.audio
        return next((s for s in streams if s.codec_context is not None and s.codec_context.sample_rate > 0), None)

    def start_seconds(self) -> float | None:
        """Return the time stamp, in seconds, at which a file with both audio and video starts; None for others.

        That is the start of the video, or of the audio if that is earlier by more than 50 ms.
        """
        starts = [
            float(s.start_time * s.time_base)
            for s in (self.video_stream(), self.audio_stream())
            if s is not None and s.start_time is not None and s.time_base is not None
        ]
        if len(starts) < 2:
            return None
        video, audio = starts
        return audio if audio < video - _SYNC_TOLERANCE_S else video

    def packets(self, *streams: Stream) -> Iterator[Packet[Any]]:
        """Yield the packets of `streams` from the current position, then empty packets to flush their decoders.

        Raises MediaError if they are far more than the file's size allows, because they overlap.
        """
        packets = self.container.demux(*streams)
        spare_bytes, spare_packets = 2 * self._size + _SPARE_BYTES, self._size // 4 + _SPARE_PACKETS
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError):  # truncated file
                self.damaged = True
                return
            spare_bytes -= packet.size
            spare_packets -= 1
            if spare_bytes < 0 or spare_packets < 0:
                raise too_much_claimed_error(self.name)
            yield packet

    def decode(self, stream: Stream, decoder: CodecContext | None = None) -> Iterator[Any]:
        """Yield the decoded frames (VideoFrame or AudioFrame) of `stream`, in display order.

        `decoder` replaces the default decoder of the stream.
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
