"""`liveportrait-talker live`: a portrait that speaks while the sound is still coming, until Ctrl-C."""

from __future__ import annotations

import argparse
import threading
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..options.live import LiveOptions
from .access import accounts_from, add_access_flags, add_ice_flag, ice_servers_from, warn_if_open
from .console import say
from .flags import add_options, options_from
from .inputs import checking

MISSING = "the live page needs libraries that are not installed: pip install 'liveportrait-talker[live]'."
_PORT = 8765


def add_live_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "live",
        parents=[common],
        help="a portrait that speaks while the sound is still coming: a page, or for other programs",
        description="Open a page with a portrait that speaks what your microphone hears or what you type and follows "
        "your camera, for this computer only by default.",
    )
    parser.add_argument("portrait", type=Path, metavar="PORTRAIT", help="picture with a face")
    parser.add_argument("--websocket", action="store_true", help="serve other programs over WebSockets, without a page")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=_PORT, metavar="N", help=f"port (default {_PORT})")
    parser.add_argument("--sessions", type=int, default=2, metavar="N", help="connections at once (default 2)")
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="URL",
        help="with --websocket: web site whose pages may connect, such as https://example.org; may be repeated",
    )
    parser.add_argument(
        "--open", action=argparse.BooleanOptionalAction, default=True, help="open the page in a browser (default)"
    )
    add_access_flags(parser)
    add_ice_flag(parser)
    add_options(parser, LiveOptions, without=("paced",))
    parser.set_defaults(run=_live, paced=True)


def _live(arguments: argparse.Namespace) -> int:
    options = options_from(LiveOptions, arguments)
    if not 0 <= arguments.port <= 65_535:
        raise OptionError(f"--port {arguments.port} is out of range: give 0 … 65535.")
    if not 1 <= arguments.sessions <= 64:
        raise OptionError(f"--sessions {arguments.sessions} is out of range: give 1 … 64.")
    if options.is_transparent:
        raise OptionError("--background transparent is for Python: leave it out.")
    return _serve_programs(arguments, options) if arguments.websocket else _serve_page(arguments, options)


def _serve_programs(arguments: argparse.Namespace, options: LiveOptions) -> int:
    for given, flag in (
        (arguments.auth, "--auth"),
        (arguments.allowed_host, "--allowed-host"),
        (arguments.ice_server, "--ice-server"),
    ):
        if given:
            raise OptionError(f"{flag} is for the page: leave it out with --websocket.")
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


def _serve_page(arguments: argparse.Namespace, options: LiveOptions) -> int:
    if any(find_spec(library) is None for library in ("aiortc", "uvicorn")):
        raise OptionError(MISSING)
    if arguments.allow_origin:
        raise OptionError("--allow-origin is for --websocket: other web sites cannot use the page.")
    if options.sample_rate != LiveOptions().sample_rate:
        raise OptionError("--sample-rate is for --websocket: the page has that of WebRTC.")
    ice_servers = ice_servers_from(arguments.ice_server)
    accounts = accounts_from(arguments.auth)
    with checking(options, sources=(arguments.portrait,)) as check:
        from ..serving.access import Access, Hosts
        from ..serving.accounts import Accounts
        from ..serving.connections import ConnectionLimits, PageServer, bind, page_address
        from ..serving.live_page import LivePage
        from ..serving.webrtc import Calls

        check.results()
    hosts = Hosts(arguments.host, arguments.allowed_host)
    calls = Calls(arguments.portrait, options, most_sessions=arguments.sessions, ice_servers=ice_servers)
    page = LivePage(calls, ice_servers=ice_servers)
    try:
        sockets = bind(arguments.host.strip("[]"), arguments.port)
    except OSError as error:
        raise OptionError(f"port {arguments.port} of {arguments.host} cannot be used: give another --port.") from error
    server = PageServer(Access(page, hosts, Accounts(accounts) if accounts else None), sockets, ConnectionLimits())
    server.start()
    try:
        url = page_address(sockets, arguments.host)
        say(f"{url} is the page; Ctrl-C ends it.")
        warn_if_open(arguments.host, accounts)
        if arguments.open:
            webbrowser.open(url)
        threading.Event().wait()
    except KeyboardInterrupt:
        say("the page is closed.")
    finally:
        server.close()
    return 0
