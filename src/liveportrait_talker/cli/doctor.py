"""`liveportrait-talker doctor`: what is installed, what can run, what is missing."""

from __future__ import annotations

import argparse
from typing import Any

from .console import EXIT_FAILURE, print_out


def add_doctor_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("doctor", parents=[common], help="list what is installed, can run and is missing")
    parser.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from ..pipelines.doctor import report

    lines, healthy = report()
    print_out("\n".join(lines))
    return 0 if healthy else EXIT_FAILURE
