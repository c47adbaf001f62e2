"""The content credentials of an output: who signs them, and what they state."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from ..label.certificates import Certificate, find_certificate
from ..label.library import FORMATS, missing_library
from ..label.manifest import Ingredient, build_manifest
from ..label.signing import check_certificate, sign_file
from ..media.output_file import Label
from ..options.animate import AnimateOptions
from ..options.edit import EditSetup
from ..options.fields import paths_in
from ..options.talk import TalkOptions
from ..weights.integrity import sha256_of

log = logging.getLogger(__name__)

OutputOptions: TypeAlias = TalkOptions | AnimateOptions | EditSetup
_TRAINED = {"neural", "hybrid", "learned"}
"""Renderers and drivers whose networks make what is seen."""


@dataclass(frozen=True)
class Origin:
    """The files that an output is made from, besides those that its options name."""

    source: Path
    is_still: bool
    """Whether the source is an image."""
    others: Mapping[str, Path | tuple[Path, ...] | None]
    """Role → file or files."""
    driver: str | None = None
    """Name of the voice driver."""


def find_signer(path: Path, options: OutputOptions, *, is_sequence: bool) -> Certificate | None:
    """Return the certificate that signs an output; None, with a note, where it gets no content credentials.

    None without a note where they are switched off, or the library is not installed. Raises OptionError for a
    certificate that cannot sign.
    """
    if not options.credentials or missing_library() is not None:
        return None
    if is_sequence or path.suffix.lower() not in FORMATS:
        kind = "numbered pictures get" if is_sequence else f"a {path.suffix} file can hold"
        log.info("%s: %s no content credentials; the metadata says that it is AI-generated.", path.name, kind)
        return None
    try:
        certificate = find_certificate()
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
        log.warning("%s gets no content credentials: no certificate could be made (%s).", path.name, reason)
        return None
    check_certificate(certificate)
    return certificate


def prepare_label(
    certificate: Certificate,
    options: OutputOptions,
    origin: Origin,
    *,
    title: str,
    description: str,
    renderer: str,
    is_image: bool,
) -> Label:
    """Return what writes the content credentials of an output into its file. Raises OSError: an input is missing.

    Args:
        certificate: signs them.
        options: of the output.
        origin: of the output.
        title: of the output.
        description: what was done, a sentence.
        renderer: name of the renderer.
        is_image: whether the output is an image.
    """
    head_pose = options.head_pose if isinstance(options, TalkOptions) else None
    manifest = build_manifest(
        title=title,
        description=description,
        trained=bool(_TRAINED & {renderer, origin.driver}) or head_pose == "audio",
        opened=origin.is_still == is_image,
        ingredients=[Ingredient(role, sha256_of(path)) for role, path in _inputs(options, origin)],
    )
    return partial(sign_file, manifest=manifest, certificate=certificate)


def _inputs(options: OutputOptions, origin: Origin) -> Iterator[tuple[str, Path]]:
    """Yield the role and path of each input: for files in options, the name of the option."""
    named = {"source": origin.source, **origin.others, **vars(options), "background": options.background_file}
    for role, value in named.items():
        for path in dict.fromkeys(paths_in(value)):
            yield role, path
