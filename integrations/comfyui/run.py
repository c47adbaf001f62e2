"""What every node does around the work: a folder for its files, errors, progress, interruption, weights."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import folder_paths
from comfy_execution.graph_utils import ExecutionBlocker

from liveportrait_talker import TalkerError

from .files import temp_folder

WEIGHTS_FOLDER = "liveportrait_talker"
folder_paths.add_model_folder_path(WEIGHTS_FOLDER, str(Path(folder_paths.models_dir) / WEIGHTS_FOLDER))
_FLAG = re.compile(r"--(?:no-)?([a-z][a-z-]+)")
_LPT_MODELS = os.environ.get("LPT_MODELS")


@contextmanager
def work() -> Iterator[Path]:
    """Yield a folder for the files that a node reads, which is removed at the end.

    Errors of the user leave as one sentence, in which options have the names of the widgets.
    """
    folder = Path(tempfile.mkdtemp(prefix="talker_", dir=temp_folder()))
    try:
        yield folder
    except TalkerError as error:
        sentence = _FLAG.sub(lambda flag: flag[1].replace("-", "_"), str(error))
        raise type(error)(sentence) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def progress() -> Callable[[str, int, int], None]:
    """Return a callback that moves the bar of the node that runs, and stops the work where the user interrupts it."""
    bar = comfy.utils.ProgressBar(1)

    def on_progress(stage: str, done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if total:
            bar.update_absolute(done, total)

    return on_progress


def blocked(message: str, outputs: int) -> list[ExecutionBlocker]:
    """Return outputs that stop the nodes behind them, with a sentence that says why."""
    return [ExecutionBlocker(message)] * outputs


def engine(name: str) -> Any:
    """Return the Talker, Animator or Editor of all nodes, whose networks stay loaded."""
    _find_weights()
    return _engine(name)


@cache
def _engine(name: str) -> Any:
    return getattr(import_module("liveportrait_talker"), name)()  # loads OpenCV and Numba: not when ComfyUI starts


def _find_weights() -> None:
    """Name the folder of the weights: ComfyUI's, or the package's own where only that has any; $LPT_MODELS wins."""
    if _LPT_MODELS is not None:
        return
    os.environ.pop("LPT_MODELS", None)
    folders = [Path(folder) for folder in folder_paths.get_folder_paths(WEIGHTS_FOLDER)]
    own = import_module("liveportrait_talker.weights.store").root()
    filled = [folder for folder in (*folders, own) if folder.is_dir() and any(folder.iterdir())]
    os.environ["LPT_MODELS"] = str([*filled, *folders][0])
