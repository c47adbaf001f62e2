"""The options of the commands that draw a face."""

from __future__ import annotations

from typing import TypeAlias

from .animate import AnimateOptions
from .edit import EditSetup
from .live import LiveOptions
from .talk import TalkOptions

DrawingOptions: TypeAlias = TalkOptions | AnimateOptions | EditSetup | LiveOptions
