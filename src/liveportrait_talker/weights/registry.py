"""Registry of the released weight files: addresses, sizes, checksums, licences and networks.

Sizes and checksums are those of the files' Git LFS pointers. Where none is published, the checksum of the first
download that holds its networks is stored beside the file and required from then on (trust on first use).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import WeightsError

NETWORKS = (
    "appearance_feature_extractor",
    "motion_extractor",
    "warping_module",
    "spade_generator",
    "stitching",
    "retarget_eye",
    "retarget_lip",
    "sadtalker_audio2exp",
    "sadtalker_audio2pose",
    "sadtalker_face_3drecon",
    "mappingnet",
)
MAPPINGNET_ROWS = 28
"""Rows of a coefficient window of the released MappingNet (docs/method/sadtalker.md, Windows)."""

_LIVEPORTRAIT_LICENCE = "MIT (LivePortrait, Kuaishou); its InsightFace models, which are non-commercial, are not used"


@dataclass(frozen=True)
class ReleasedFile:
    """A released file. `sources` are addresses, tried in turn; `folder` is its place in the released layout."""

    name: str
    folder: str
    file_name: str
    sources: tuple[str, ...]
    networks: tuple[str, ...]
    licence: str
    size: int | None = None  # bytes
    sha256: str | None = None

    @property
    def group(self) -> str:
        """The releasing project: the first part of the name."""
        return self.name.partition("/")[0]


def _liveportrait(folder: str, stem: str, networks: tuple[str, ...], size: int, sha256: str) -> ReleasedFile:
    folder = f"liveportrait/{folder}"
    owners = ("KwaiVGI", "KlingTeam")  # the same repository under its old and its new owner
    return ReleasedFile(
        name=f"liveportrait/{stem}",
        folder=folder,
        file_name=f"{stem}.pth",
        sources=tuple(f"https://huggingface.co/{o}/LivePortrait/resolve/main/{folder}/{stem}.pth" for o in owners),
        networks=networks,
        licence=_LIVEPORTRAIT_LICENCE,
        size=size,
        sha256=sha256,
    )


FILES: tuple[ReleasedFile, ...] = (
    _liveportrait(
        "base_models",
        "appearance_feature_extractor",
        ("appearance_feature_extractor",),
        3_387_959,
        "5279bb8654293dbdf327030b397f107237dd9212fb11dd75b83dfb635211ceb5",
    ),
    _liveportrait(
        "base_models",
        "motion_extractor",
        ("motion_extractor",),
        112_545_506,
        "251e6a94ad667a1d0c69526d292677165110ef7f0cf0f6d199f0e414e8aa0ca5",
    ),
    _liveportrait(
        "base_models",
        "warping_module",
        ("warping_module",),
        182_180_086,
        "2f61a6f265fe344f14132364859a78bdbbc2068577170693da57fb96d636e282",
    ),
    _liveportrait(
        "base_models",
        "spade_generator",
        ("spade_generator",),
        221_813_590,
        "4780afc7909a9f84e24c01d73b31a555ef651521a1fe3b2429bd04534d992aee",
    ),
    _liveportrait(
        "retargeting_models",
        "stitching_retargeting_module",
        ("stitching", "retarget_eye", "retarget_lip"),
        2_393_098,
        "3652d5a3f95099141a56986aaddec92fadf0a73c87a20fac9a2c07c32b28b611",
    ),
    ReleasedFile(
        name="sadtalker/v0.0.2-256",
        folder="sadtalker",
        file_name="SadTalker_V0.0.2_256.safetensors",
        sources=(
            "https://github.com/OpenTalker/SadTalker/releases/download/v0.0.2-rc/SadTalker_V0.0.2_256.safetensors",
        ),
        networks=("sadtalker_audio2exp", "sadtalker_audio2pose", "sadtalker_face_3drecon"),
        licence="Apache-2.0 (SadTalker); trained with the Basel Face Model, which has its own terms",
        # From a public Git LFS pointer of the file and, alike, three other public download scripts; the size is that of
        # its tensors plus the header.
        size=725_066_984,
        sha256="c211f5d6de003516bf1bbda9f47049a4c9c99133b1ab565c6961e5af16477bff",
    ),
    ReleasedFile(
        name="talker/mappingnet",
        folder="",
        file_name="mappingnet_basic_64inp_onlylip.pt",
        sources=(
            "https://huggingface.co/mustafakara/liveportrait_talker/resolve/main/pretrained_models/"
            "mappingnet_basic_64inp_onlylip.pt",
        ),
        networks=("mappingnet",),
        licence="not stated by its authors: see huggingface.co/mustafakara/liveportrait_talker",
    ),
)


def names() -> tuple[str, ...]:
    """Return the names of all released files."""
    return tuple(file.name for file in FILES)


def find(name: str) -> ReleasedFile:
    """Return the released file of a name, a file name or a network in it.

    Raises:
        WeightsError: there is none.
    """
    for file in FILES:
        if name in (file.name, file.file_name) or name in file.networks:
            return file
    raise WeightsError(f"there are no weights named {name!r}: the names are {', '.join(names())}.")


def select(wanted: Iterable[str]) -> tuple[ReleasedFile, ...]:
    """Return the files of these names, without repeats; the name of a group (`liveportrait`) selects all of its files.

    Raises:
        WeightsError: a name is not known.
    """
    chosen: dict[str, ReleasedFile] = {}
    for name in wanted:
        group = [file for file in FILES if file.group == name]
        for file in group or [find(name)]:
            chosen[file.name] = file
    return tuple(chosen.values())


def holding(network: str) -> ReleasedFile:
    """Return the released file that holds `network`.

    Raises:
        WeightsError: there is no such network.
    """
    for file in FILES:
        if network in file.networks:
            return file
    raise WeightsError(f"there is no network {network!r}: the names are {', '.join(NETWORKS)}.")


def find_by_file_name(file_name: str) -> ReleasedFile | None:
    """Return the released file with this file name, if there is one."""
    return next((file for file in FILES if file.file_name == file_name), None)
