"""The package as a stranger installs it: a wheel and plain pip, on the oldest and the newest Python at hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
from python_matrix import interpreters  # noqa: E402

PYTHONS = interpreters()
ENDS = list(PYTHONS)[:1] + list(PYTHONS)[1:][-1:]
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
    """A folder with the wheel and the sdist, made by the front end that packagers use."""
    place = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "venv", place / "tools", cwd=place)
    python = place / "tools" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "build", "twine", cwd=place)
    run(python, "-m", "build", "--outdir", place / "dist", ROOT, cwd=place)
    run(python, "-m", "twine", "check", "--strict", *(place / "dist").iterdir(), cwd=place)
    return place / "dist"


@pytest.mark.xdist_group("install")
@pytest.mark.parametrize("version", ENDS)
def test_a_plain_install_makes_a_video(built, tmp_path, version):
    (wheel,) = built.glob("*.whl")
    run(PYTHONS[version], "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python, command = tmp_path / "venv" / "bin" / "python", tmp_path / "venv" / "bin" / "liveportrait-talker"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    said = run(command, "demo", "--examples", "examples", cwd=tmp_path)
    assert "demo.mp4: 186 frames" in said
    with av.open(str(tmp_path / "demo.mp4")) as container:
        assert container.streams.video[0].frames == 186 and container.streams.audio
    run(command, "generate", "examples/portrait.png", "examples/voice.wav", "-o", "own.mp4", "--still", cwd=tmp_path)
    lines = run(command, "doctor", cwd=tmp_path)
    assert "renderer embedded: ready" in lines
    run(python, "-m", "pip", "install", "--quiet", "hypothesis", "pytest", "scipy", cwd=tmp_path)
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(ROOT / part for part in HANDFUL), cwd=tmp_path)


@pytest.mark.xdist_group("install")
def test_the_wheel_holds_all_it_needs(built):
    import zipfile

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
