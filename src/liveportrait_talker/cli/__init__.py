"""The command line: `main` reads the arguments, one module a command."""

from .main import main

__all__ = ["main"]
