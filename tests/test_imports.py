"""The order of the rooms: imports run one way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "liveportrait_talker"

# Each room may import what stands in an earlier line, and itself.
ORDER = [
    {"errors", "arrays", "progress"},
    {"examples", "system", "motion"},
    {"options", "media", "weights"},
    {"audio", "face"},
    {"render", "driving"},
    {"pipelines"},
    {"training", "batch"},
    {"ui"},
    {"cli"},
    {"original", "__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
# PyAV and Pillow are media's: a newer library replaces one room. MediaPipe is nobody's.
HOMES = {
    "mediapipe": set(),
    "pi_heif": {"media"},
    "av": {"media", "pipelines", "training"},  # doctor; clips are cut on the packets' own clock
    "lightning": {"training"},
    "ray": {"system"},
    "yt_dlp": {"training"},
    "PIL": {"media"},
    "tqdm": {"cli"},
    "matplotlib": {"training"},
    "gradio": {"ui"},
    "numba": {"system"},
    "omegaconf": {"original"},
    "yaml": {"original"},
}


def imports() -> list[tuple[str, str, str]]:
    """(room, imported room or library, file) of every import in the package."""
    found = []
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] == "__init__":
            continue  # the public names, loaded late
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


def test_every_room_has_its_place():
    rooms = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p.is_dir() and (p / "__init__.py").exists())}
    assert rooms - {"__init__"} == set(LEVEL)


def test_imports_run_one_way():
    wrong = [
        (file, used) for room, used, file in imports() if used in LEVEL and used != room and LEVEL[used] >= LEVEL[room]
    ]
    assert not wrong


def test_heavy_libraries_stay_in_their_rooms():
    wrong = [(file, used) for room, used, file in imports() if used in HOMES and room not in HOMES[used]]
    assert not wrong
    unpicklers = [file for _, used, file in imports() if used == "pickle"]
    assert [Path(file).name for file in unpicklers] == ["restricted_pickle.py"], "it reads what anybody may have made"
    assert not [file for _, used, file in imports() if used == "scipy"]


def test_torch_stays_with_the_networks():
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
    wrong = [f for _, used, f in imports() if used in {"torch", "safetensors"} and not any(a in f for a in allowed)]
    assert not wrong


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, liveportrait_talker\n"
        "heavy = {'numpy', 'cv2', 'numba', 'av', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert all(getattr(liveportrait_talker, name) is not None for name in liveportrait_talker.__all__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_torch_reads_when_it_is_loaded_is_set_before():
    """OpenMP's waiting and what MPS lacks: a later word is not heard."""
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
