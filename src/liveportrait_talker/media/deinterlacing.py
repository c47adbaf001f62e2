"""Interlaced video → whole frames at the same rate and time stamps, by FFmpeg's yadif."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from av.error import BlockingIOError as NothingYet
from av.error import EOFError as Ended
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream


def deinterlaced(frames: Iterator[VideoFrame], stream: VideoStream) -> Iterator[VideoFrame]:
    """The frames; from the first one on that is flagged as interlaced, those so flagged are made whole."""
    for frame in frames:
        if frame.interlaced_frame:
            yield from _filtered(frame, frames, stream)
        else:
            yield frame


def _filtered(first: VideoFrame, others: Iterator[VideoFrame], stream: VideoStream) -> Iterator[VideoFrame]:
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
        if (frame.width, frame.height, frame.format.name) != size:  # it changes midway: what follows is another stream
            yield from _pull(graph, stream, end=True)
            yield from deinterlaced(_with(frame, others), stream)
            return
        graph.push(frame)
        yield from _pull(graph, stream)
    yield from _pull(graph, stream, end=True)


def _pull(graph: Graph, stream: VideoStream, *, end: bool = False) -> Iterator[VideoFrame]:
    """What the filter has ready, stamped by the stream's clock; at the `end`, what it still holds."""
    if end:
        graph.push(None)
    while True:
        try:
            frame: Any = graph.pull()
        except (NothingYet, Ended):
            return
        if frame.pts is not None and frame.time_base and stream.time_base:
            frame.pts = round(frame.pts * frame.time_base / stream.time_base)
            frame.time_base = stream.time_base
        yield frame


def _with(first: VideoFrame, others: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    yield first
    yield from others
