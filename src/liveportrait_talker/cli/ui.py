"""`liveportrait-talker ui`: serve the page until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import OptionError
from .console import say

AUTH_VARIABLE = "LPT_UI_AUTH"
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
    ui.add_argument(
        "--auth",
        type=Path,
        metavar="FILE",
        help=f"ask for a user and a password; the file has one user:password a line (or set {AUTH_VARIABLE})",
    )
    ui.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="host name that the page answers to besides its own address, such as that of a reverse proxy; may be "
        "repeated",
    )
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
    from ..ui.server import LOOPBACK, Server, Settings

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
        auth=_accounts(arguments.auth),
        downloads=arguments.downloads,
    )
    try:
        with Server(settings) as server:
            say(f"{server.url} is the page; Ctrl-C ends it and removes all uploads.")
            if settings.host not in LOOPBACK and not settings.auth:
                say(
                    f"warning: the server listens on {settings.host}, so everyone who can reach this computer can use "
                    "it: there is no password (--auth)."
                )
            threading.Event().wait()
    except KeyboardInterrupt:
        say("the page is closed; all uploads were removed.")
    return 0


def _accounts(path: Path | None) -> Sequence[tuple[str, str]]:
    """Return the users and passwords of a file or of the environment, from which they are removed."""
    from ..ui.accounts import parse_accounts, read_accounts

    given = os.environ.pop(AUTH_VARIABLE, None)  # so that child processes do not have it
    if path is not None and given is not None:
        raise OptionError(f"--auth and {AUTH_VARIABLE} contradict each other: give one of them.")
    if path is not None:
        return read_accounts(path)
    return () if given is None else parse_accounts(given.encode(errors="surrogateescape"), AUTH_VARIABLE)
