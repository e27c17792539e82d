"""A request to train one run in a warm slot, and the result with which it ends.

Neither holds a lock: the `RequestBroker` of the slot owns the request and guards it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CLOSE = "close"
"""Response to a rank whose worker group must exit."""


@dataclass(frozen=True)
class RequestResult:
    """The result of a request.

    Attributes:
        kind: `result`: the run ended by itself; `failed`: the run raised an error; `lost`: the
            workers died, the request was stopped, or the broker does not know it.
        value: Result of the run as plain values; empty unless `kind` is `result`.
        reason: Error message, or the cause of the loss; empty if `kind` is `result`.
    """

    kind: Literal["result", "failed", "lost"]
    value: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def format_error_summary(error: BaseException) -> str:
    """Return the type of an error and the first line of its message, if it has one, as one line."""
    message_lines = str(error).strip().splitlines()
    error_type = type(error).__name__
    return f"{error_type}: {message_lines[0]}" if message_lines else error_type


@dataclass
class SlotRequest:
    """A request of a trial to train one run in the slot.

    Attributes:
        token: Unique name of the request; never reused.
        task: Packed run for the workers; not interpreted here.
        last_renewal: Time of the last renewal or poll by the trial, in seconds on the broker's
            clock.
        reports: Evaluations so far, oldest first.
        num_delivered: Number of reports delivered to the trial.
        num_acknowledged: Number of reports after which the trial lets the run continue.
        taken_ranks: Ranks that have received the task.
        finished_ranks: Ranks that have submitted their result.
        rank0_result: Result of rank 0, kept until all ranks have submitted theirs.
        result: Final result; None until the request ends.
        stop_reason: `pruned`, `expired` or `closed` if the workers should stop; empty otherwise.
        is_result_delivered: Whether the trial has received the final result.
    """

    token: str
    task: Any
    last_renewal: float
    reports: list[dict[str, float]] = field(default_factory=list)
    num_delivered: int = 0
    num_acknowledged: int = 0
    taken_ranks: set[int] = field(default_factory=set)
    finished_ranks: set[int] = field(default_factory=set)
    rank0_result: RequestResult | None = None
    result: RequestResult | None = None
    stop_reason: str = ""
    is_result_delivered: bool = False
