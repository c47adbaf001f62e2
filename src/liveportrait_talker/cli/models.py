"""`liveportrait-talker models …`: each verb a function that returns data and says it through a writer."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from ..progress import OnProgress, ignore_progress
from ..weights import registry, store
from ..weights.importing import Imported, ImportReport, import_folder
from ..weights.integrity import FIRST_USE, OWN
from ..weights.store import Installed, Verdict
from .console import print_out

Writer = Callable[[str], None]
Progress = Callable[[bool], AbstractContextManager[OnProgress]]
EXIT_MISTAKE = 2


def list_models(say: Writer) -> tuple[Installed, ...]:
    """Every released file: what it holds, its size and licence, and whether it is here."""
    found = store.installed()
    say(f"weights in {store.root()}")
    for item in found:
        file = item.file
        size = f"{file.size / 1e6:,.1f} MB" if file.size else "size not published"
        state = "ready    " if item.ready else "partial  " if item.converted else "missing  "
        say(f"  {state}{file.name}  {size}: {', '.join(file.networks)}")
        say(f"           licence: {file.licence}")
        if file.sha256 is None:
            say("           no sum is published: the first download is trusted, and held to its sum from then on")
    return found


def download_models(
    names: Sequence[str], say: Writer, *, base: str | None = None, on_progress: OnProgress | None = None
) -> tuple[Path, ...]:
    """Fetch and convert. Raises WeightsError for the first file that cannot be had; those before it stay."""
    if not names:
        raise WeightsError(f"say which weights: --all, or some of {', '.join(registry.names())}.")
    from ..weights.download import download_and_convert  # brings HTTP and TLS along

    paths = []
    for file, path in download_and_convert(names, base=base, on_progress=on_progress):
        say(f"{file.name}: {path} ({', '.join(file.networks)}); licence: {file.licence}")
        paths.append(path)
    return tuple(paths)


def verify_models(names: Sequence[str], say: Writer, *, on_progress: OnProgress | None = None) -> tuple[Verdict, ...]:
    """Sum the files of these names (or all that are installed) anew. What is named must be there."""
    wanted = list(names) or [item.file.name for item in store.installed() if _anything(item)]
    verdicts: list[Verdict] = []
    for name in wanted:
        known = registry.select([name]) if not Path(name).is_file() else ()
        for one in [file.name for file in known] or [name]:
            tell = None if on_progress is None else _named(on_progress, f"check {one}")
            verdicts += store.verify(one, tell)
    for verdict in verdicts:
        say(f"  {verdict.state:10}{verdict.name}: {verdict.detail}")
    if not verdicts:
        say(f"nothing is installed in {store.root()}: liveportrait-talker models download --all")
    return tuple(verdicts)


def path_of(name: str, say: Writer) -> Path:
    """The trusted file of a name. Raises WeightsError where there is none."""
    path = store.path(name)
    say(str(path))
    return path


def import_models(place: Path, say: Writer, *, on_progress: OnProgress | None = None) -> ImportReport:
    """Import a folder or a file and say what became of each file."""
    report = import_folder(place, on_progress=on_progress)
    for item in report.imported:
        say(f"  {'imported' if item.fresh else 'was here'}  {item.network} from {item.source}{_trust(item)}")
    for title, items in (("skipped ", report.skipped), ("unknown ", report.unknown), ("refused ", report.refused)):
        for left in items:
            say(f"  {title}  {left.path}: {left.reason}")
    if not report.imported and not report.refused:
        say(f"no weights were found in {place}")
    return report


def add_models_parser(verbs: Any, common: argparse.ArgumentParser, progress: Progress | None = None) -> None:
    """Add `models` with its verbs to the command line. `progress(quiet)` makes what shows progress; none by default."""
    models = verbs.add_parser("models", help="download, import and check the networks' weights")
    inner = models.add_subparsers(title="commands", metavar="COMMAND", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print a machine-readable report on standard output")
    show = progress or (lambda quiet: nullcontext(ignore_progress))

    def add(name: str, text: str, run: Callable[[argparse.Namespace, Writer, OnProgress], tuple[Any, bool]]) -> Any:
        parser = inner.add_parser(name, parents=[common, shared], help=text, description=text[0].upper() + text[1:])
        parser.set_defaults(run=lambda arguments: _run(arguments, run, show))
        return parser

    known = "names: " + ", ".join(registry.names()) + "; or liveportrait, sadtalker, talker"
    add("list", "say which weights there are and which are installed", lambda a, say, tell: (list_models(say), True))
    fetch = add("download", "fetch weights, check their sums and convert them", _download)
    fetch.add_argument("names", nargs="*", metavar="NAME", help=known)
    fetch.add_argument("--all", action="store_true", help="all of them (about 1.3 GB)")
    fetch.add_argument(
        "--from", dest="base", metavar="URL_OR_DIR", help="a mirror, or a folder with the released files"
    )
    check = add("verify", "sum the installed weights anew and name what is corrupt", _verify)
    check.add_argument("names", nargs="*", metavar="NAME", help="names or files; all that are installed by default")
    place = add("path", "print where a file of weights is", lambda a, say, tell: (path_of(a.name, say), True))
    place.add_argument("name", metavar="NAME", help=known + "; or a network")
    bring = add("import", "take weights from a folder (or a file), check and convert them", _import)
    bring.add_argument("place", type=Path, metavar="DIR", help="a folder in any layout, or one file")


def _run(
    arguments: argparse.Namespace,
    verb: Callable[[argparse.Namespace, Writer, OnProgress], tuple[Any, bool]],
    show: Progress,
) -> int:
    def say(text: str) -> None:
        if not arguments.json:
            print_out(text)

    with show(arguments.quiet) as tell:
        result, good = verb(arguments, say, tell)
    if arguments.json:
        print_out(json.dumps(_plain(result), indent=1))
    return 0 if good else EXIT_MISTAKE


def _download(arguments: argparse.Namespace, say: Writer, tell: OnProgress) -> tuple[Any, bool]:
    names = registry.names() if arguments.all else arguments.names
    return download_models(names, say, base=arguments.base, on_progress=tell), True


def _verify(arguments: argparse.Namespace, say: Writer, tell: OnProgress) -> tuple[Any, bool]:
    verdicts = verify_models(arguments.names, say, on_progress=tell)
    return verdicts, all(verdict.good for verdict in verdicts)


def _import(arguments: argparse.Namespace, say: Writer, tell: OnProgress) -> tuple[Any, bool]:
    report = import_models(arguments.place, say, on_progress=tell)
    return report, bool(report.imported) and not report.refused


def _anything(item: Installed) -> bool:
    return store.released_path(item.file).is_file() or bool(item.converted)


def _named(on_progress: OnProgress, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: on_progress(stage, done, total)


def _trust(item: Imported) -> str:
    if item.trust == OWN:
        return " (whole, but not the released file by its sha256: taken as your own)"
    return " (no sum is published for it)" if item.trust == FIRST_USE else ""


def _plain(value: Any) -> Any:
    """Dataclasses, paths and tuples as JSON knows them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
