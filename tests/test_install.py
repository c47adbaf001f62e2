"""Installation from a wheel with pip, on the oldest and the newest Python available."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
from python_matrix import interpreters  # noqa: E402

PYTHONS = interpreters()
OLDEST_AND_NEWEST = list(PYTHONS)[:1] + list(PYTHONS)[1:][-1:]
# The lowest versions that pyproject.toml allows, for the oldest Python; the newest Python gets the newest versions.
_DEPENDENCIES = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
assert _DEPENDENCIES is not None
LOWEST = "".join(f"{name}=={version}.*\n" for name, version in re.findall(r'"([\w-]+)>=([\d.]+)', _DEPENDENCIES[1]))
SAMPLE_OF_TESTS = ("tests/face", "tests/motion", "tests/media/test_still.py", "tests/media/test_heic.py")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command without this checkout on its path, and return its output."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "VIRTUAL_ENV", "LPT_"))}
    done = subprocess.run(
        command, cwd=cwd, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, built by `python -m build` from a copy of the source."""
    place = tmp_path_factory.mktemp("build")
    source = place / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "venv", place / "tools", cwd=place)
    python = place / "tools" / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-compile", "--quiet", "build", "twine", cwd=place)
    run(python, "-m", "build", "--outdir", place / "dist", source, cwd=place)
    run(python, "-m", "twine", "check", "--strict", *(place / "dist").iterdir(), cwd=place)
    return place / "dist"


@pytest.mark.parametrize("version", OLDEST_AND_NEWEST)
def test_wheel_installs_and_makes_a_video(dist, tmp_path, version):
    (wheel,) = dist.glob("*.whl")
    run(PYTHONS[version], "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python, command = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "liveportrait-talker"
    lowest = tmp_path / "lowest.txt"
    lowest.write_text(LOWEST if version == OLDEST_AND_NEWEST[0] and len(OLDEST_AND_NEWEST) > 1 else "")
    run(python, "-m", "pip", "install", "--no-compile", "--quiet", wheel, "--constraint", lowest, cwd=tmp_path)
    output = run(command, "demo", "--examples", "examples", cwd=tmp_path)
    assert "demo.mp4: 186 frames" in output
    with av.open(str(tmp_path / "demo.mp4")) as container:
        assert container.streams.video[0].frames == 186 and container.streams.audio
    run(command, "generate", "examples/portrait.png", "examples/voice.wav", "-o", "own.mp4", "--fps", "5", cwd=tmp_path)
    lines = run(command, "doctor", cwd=tmp_path)
    assert "renderer embedded: ready" in lines
    run(python, "-m", "pip", "install", "--no-compile", "--quiet", "hypothesis", "pytest", "scipy", cwd=tmp_path)
    run(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(ROOT / part for part in SAMPLE_OF_TESTS), cwd=tmp_path
    )


def test_wheel_has_all_package_files(dist):
    (wheel,) = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    package = ROOT / "src" / "liveportrait_talker"
    for file in package.rglob("*"):
        if file.suffix in (".npz", ".onnx", ".md", ".csv", ".json", ".yaml", ".png", ".wav", ".typed", ".py"):
            assert str(file.relative_to(package.parent)) in names
    licences = [name for name in names if ".dist-info/licenses/" in name]
    assert any(name.endswith("licenses/LICENSE") for name in licences)
    assert any(name.endswith("face/models/LICENSE") for name in licences)
    assert not [name for name in names if name.startswith(("tests", "scripts"))]
