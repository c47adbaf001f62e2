"""Import rules of the package (docs/architecture.md)."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "liveportrait_talker"

# Each package may import itself and those of earlier lines.
ORDER = [
    {"errors", "arrays", "progress"},
    {"examples", "system", "motion"},
    {"options", "media", "weights", "label"},
    {"audio", "face"},
    {"render", "driving"},
    {"live", "scoring"},
    {"pipelines"},
    {"training", "batch", "serving", "integrations"},
    {"ui"},
    {"cli"},
    {"original", "__main__"},
]
LEVEL = {package: level for level, packages in enumerate(ORDER) for package in packages}
# Each library is used in few places, so that it can be replaced. MediaPipe is not used at all.
ALLOWED_IN = {
    "mediapipe": set(),
    "pi_heif": {"media"},
    "av": {"media", "pipelines", "serving", "training"},  # doctor; WebRTC's frames; cutting clips by packet times
    "lightning": {"training"},
    "ray": {"system"},
    "yt_dlp": {"training"},
    "PIL": {"media"},
    "tqdm": {"cli"},
    "matplotlib": {"training"},
    "gradio": {"ui"},
    "aiortc": {"serving"},
    "uvicorn": {"serving"},
    "websockets": {"serving"},
    "pipecat": {"integrations"},
    "livekit": {"integrations"},
    "c2pa": {"label"},
    "cryptography": {"label"},
    "numba": {"system"},
    "omegaconf": {"original"},
    "yaml": {"original"},
}


@cache
def find_imports() -> list[tuple[str, str, str]]:
    """Return (package, imported package or library, file) of each import."""
    found = []
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] == "__init__":
            continue  # imports lazily
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found += [(parts[0], alias.name.split(".")[0], str(file)) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                module = (node.module or "").split(".")
                if node.level:
                    base = list(parts[:-1])[: len(parts) - node.level]
                    path = base + ([] if module == [""] else module)
                    names = [path[0]] if path else [alias.name for alias in node.names]
                elif module[0] == "liveportrait_talker":
                    names = [module[1]] if len(module) > 1 else [alias.name for alias in node.names]
                else:
                    names = [module[0]]
                found += [(parts[0], name, str(file)) for name in names]
    return found


def test_order_lists_all_packages():
    packages = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p.is_dir() and (p / "__init__.py").exists())}
    assert packages - {"__init__"} == set(LEVEL)


def test_imports_follow_the_order():
    wrong = [
        (file, used)
        for package, used, file in find_imports()
        if used in LEVEL and used != package and LEVEL[used] >= LEVEL[package]
    ]
    assert not wrong


def test_libraries_are_imported_only_where_allowed():
    wrong = [
        (file, used) for package, used, file in find_imports() if used in ALLOWED_IN and package not in ALLOWED_IN[used]
    ]
    assert not wrong
    unpicklers = {Path(file).name for _, used, file in find_imports() if used == "pickle"}
    # What `jit` reads is machine code in any case, from a folder that only the user can write.
    assert unpicklers == {"jit.py", "restricted_pickle.py"}, "pickle executes code"
    assert not [file for _, used, file in find_imports() if used == "scipy"]


def test_torch_is_imported_only_by_network_code():
    """The embedded renderer runs on an install without torch."""
    allowed = (
        "/pipelines/networks.py",
        "/system/devices.py",
        "/cli/bench/neural.py",
        "/cli/bench/training.py",
        "/weights/",
        "/render/neural/",
        "/driving/sadtalker/",
        "/training/",
    )
    wrong = [
        f for _, used, f in find_imports() if used in {"torch", "safetensors"} and not any(a in f for a in allowed)
    ]
    assert not wrong


def test_import_loads_no_heavy_library():
    code = (
        "import sys, liveportrait_talker\n"
        "heavy = {'numpy', 'cv2', 'numba', 'av', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert all(getattr(liveportrait_talker, name) is not None for name in liveportrait_talker.__all__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_environment_is_set_before_torch_is_loaded():
    """torch reads the OpenMP and MPS settings once, when it is loaded."""
    code = (
        "import os, sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n"
        "            print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('PYTORCH_ENABLE_MPS_FALLBACK'))\n"
        "            sys.exit()\n"
        "sys.meta_path.insert(0, Hook())\n"
        "from liveportrait_talker.render.neural.liveportrait import LivePortrait\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "PYTORCH_ENABLE_MPS_FALLBACK")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["PASSIVE", "1"], done.stderr
