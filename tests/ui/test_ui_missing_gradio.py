"""`liveportrait-talker ui` without Gradio; unlike `test_page_*.py`, collected without it too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_CODE = """
import sys
sys.modules["gradio"] = None  # as if it were not installed
import liveportrait_talker.ui
from liveportrait_talker.cli.main import main
sys.exit(main(["ui", "--no-open"]))
"""


def test_missing_gradio_is_reported(tmp_path: Path):
    """The message names the extra; the package with the API's documentation can be imported; no file is left."""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _CODE], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert "pip install 'liveportrait-talker[ui]'" in done.stderr and "Traceback" not in done.stderr
    assert not any(tmp_path.glob("lpt-ui-*"))
