"""Exceptions for problems that a user can cause or fix.

All of them derive from `KinesweepError`: the command line prints the message without a traceback
and exits with code 2, or with code 1 for a `TrainingError`, whose input was valid. Any other
exception is a bug in Kinesweep and keeps its traceback. Errors cross Ray processes, so each one
must be picklable: its constructor takes only the message and other plain values.
"""

from collections.abc import Sequence


def format_one_line(error: Exception, max_chars: int = 300) -> str:
    """Format an error's message on one line, truncated to `max_chars`, without a final full stop.

    Args:
        error: Exception, usually of a library whose messages span many lines.
        max_chars: Maximum number of characters of the result.
    """
    return " ".join(str(error).split())[:max_chars].rstrip(".")


class KinesweepError(ValueError):
    """Base class of all errors that a user can fix.

    The message states the problem, the value, the allowed values and the next step.
    """


class InputError(KinesweepError):
    """An invalid argument on the command line or in a call."""


class SourceError(KinesweepError):
    """A corpus that cannot be read."""


class ClipError(SourceError):
    """A single clip that cannot be used.

    Args:
        message: Explanation that names the clip.
        reason: Short, stable key under which the manifest counts dropped clips, for example
            `missing_file`.
    """

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        # Both arguments go to the base class: unpickling calls the class with `args`.
        super().__init__(message, reason)
        self.reason = reason

    def __str__(self) -> str:
        return str(self.args[0])


class StoreError(KinesweepError):
    """A feature store that is missing, damaged or does not match the recipe."""


class CheckpointError(KinesweepError):
    """A checkpoint, model folder or run folder that cannot be used."""


class ResourceError(KinesweepError):
    """A resource request that this machine or cluster can never satisfy."""


class TrainingError(KinesweepError):
    """A run or a sweep that was started correctly and failed: diverged, or its workers died."""


class BundleError(KinesweepError):
    """An exported bundle that is damaged or of the wrong kind."""


class HubError(KinesweepError):
    """A request that the Hugging Face Hub refuses, or that does not reach it."""


class JudgeError(KinesweepError):
    """A language model that grades texts, and whose server, key or recording cannot be used."""


class TrackingError(KinesweepError):
    """A tracking server that cannot be used."""


class ConfigError(KinesweepError):
    """All problems of a configuration, reported together.

    Args:
        origin: File or other origin of the configuration.
        problems: Pairs of a dotted path and a message.
    """

    def __init__(self, origin: str, problems: Sequence[tuple[str, str]]) -> None:
        # Not the finished message: unpickling calls the class with `args` in another process.
        super().__init__(origin, tuple(problems))
        self.origin = origin
        self.problems = tuple(problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{count} problem{'s' if count != 1 else ''} in {self.origin}"
        width = max((len(path) for path, _ in self.problems), default=0)
        return "\n".join([head, *(f"  {path:<{width}}  {text}" for path, text in self.problems)])
