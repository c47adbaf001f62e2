"""Run the tests on every Python from 3.10 on that is at hand: `make matrix`.

Each version gets an environment of its own, `.venv-3.X`, without torch, whose wheels may be CUDA builds of several GB: the
tests of the networks are skipped there, and `make test` runs them.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
OLDEST = (3, 10)
WITHOUT_TORCH = "test,original,cluster,ui,speech"


def main() -> int:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "versions", nargs="*", metavar="VERSION", help="such as 3.10 3.13; all that are found by default"
    )
    parser.add_argument("--list", action="store_true", help="only say which are found")
    options = parser.parse_args()
    found = interpreters()
    for version in options.versions:
        if version not in found:
            parser.error(f"no Python {version} is at hand, only {', '.join(found)}")
    rows = []
    for version in options.versions or found:
        if options.list:
            rows.append(f"{version}: {found[version]}")
            continue
        started = time.monotonic()
        done = subprocess.run(
            ["make", "pytest", f"VENV=.venv-{version}", f"PYTHON={found[version]}", f"EXTRAS={WITHOUT_TORCH}"],
            cwd=ROOT,
            check=False,
        )
        rows.append(
            f"{version}: {'passed' if done.returncode == 0 else 'failed'} in {time.monotonic() - started:.0f} s"
        )
    print("\n".join(rows))
    return int(any("failed" in row for row in rows))


def interpreters() -> dict[str, Path]:
    """Version, such as 3.12 → an interpreter of it, by rising version: on the path, or one of pyenv's."""
    candidates = [Path(sys.executable)]
    candidates += [Path(path) for minor in range(OLDEST[1], 20) if (path := shutil.which(f"python3.{minor}"))]
    candidates += sorted(Path.home().glob(".pyenv/versions/3.*/bin/python"))
    found: dict[str, Path] = {}
    for candidate in candidates:
        done = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        match = re.match(r"Python (3)\.(\d+)\.\d+$", done.stdout.strip())  # no alphas; a shim of pyenv may say nothing
        if match and (3, int(match[2])) >= OLDEST:
            found.setdefault(f"3.{match[2]}", candidate)
    return dict(sorted(found.items(), key=lambda entry: int(entry[0].split(".")[1])))


if __name__ == "__main__":
    sys.exit(main())
