"""The package as a stranger installs it: a wheel and plain pip, on the oldest and the newest Python at hand."""

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
ENDS = list(PYTHONS)[:1] + list(PYTHONS)[1:][-1:]
# What pyproject.toml allows at least: the oldest Python gets these, the newest what is newest.
_DEPENDENCIES = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
assert _DEPENDENCIES is not None
LOWEST = "".join(f"{name}=={version}.*\n" for name, version in re.findall(r'"([\w-]+)>=([\d.]+)', _DEPENDENCIES[1]))
HANDFUL = ("tests/face", "tests/motion", "tests/media/test_still.py", "tests/media/test_heic.py")


def run(*command: str | Path, cwd: Path) -> str:
    """Output of a command that must work, without this checkout on its path."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "VIRTUAL_ENV", "LPT_"))}
    done = subprocess.run(
        command, cwd=cwd, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, made by the front end that packagers use, from a copy of the source."""
    place = tmp_path_factory.mktemp("built")
    source = place / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "venv", place / "tools", cwd=place)
    python = place / "tools" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "build", "twine", cwd=place)
    run(python, "-m", "build", "--outdir", place / "dist", source, cwd=place)
    run(python, "-m", "twine", "check", "--strict", *(place / "dist").iterdir(), cwd=place)
    return place / "dist"


@pytest.mark.parametrize("version", ENDS)
def test_a_plain_install_makes_a_video(built, tmp_path, version):
    (wheel,) = built.glob("*.whl")
    run(PYTHONS[version], "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python, command = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "liveportrait-talker"
    lowest = tmp_path / "lowest.txt"
    lowest.write_text(LOWEST if version == ENDS[0] and len(ENDS) > 1 else "")
    run(python, "-m", "pip", "install", "--quiet", wheel, "--constraint", lowest, cwd=tmp_path)
    said = run(command, "demo", "--examples", "examples", cwd=tmp_path)
    assert "demo.mp4: 186 frames" in said
    with av.open(str(tmp_path / "demo.mp4")) as container:
        assert container.streams.video[0].frames == 186 and container.streams.audio
    run(command, "generate", "examples/portrait.png", "examples/voice.wav", "-o", "own.mp4", "--still", cwd=tmp_path)
    lines = run(command, "doctor", cwd=tmp_path)
    assert "renderer embedded: ready" in lines
    run(python, "-m", "pip", "install", "--quiet", "hypothesis", "pytest", "scipy", cwd=tmp_path)
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(ROOT / part for part in HANDFUL), cwd=tmp_path)


def test_the_wheel_holds_all_it_needs(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    package = ROOT / "src" / "liveportrait_talker"
    for file in package.rglob("*"):
        if file.suffix in (".npz", ".onnx", ".md", ".csv", ".json", ".yaml", ".png", ".wav", ".typed", ".py"):
            assert str(file.relative_to(package.parent)) in names
    licences = [name for name in names if ".dist-info/licenses/" in name]
    assert any(name.endswith("licenses/LICENSE") for name in licences)
    assert any(name.endswith("face/models/LICENSE") for name in licences)
    assert not [name for name in names if name.startswith(("tests", "scripts"))]
