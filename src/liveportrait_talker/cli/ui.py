"""`liveportrait-talker ui`: serve the page until Ctrl-C."""

from __future__ import annotations

import argparse
import threading
from importlib.util import find_spec
from typing import Any

from ..errors import OptionError
from .access import accounts_from, add_access_flags, warn_if_open
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
    ui.add_argument(
        "--max-job-minutes", type=float, default=60, metavar="N", help="longest time of a job (default 60 minutes)"
    )
    ui.add_argument(
        "--max-megapixels", type=float, default=50, metavar="N", help="largest picture or frame (default 50 Mpx)"
    )
    ui.add_argument(
        "--max-session-mb", type=float, default=2000, metavar="N", help="all files of one visitor (default 2000 MB)"
    )
    ui.add_argument(
        "--max-total-mb", type=float, default=20_000, metavar="N", help="all files of the server (default 20000 MB)"
    )
    add_access_flags(ui)
    ui.add_argument(
        "--downloads",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let users of the page download weights and check the computer (default)",
    )
    ui.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises OptionError if Gradio is missing, or the address or a flag cannot be used."""
    if find_spec("gradio") is None:
        raise OptionError(MISSING)
    from ..ui.server import Server, Settings

    settings = Settings(
        host=arguments.host,
        port=arguments.port,
        open_browser=arguments.open,
        max_upload_mb=arguments.max_upload_mb,
        max_seconds=arguments.max_seconds,
        max_queue=arguments.max_queue,
        max_job_minutes=arguments.max_job_minutes,
        max_megapixels=arguments.max_megapixels,
        max_session_mb=arguments.max_session_mb,
        max_total_mb=arguments.max_total_mb,
        allowed_hosts=arguments.allowed_host,
        auth=accounts_from(arguments.auth),
        downloads=arguments.downloads,
    )
    try:
        with Server(settings) as server:
            say(f"{server.url} is the page; Ctrl-C ends it and removes all uploads.")
            warn_if_open(settings.host, settings.auth)
            threading.Event().wait()
    except KeyboardInterrupt:
        say("the page is closed; all uploads were removed.")
    return 0
