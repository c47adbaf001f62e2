"""Installation report: what is installed, what can run, what is missing and the command that installs it."""

from __future__ import annotations

import importlib
import os
import platform
from importlib import metadata
from importlib.util import find_spec

from .. import __version__
from ..driving.signal.closures import find_recogniser
from ..errors import OptionError
from ..label.certificates import credentials_folder, holds_certificate, read_certificate
from ..label.library import missing_library
from ..label.signing import check_certificate
from ..system.cache import cache_folder
from ..system.devices import torch_device, torch_dtype
from .engines import HEAD_POSE_NETWORKS, LIP_NETWORKS, RENDERER_NETWORKS, missing_parts

# Needed by the embedded renderer: module, package, purpose.
_NEEDED = (
    ("numpy", "numpy", "arithmetic"),
    ("av", "av", "FFmpeg's libraries: sound and video"),
    ("PIL", "pillow", "pictures"),
    ("pi_heif", "pi-heif", "HEIC pictures"),
    ("cv2", "opencv-python-headless", "finding faces, sampling pictures"),
    ("numba", "numba", "compiled drawing"),
    ("tqdm", "tqdm", "progress bars"),
)
# Needed by the networks and by other commands.
_OPTIONAL = (
    ("torch", "torch", "the networks: pip install 'liveportrait-talker[neural]'"),
    ("safetensors", "safetensors", "their weights: pip install 'liveportrait-talker[neural]'"),
    ("gradio", "gradio", "the page, ui: pip install 'liveportrait-talker[ui]'"),
    ("aiortc", "aiortc", "live: pip install 'liveportrait-talker[live]'"),
    ("espeakng_loader", "espeakng-loader", "typed text: pip install 'liveportrait-talker[speech]'"),
    ("omegaconf", "omegaconf", "inference.py: pip install 'liveportrait-talker[original]'"),
)
# System libraries that an import may lack, and their packages on Debian and Ubuntu.
_SYSTEM = {
    "libGL.so": "apt-get install libgl1",
    "libgthread": "apt-get install libglib2.0-0",
    "libglib": "apt-get install libglib2.0-0",
    "libEGL": "apt-get install libegl1",
    "libGLESv2": "apt-get install libgles2",
}


def report() -> tuple[list[str], bool]:
    """Return lines to print, and whether the embedded renderer can run."""
    lines = [
        f"liveportrait-talker {__version__}, Python {platform.python_version()}, {platform.platform()}, "
        f"{os.cpu_count()} CPUs"
    ]
    problems: list[str] = []
    for module, package, use in _NEEDED:
        trouble = _import_trouble(module)
        if trouble is None:
            lines.append(f"  ok       {package} {_version(module, package)}: {use}")
        else:
            problems.append(trouble)
            lines.append(f"  missing  {package}: {use} ({trouble})")
    trouble = None if problems else _encoder_trouble()
    if trouble is None:
        lines.append("  ok       H.264 and AAC encoders")
    else:
        problems.append(trouble)
        lines.append(f"  missing  H.264 and AAC encoders ({trouble})")
    unkept = _cache_trouble()
    if unkept is not None:
        lines.append(f"  note     poses of reference videos are not kept between runs: {unkept}")
    lines.append(
        "renderer embedded: ready, needs no downloads"
        if not problems
        else f"renderer embedded: cannot run; {problems[0]}"
    )
    for module, package, use in _OPTIONAL:
        here = find_spec(module) is not None
        lines.append(
            f"  {'ok      ' if here else 'absent  '} {package} {_version(module, package) if here else ''}: {use}"
        )
    for what, networks in (
        ("renderer neural (and hybrid)", RENDERER_NETWORKS),
        ("driver learned", LIP_NETWORKS),
        ("--head-pose audio", HEAD_POSE_NETWORKS),
    ):
        missing = missing_parts(networks, {})
        lines.append(f"{what}: {_neural_note() if missing is None else f'not ready; {missing}'}")
    lines.append(f"content credentials: {_credentials_note()}")
    found = find_recogniser()
    closed_by = f"its own network; {found}" if isinstance(found, str) else f"hama {_version('hama', 'hama')}"
    lines.append(f"driver signal: ready, P, B and M by {closed_by}")
    lines.append(_verdict(problems))
    return lines, not problems


def _verdict(problems: list[str]) -> str:
    """Return in a sentence whether videos can be made, and by what."""
    if problems:
        return f"Verdict: no video can be made yet. {problems[0]}, then ask again."
    networks = missing_parts(RENDERER_NETWORKS, {})
    if networks is None:
        return "Verdict: all is ready; generate draws with the networks, or with --renderer embedded without them."
    return (
        "Verdict: ready, try `liveportrait-talker demo`. Videos are drawn without networks; how to add these is said "
        "above."
    )


def _credentials_note() -> str:
    """Return whether outputs get content credentials, and who signs them."""
    if missing := missing_library():
        return f"off; {missing}"
    try:
        folder = credentials_folder()
        if not holds_certificate(folder):
            return f"on; the first output makes a self-made certificate in {folder}"
        certificate = read_certificate(folder)
        check_certificate(certificate)
    except OptionError as error:
        return f"outputs cannot be made with them; {error}"
    except OSError as error:
        return f"off; {error.filename} cannot be used ({error.strerror}): set LPT_CREDENTIALS to a folder"
    kind = "self-made certificate" if certificate.is_self_made else "certificate"
    return f"on, signed with the {kind} of {certificate.name} in {folder}, valid until {certificate.expires}"


def _neural_note() -> str:
    """Return the device and number format of the networks."""
    device = torch_device()
    return f"ready, on {device.type} in {str(torch_dtype('auto', device)).removeprefix('torch.')}"


def _version(module: str, package: str) -> str:
    """Return the package's version, or the module's where another package provides it (builds of OpenCV)."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return str(getattr(importlib.import_module(module), "__version__", "?"))


def _import_trouble(module: str) -> str | None:
    """Return what to do where `module` cannot be imported, else None."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        for library, command in _SYSTEM.items():
            if library in str(error):
                return f"{command}, for {library}"
        return "pip install liveportrait-talker, or `make setup` in a checkout"
    return None


def _encoder_trouble() -> str | None:
    from av.codec import Codec
    from av.error import FFmpegError

    for name in ("libx264", "aac"):
        try:
            Codec(name, "w")
        except (FFmpegError, ValueError):
            return f"this build of PyAV has no {name} encoder: pip install --force-reinstall --only-binary av av"
    return None


def _cache_trouble() -> str | None:
    try:
        cache_folder("poses")
    except OSError as error:
        return f"{error.filename} cannot be used ({error.strerror}): set LPT_CACHE to a folder of your own"
    return None
