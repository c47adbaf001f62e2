"""`liveportrait-talker label`: verify content credentials, and make a certificate that signs them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..label.certificates import (
    DEFAULT_NAME,
    credentials_folder,
    holds_certificate,
    make_certificate,
    read_certificate,
)
from ..label.library import missing_library
from ..system.limited_process import FileCall, LimitedProcess
from .console import EXIT_FAILURE, print_out

_VERIFICATION = "liveportrait_talker.label.verification"


def add_label_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `label` and its commands."""
    label = commands.add_parser("label", help="verify content credentials (C2PA), make a certificate that signs them")
    inner = label.add_subparsers(title="commands", metavar="COMMAND", required=True)
    verify = inner.add_parser(
        "verify",
        parents=[common],
        help="tell whether a file's content credentials are valid, who signed them and what they state",
        description="Verify the content credentials of a file, of whatever program, without the network. Exit code 0: "
        "valid; 1: invalid, none, or signed by nobody on the list of --trust; 2: the file cannot be read.",
    )
    verify.add_argument("file", type=Path, metavar="FILE", help="video, picture or sound")
    verify.add_argument("--trust", type=Path, metavar="CERT.pem", help="certificates (PEM) of whom you trust")
    verify.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")
    verify.set_defaults(run=_verify)
    make = inner.add_parser(
        "make-key",
        parents=[common],
        help="make a self-made certificate, or make one anew",
        description="Make a certificate that signs the content credentials of your videos from then on, with its "
        "private key. It proves that a file has not changed since, not who made it. The first output makes one by "
        "itself.",
    )
    make.add_argument(
        "-o", "--out", type=Path, metavar="DIR", help="folder ($LPT_CREDENTIALS, else in your configuration folder)"
    )
    make.add_argument(
        "--name",
        default=DEFAULT_NAME,
        metavar="TEXT",
        help=f"your name, in every signed file (default: {DEFAULT_NAME})",
    )
    make.add_argument("--overwrite", action="store_true", help="replace the certificate that is there")
    make.set_defaults(run=_make_key)


def _require_library() -> None:
    if missing := missing_library():
        raise OptionError(f"there can be no content credentials: {missing}")


def _make_key(arguments: argparse.Namespace) -> int:
    _require_library()
    folder = arguments.out or credentials_folder()
    made = make_certificate(folder, name=arguments.name, overwrite=arguments.overwrite)
    if not arguments.quiet:
        print_out(f"{folder}: a self-made certificate of {made.name}, valid until {made.expires}, and its private key")
        if arguments.out is not None:
            print_out(f"LPT_CREDENTIALS={folder.resolve()} has it used")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    _require_library()
    from ..label.verification import VALID, read_trust_list

    trust = None if arguments.trust is None else read_trust_list(arguments.trust)
    call = FileCall(f"{_VERIFICATION}:verify_file", arguments.file, (trust, _own_chain()))
    with LimitedProcess(_VERIFICATION) as process:
        process.start([call])
        report = process.results()[0]
    if arguments.json:
        print_out(json.dumps(report, indent=1))
    elif not arguments.quiet:
        print_out("\n".join(_describe(report)))
    return 0 if report["state"] == VALID else EXIT_FAILURE


def _own_chain() -> str | None:
    """Return the chain of this computer's certificate, if it is self-made: its root has issued no other."""
    try:
        folder = credentials_folder()
        own = read_certificate(folder) if holds_certificate(folder) else None
    except (OSError, OptionError):
        return None
    return own.chain.decode() if own is not None and own.is_self_made else None


def _describe(report: dict[str, Any]) -> list[str]:
    """Return a report as lines: one sentence, then what is stated."""
    from ..label import verification as is_
    from ..label.certificates import SELF_MADE

    path, state, signer = report["path"], report["state"], report["signer"]
    if state == is_.NONE:
        return [f"{path}: it has no content credentials.", *(f"  {problem}" for problem in report["problems"])]
    if signer is None:
        return [f"{path}: invalid. Its content credentials are damaged ({report['problems'][0]})."]
    name = signer["name"] or "nobody by name"
    by = {
        is_.LISTED: f"{name}, whose certificate is on the list given",
        is_.THIS_COMPUTER: f"the self-made certificate of this computer ({name})",
        SELF_MADE: f"a self-made certificate ({name}), which does not prove who that is",
        is_.UNPROVEN: f"{name}: whether that is true can be told with a list of certificates (--trust)",
    }[signer["proof"]]
    if state == is_.VALID:
        verdict = f"{path}: valid. It has not changed since it was signed, by {by}."
    elif state == is_.UNTRUSTED:
        verdict = f"{path}: not on the list given. It has not changed since it was signed, by {by}."
    elif report["changed"]:
        verdict = f"{path}: invalid. It was changed after it had been signed, by {by}."
    else:
        verdict = f"{path}: invalid ({', '.join(report['problems'])}). It was signed by {by}."
    lines = [verdict, f"  made with: {report['tool']}", f"  digital source type: {report['digital_source_type']}"]
    lines.append(f"  actions: {', '.join(report['actions'])}")
    for each in report["ingredients"]:
        digest = "" if each["sha256"] is None else f", SHA-256 {each['sha256']}"
        lines.append(f"  ingredient: {each['title']} ({each['relationship']}{digest})")
    return lines
