"""Flags of the commands that serve a page: who may use it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import OptionError
from .console import say

AUTH_VARIABLE = "LPT_UI_AUTH"


def add_access_flags(parser: argparse.ArgumentParser) -> None:
    """Add --auth and --allowed-host."""
    parser.add_argument(
        "--auth",
        type=Path,
        metavar="FILE",
        help=f"ask for a user and a password; the file has one user:password a line (or set {AUTH_VARIABLE})",
    )
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="host name that the page answers to besides its own address, such as that of a reverse proxy; may be "
        "repeated",
    )


def accounts_from(path: Path | None) -> Sequence[tuple[str, str]]:
    """Return the users and passwords of a file or of the environment, from which they are removed."""
    from ..serving.accounts import parse_accounts, read_accounts

    given = os.environ.pop(AUTH_VARIABLE, None)  # so that child processes do not have it
    if path is not None and given is not None:
        raise OptionError(f"--auth and {AUTH_VARIABLE} contradict each other: give one of them.")
    if path is not None:
        return read_accounts(path)
    return () if given is None else parse_accounts(given.encode(errors="surrogateescape"), AUTH_VARIABLE)


def warn_if_open(host: str, accounts: Sequence[tuple[str, str]]) -> None:
    """Tell who can use a page without a password."""
    from ..serving.connections import LOOPBACK

    if host not in LOOPBACK and not accounts:
        say(
            f"warning: the server listens on {host}, so everyone who can reach this computer can use it: there is no "
            "password (--auth)."
        )
