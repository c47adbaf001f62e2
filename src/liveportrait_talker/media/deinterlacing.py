"""Deinterlacing with FFmpeg's yadif filter, at the same frame rate and time stamps."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from av.error import BlockingIOError as AVBlockingIOError
from av.error import EOFError as AVEOFError
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


def deinterlace(frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[VideoFrame]:
    """Yield `frames`; frames flagged as interlaced are deinterlaced."""
    frame = next(frames, None)
    while frame is not None:
        if frame.interlaced_frame:
            frame = yield from _filter_from(frame, frames, stream)
        else:
            yield frame
            frame = next(frames, None)


def _filter_from(
    first: VideoFrame, others: Iterator[VideoFrame], stream: VideoStream
) -> Generator[VideoFrame, None, VideoFrame | None]:
    """Yield deinterlaced frames up to a change of the format; return the frame with the new one, or None."""
    graph = Graph()
    steps = [
        graph.add_buffer(
            width=first.width, height=first.height, format=first.format, time_base=stream.time_base or first.time_base
        ),
        graph.add("yadif", "mode=send_frame:deint=interlaced"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*steps).configure()
    size = (first.width, first.height, first.format.name)
    graph.push(first)
    for frame in others:
        if (frame.width, frame.height, frame.format.name) != size:  # the format changes midway: start again
            yield from _pull(graph, stream, end=True)
            return frame
        graph.push(frame)
        yield from _pull(graph, stream)
    yield from _pull(graph, stream, end=True)
    return None


def _pull(graph: Graph, stream: VideoStream, *, end: bool = False) -> Iterator[VideoFrame]:
    """Yield the frames that the filter has ready, with the time base of `stream`; with `end`, flush it first."""
    if end:
        graph.push(None)
    while True:
        try:
            frame: Any = graph.pull()
        except (AVBlockingIOError, AVEOFError):
            return
        if frame.pts is not None and frame.time_base and stream.time_base:
            frame.pts = round(frame.pts * frame.time_base / stream.time_base)
            frame.time_base = stream.time_base
        yield frame
