"""Errors that a user can fix, each reported in one sentence.

Everything here derives from `TalkerError`; the command line prints its text and leaves with code 2. Our own
logic errors are ordinary exceptions and asserts, never these.
"""


class TalkerError(Exception):
    """An error that the user can fix: the message says what is wrong, with which file, and what to do."""


class MediaError(TalkerError):
    """An image, video or audio file that cannot be read, or an output that cannot be written."""


class EndedEarly(MediaError):
    """A run over many files that stopped before its end; `report` says what was done and where it stopped."""

    def __init__(self, message: str, report: object) -> None:
        super().__init__(message)
        self.report = report


class NoFaceError(TalkerError):
    """No usable face in an image or video."""


class OptionError(TalkerError):
    """An option out of range, or a contradiction between options."""


class WeightsError(TalkerError):
    """Network weights that are missing, corrupt or of the wrong kind."""
