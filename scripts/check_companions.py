"""Check that pip can install us beside the packages that people use us with: `make companions`.

Resolves only (`pip install --dry-run`), in a temporary environment: it needs the network and installs nothing. Prints one line
for each companion, and leaves with 1 where one does not resolve.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What ComfyUI's requirements.txt asks for, without the packages that it publishes itself.
COMFYUI = [
    "torch",
    "torchvision",
    "torchaudio",
    "numpy>=1.25.0",
    "einops",
    "transformers>=4.50.3",
    "tokenizers>=0.13.3",
    "sentencepiece",
    "safetensors>=0.4.2",
    "aiohttp>=3.11.8",
    "yarl>=1.18.0",
    "pyyaml",
    "Pillow",
    "scipy",
    "tqdm",
    "psutil",
    "alembic",
    "SQLAlchemy>=2.0",
    "av>=14.2.0",
    "kornia>=0.7.1",
    "spandrel",
    "pydantic~=2.0",
    "pydantic-settings~=2.0",
]
COMPANIONS = {
    "pipecat-ai": ["pipecat-ai"],
    "livekit-agents": ["livekit-agents"],
    "ComfyUI": COMFYUI,
    "NumPy 1.26": ["numpy<2", "opencv-python-headless<4.12"],  # as README says
}
VERSIONS_SHOWN = ("pipecat-ai", "livekit-agents", "torch", "numpy", "av", "pillow", "opencv-python-headless", "numba")


def main() -> int:
    """Resolve each companion with us."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COMPANIONS)}; all by default")
    names = parser.parse_args().names or list(COMPANIONS)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--upgrade", "pip"], check=True)
        for name in names:
            started = time.monotonic()
            done = subprocess.run(
                [*pip, "install", "--dry-run", "--no-color", str(ROOT), *COMPANIONS[name]],
                capture_output=True,
                text=True,
                check=False,
            )
            seconds = time.monotonic() - started
            if done.returncode:
                failed = True
                print(f"{name}: does not resolve ({seconds:.0f} s)\n{done.stderr.strip()}")
            else:
                print(f"{name}: resolves ({seconds:.0f} s): {', '.join(chosen(done.stdout))}")
    return int(failed)


def chosen(output: str) -> list[str]:
    """The versions worth showing, from pip's last line."""
    line = next(line for line in output.splitlines() if line.startswith("Would install"))
    words = line.split()[2:]
    return [word for word in words if word.rpartition("-")[0].lower().replace("_", "-") in VERSIONS_SHOWN]


if __name__ == "__main__":
    sys.exit(main())
