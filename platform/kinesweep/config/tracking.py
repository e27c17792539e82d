"""The setting `tracking`: by which experiment trackers the runs of a recipe are recorded."""

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

TrackerName = Literal["mlflow", "wandb", "tensorboard"]
"""Trackers that a recipe can name; each has a backend in `kinesweep.tracking`."""
_SingleChoice = Literal["auto", "mlflow", "wandb", "tensorboard", "none"]


def _check_choice(value: Any) -> Any:
    """Return the value, a list as a tuple, because recipes are immutable.

    Raises:
        ValueError: If the value is neither a choice nor a list of different trackers. pydantic
            would report a problem for each member of the union.
    """
    if not isinstance(value, list | tuple):
        if value not in get_args(_SingleChoice):
            choices = ", ".join(get_args(_SingleChoice))
            raise ValueError(f"must be one of {choices}, or a list such as [mlflow, wandb]")
        return value
    names = list(value)
    if not names or any(name not in get_args(TrackerName) for name in names):
        trackers = ", ".join(get_args(TrackerName))
        raise ValueError(f"must be a list of some of {trackers}, but is {names}")
    if len(set(names)) < len(names):
        raise ValueError(f"must name each tracker once, but is {names}")
    return tuple(names)


TrackingChoice = Annotated[
    _SingleChoice | Annotated[tuple[TrackerName, ...], Field(min_length=1)],
    BeforeValidator(_check_choice),
    Field(
        description="Experiment tracking: `mlflow`, `wandb` (Weights & Biases), `tensorboard`, a"
        " list of several, `none`, or `auto`: MLflow if a server is known (`kinesweep up`),"
        " otherwise none."
    ),
]
