"""Mistakes a user can make, each told in one sentence.

Everything here derives from `TalkerError`; the command line prints its text and leaves with code 2. Our own
logic errors are ordinary exceptions and asserts, never these.
"""


class TalkerError(Exception):
    """Something the user can mend: the text says what is wrong, with which file, and what to do."""


class MediaError(TalkerError):
    """A picture, video or sound that cannot be read, or an output that cannot be written."""


class EndedEarly(MediaError):
    """A run over many files had to stop before its end; `report` says what it did and where it stopped."""

    def __init__(self, message: str, report: object) -> None:
        super().__init__(message)
        self.report = report


class NoFaceError(TalkerError):
    """No usable face in a picture or video."""


class OptionError(TalkerError):
    """Options out of range, or a pair of options that makes no sense."""


class WeightsError(TalkerError):
    """Network weights that are missing, corrupt or of the wrong kind."""
