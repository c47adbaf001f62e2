"""`liveportrait-talker ui`: serve the page until Ctrl-C."""

from __future__ import annotations

import argparse
import threading
from importlib.util import find_spec
from typing import Any

from ..errors import OptionError
from .console import say

MISSING = "the page needs Gradio, which is not installed: pip install 'liveportrait-talker[ui]'."


def add_ui_parser(verbs: Any, common: argparse.ArgumentParser) -> None:
    """Add `ui` to the command line."""
    text = "open the browser page, for this computer only by default"
    ui = verbs.add_parser("ui", parents=[common], help=text, description=f"{text[0].upper()}{text[1:]}.")
    ui.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default 127.0.0.1)")
    ui.add_argument("--port", type=int, metavar="N", help="port (default 7860, or the next free one)")
    ui.add_argument(
        "--open", action=argparse.BooleanOptionalAction, default=True, help="open the page in a browser (default)"
    )
    ui.add_argument("--max-upload-mb", type=float, default=500, metavar="N", help="largest upload (default 500 MB)")
    ui.add_argument(
        "--max-seconds", type=float, default=600, metavar="N", help="longest voice or video (default 600 s)"
    )
    ui.add_argument("--max-queue", type=int, default=8, metavar="N", help="largest number of waiting jobs (default 8)")
    ui.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises OptionError if Gradio is missing or the address cannot be used."""
    if find_spec("gradio") is None:
        raise OptionError(MISSING)
    from ..ui.server import LOOPBACK, Server, Settings

    settings = Settings(
        host=arguments.host,
        port=arguments.port,
        open_browser=arguments.open,
        max_upload_mb=arguments.max_upload_mb,
        max_seconds=arguments.max_seconds,
        max_queue=arguments.max_queue,
    )
    try:
        with Server(settings) as server:
            say(f"{server.url} is the page; Ctrl-C ends it and removes all uploads.")
            if settings.host not in LOOPBACK:
                say(
                    f"warning: the server listens on {settings.host}, so everyone who can reach this computer can use "
                    "it: there is no password."
                )
            threading.Event().wait()
    except KeyboardInterrupt:
        say("the page is closed; all uploads were removed.")
    return 0
