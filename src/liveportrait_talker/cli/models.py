"""`liveportrait-talker models …`: each command is a function that returns data and prints it through a writer."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from ..progress import OnProgress, ignore_progress, steps_of
from ..weights import registry, store
from ..weights.importing import ImportedNetwork, ImportReport, import_folder
from ..weights.integrity import FIRST_USE, OWN
from ..weights.store import InstallStatus, VerificationResult
from .console import EXIT_MISTAKE, Bars, print_out

Writer = Callable[[str], None]
Command = Callable[[argparse.Namespace, Writer, OnProgress], tuple[Any, bool]]
"""Returns a result and whether it is a success."""


def list_models(write: Writer) -> tuple[InstallStatus, ...]:
    """List every released file with its networks, size, licence and status."""
    statuses = store.installed()
    write(f"weights in {store.root()}")
    for item in statuses:
        file = item.file
        size = f"{file.size / 1e6:,.1f} MB" if file.size else "size not published"
        state = "ready    " if item.ready else "partial  " if item.converted else "missing  "
        write(f"  {state}{file.name}  {size}: {', '.join(file.networks)}")
        write(f"           licence: {file.licence}")
        if file.sha256 is None:
            write("           no checksum is published: that of the first download is required from then on")
    return statuses


def download_models(
    names: Sequence[str], write: Writer, *, base: str | None = None, on_progress: OnProgress | None = None
) -> tuple[Path, ...]:
    """Download and convert. Raises WeightsError for the first file that cannot be downloaded; earlier ones stay."""
    if not names:
        raise WeightsError(f"name the weights to download: --all, or some of {', '.join(registry.names())}.")
    from ..weights.download import download_and_convert  # imports HTTP and TLS

    paths = []
    for file, path in download_and_convert(names, base=base, on_progress=on_progress):
        write(f"{file.name}: {path} ({', '.join(file.networks)}); licence: {file.licence}")
        paths.append(path)
    return tuple(paths)


def verify_models(
    names: Sequence[str], write: Writer, *, on_progress: OnProgress | None = None
) -> tuple[VerificationResult, ...]:
    """Compute the checksums of these files, by default of all that are installed. Named files must exist."""
    on_progress = on_progress or ignore_progress
    results: list[VerificationResult] = []
    for name in list(names) or [item.file.name for item in store.installed() if _is_present(item)]:
        files = registry.select([name]) if not Path(name).is_file() else ()
        for one in [file.name for file in files] or [name]:
            results += store.verify(one, steps_of(f"check {one}", on_progress))
    for result in results:
        write(f"  {result.state:10}{result.name}: {result.detail}")
    if not results:
        write(f"nothing is installed in {store.root()}: liveportrait-talker models download --all")
    return tuple(results)


def print_path(name: str, write: Writer) -> Path:
    """Print the path of a verified file. Raises WeightsError where there is none."""
    path = store.path(name)
    write(str(path))
    return path


def import_models(place: Path, write: Writer, *, on_progress: OnProgress | None = None) -> ImportReport:
    """Import a folder or a file and print the result for each file."""
    report = import_folder(place, on_progress=on_progress)
    for item in report.imported:
        write(f"  {'imported' if item.fresh else 'was here'}  {item.network} from {item.source}{_trust_note(item)}")
    for title, items in (("skipped ", report.skipped), ("unknown ", report.unknown), ("refused ", report.refused)):
        for file in items:
            write(f"  {title}  {file.path}: {file.reason}")
    if not report.imported and not report.refused:
        write(f"no weights were found in {place}")
    return report


def add_models_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `models` and its commands."""
    models = commands.add_parser("models", help="download, import and verify the networks' weights")
    inner = models.add_subparsers(title="commands", metavar="COMMAND", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")

    def add(name: str, text: str, run: Command) -> Any:
        parser = inner.add_parser(name, parents=[common, shared], help=text, description=text[0].upper() + text[1:])
        parser.set_defaults(run=lambda arguments: _run(arguments, run))
        return parser

    names = "names: " + ", ".join(registry.names()) + "; or liveportrait, sadtalker, talker"
    add("list", "list the weights and which are installed", lambda a, write, _: (list_models(write), True))
    download = add("download", "download weights, verify their checksums and convert them", _download)
    download.add_argument("names", nargs="*", metavar="NAME", help=names)
    download.add_argument("--all", action="store_true", help="all weights (about 1.3 GB)")
    download.add_argument(
        "--from", dest="base", metavar="URL_OR_DIR", help="a mirror, or a folder with the released files"
    )
    verify = add("verify", "compute the checksums of installed weights and report corrupt files", _verify)
    verify.add_argument("names", nargs="*", metavar="NAME", help="names or files (default: all that are installed)")
    path = add("path", "print the path of a weight file", lambda a, write, _: (print_path(a.name, write), True))
    path.add_argument("name", metavar="NAME", help=names + "; or a network")
    import_ = add("import", "import weights from a folder (or a file), verify and convert them", _import)
    import_.add_argument("place", type=Path, metavar="DIR", help="a folder in any layout, or one file")


def _run(arguments: argparse.Namespace, command: Command) -> int:
    def write(text: str) -> None:
        if not arguments.json:
            print_out(text)

    with Bars(quiet=arguments.quiet) as on_progress:
        result, ok = command(arguments, write, on_progress)
    if arguments.json:
        print_out(json.dumps(_to_json(result), indent=1))
    return 0 if ok else EXIT_MISTAKE


def _download(arguments: argparse.Namespace, write: Writer, on_progress: OnProgress) -> tuple[Any, bool]:
    names = registry.names() if arguments.all else arguments.names
    return download_models(names, write, base=arguments.base, on_progress=on_progress), True


def _verify(arguments: argparse.Namespace, write: Writer, on_progress: OnProgress) -> tuple[Any, bool]:
    results = verify_models(arguments.names, write, on_progress=on_progress)
    return results, all(result.good for result in results)


def _import(arguments: argparse.Namespace, write: Writer, on_progress: OnProgress) -> tuple[Any, bool]:
    report = import_models(arguments.place, write, on_progress=on_progress)
    return report, bool(report.imported) and not report.refused


def _is_present(item: InstallStatus) -> bool:
    return store.released_path(item.file).is_file() or bool(item.converted)


def _trust_note(item: ImportedNetwork) -> str:
    if item.trust == OWN:
        return " (intact, but its sha256 is not that of the released file: taken as your own)"
    return " (no checksum is published)" if item.trust == FIRST_USE else ""


def _to_json(value: Any) -> Any:
    """Return dataclasses, paths and tuples as JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [_to_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value
