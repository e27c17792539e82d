"""Learning rate schedules by their Hugging Face names, and the arguments that each one takes."""

from collections.abc import Mapping
from typing import Literal

# Without `reduce_lr_on_plateau` and `greedy`, which depend on Hugging Face's own evaluation loop.
ScheduleName = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "polynomial",
    "warmup_stable_decay",
]
_SCHEDULE_ARGUMENTS = {
    "cosine_with_restarts": frozenset({"num_cycles"}),
    "cosine_with_min_lr": frozenset({"num_cycles", "min_lr", "min_lr_rate"}),
    "cosine_warmup_with_min_lr": frozenset(
        {"num_cycles", "min_lr", "min_lr_rate", "warmup_lr_rate"}
    ),
    "inverse_sqrt": frozenset({"timescale"}),
    "polynomial": frozenset({"lr_end", "power"}),
    "warmup_stable_decay": frozenset(
        {"num_decay_steps", "num_stable_steps", "min_lr_ratio", "num_cycles"}
    ),
}
"""Schedule → keyword arguments of its function in `transformers.optimization`."""
_REQUIRED_SCHEDULE_ARGUMENTS = {
    "cosine_with_min_lr": frozenset({"min_lr", "min_lr_rate"}),
    "cosine_warmup_with_min_lr": frozenset({"min_lr", "min_lr_rate"}),
    "warmup_stable_decay": frozenset({"num_decay_steps"}),
}
"""Schedule → arguments of which at least one is required."""


def check_schedule_arguments(schedule: ScheduleName, arguments: Mapping[str, float]) -> None:
    """Check that a schedule accepts all given arguments and gets those that it requires.

    Args:
        schedule: Name of the schedule.
        arguments: Value of `training.lr_scheduler_kwargs`.

    Raises:
        ValueError: If an argument is unknown or missing.
    """
    # Checked here, because transformers would reject them only when training starts.
    allowed_keys = _SCHEDULE_ARGUMENTS.get(schedule, frozenset())
    unknown_keys = sorted(arguments.keys() - allowed_keys)
    if unknown_keys:
        key_list = ", ".join(f"`{key}`" for key in sorted(allowed_keys)) or "nothing"
        raise ValueError(
            f"`lr_scheduler_kwargs` has `{unknown_keys[0]}`, but `{schedule}` takes {key_list}"
        )
    # One of them suffices: `min_lr` and `min_lr_rate` say the same in two ways.
    required_keys = _REQUIRED_SCHEDULE_ARGUMENTS.get(schedule)
    if required_keys and not required_keys & arguments.keys():
        key_list = " or ".join(f"`{key}`" for key in sorted(required_keys))
        raise ValueError(f"`{schedule}` needs `lr_scheduler_kwargs`: {key_list}")
