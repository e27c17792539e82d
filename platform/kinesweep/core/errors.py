"""What can go wrong for people, in one family.

Every error a user can cause or mend is a `KinesweepError`: the command line prints its text
without a traceback and leaves with code 2. Anything else is a defect of ours and keeps its
traceback. Errors cross Ray processes, so each one pickles: they are built from their message (and
plain values) alone.
"""

from collections.abc import Sequence


class KinesweepError(ValueError):
    """An error that its text explains: what, got, allowed, next."""


class InputError(KinesweepError):
    """A wrong argument on the command line or in a call."""


class SourceError(KinesweepError):
    """A corpus that cannot be read as it stands."""


class ClipError(SourceError):
    """One clip that cannot be used.

    `reason` is a short stable word under which such clips are counted.

    Args:
        message: what is wrong with which clip.
        reason: the key in the manifest's table of dropped clips, for example `missing_file`.
    """

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message, reason)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])


class StoreError(KinesweepError):
    """A feature store that is missing, damaged or does not fit."""


class CheckpointError(KinesweepError):
    """A checkpoint or run folder that cannot be used."""


class ResourceError(KinesweepError):
    """A request that this machine or cluster can never meet."""


class BundleError(KinesweepError):
    """An exported bundle that is damaged or of another kind."""


class TrackingError(KinesweepError):
    """A tracking server that cannot be used."""


class ConfigError(KinesweepError):
    """All problems of a configuration at once.

    Args:
        where: the file (or other origin) that was read.
        problems: pairs of a dotted path and what is wrong there.
    """

    def __init__(self, where: str, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__(where, tuple(problems))
        self.where = where
        self.problems = tuple(problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{count} problem{'s' if count != 1 else ''} in {self.where}"
        width = max((len(path) for path, _ in self.problems), default=0)
        return "\n".join([head, *(f"  {path:<{width}}  {text}" for path, text in self.problems)])
