"""`liveportrait-talker live`: a portrait that speaks while the sound is still coming, until Ctrl-C."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..options.live import LiveOptions
from .console import say
from .flags import add_options, options_from
from .inputs import checking


def add_live_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "live",
        parents=[common],
        help="a portrait that speaks while the sound is still coming, for other programs",
        description="Serve a portrait that speaks while the sound is still coming, for this computer only by default.",
    )
    parser.add_argument("portrait", type=Path, metavar="PORTRAIT", help="picture with a face")
    parser.add_argument("--websocket", action="store_true", help="serve other programs over WebSockets")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8765, metavar="N", help="port (default 8765)")
    parser.add_argument("--sessions", type=int, default=2, metavar="N", help="connections at once (default 2)")
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="web site whose pages may connect, such as https://example.org; may be repeated",
    )
    add_options(parser, LiveOptions)
    parser.set_defaults(run=_live)


def _live(arguments: argparse.Namespace) -> int:
    options = options_from(LiveOptions, arguments)
    if not arguments.websocket:
        raise OptionError("live serves other programs: add --websocket.")
    if not 0 <= arguments.port <= 65_535:
        raise OptionError(f"--port {arguments.port} is out of range: give 0 … 65535.")
    if not 1 <= arguments.sessions <= 64:
        raise OptionError(f"--sessions {arguments.sessions} is out of range: give 1 … 64.")
    if not options.paced or options.is_transparent:
        flag = "--background transparent" if options.paced else "--no-paced"
        raise OptionError(f"{flag} is for Python: leave it out with --websocket.")
    with checking(options, sources=(arguments.portrait,)) as check:
        from ..serving.websocket import WebSocketServer

        check.results()
    programs = WebSocketServer(arguments.portrait, options, most_sessions=arguments.sessions)
    with programs.listen(arguments.host, arguments.port, origins=tuple(arguments.allow_origin)) as server:
        host, port = server.socket.getsockname()[:2]
        say(f"{arguments.portrait.name} listens at ws://{host}:{port}; Ctrl-C ends it.")
        try:
            server.serve_forever()
        finally:
            programs.close()
    return 0
