"""The output options of commands that write one file, and the report that they print."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from .console import print_out

if TYPE_CHECKING:
    from ..pipelines.run import Report


def add_output_options(parser: argparse.ArgumentParser, out_help: str) -> None:
    """Add `--out`, `--overwrite` and `--json`."""
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help=out_help)
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")


def print_report(report: Report, line: str, arguments: argparse.Namespace) -> None:
    """Print on standard output what was made: as JSON, or as one line unless --quiet."""
    if getattr(arguments, "json", False):
        print_out(json.dumps(report.as_json(), indent=1))
    elif not arguments.quiet:
        print_out(line)
