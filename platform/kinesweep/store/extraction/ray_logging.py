"""Settings that silence Ray Data: no progress bars, start-up report or routine log messages."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def disable_dataset_progress(dataset: Any) -> Any:
    """Turn off the progress bars and the start-up report of a Ray dataset, and return the dataset.

    Args:
        dataset: Dataset of Ray Data, which is changed in place.
    """
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    return dataset


_LOG_LEVELS = {
    "ray.data": logging.WARNING,
    # Its only warnings say that the progress bars are off, which is intended.
    "ray.data._internal.progress": logging.ERROR,
    # After a minute it warns that the cluster has no resources for the pool, although the pool
    # itself occupies all cores. Resources that the cluster really lacks are reported as an error
    # before the pool starts.
    "ray.data._internal.execution.resource_manager": logging.ERROR,
}
"""Logger → lowest level that it may log."""


@contextmanager
def silence_ray_data() -> Iterator[None]:
    """Raise the log levels of Ray Data inside the context, so that routine messages are not shown.

    Warnings are still shown, except those that `_LOG_LEVELS` describes. The previous levels are
    restored at the end.
    """
    loggers = {name: logging.getLogger(name) for name in _LOG_LEVELS}
    previous_levels = {name: logger.level for name, logger in loggers.items()}
    for name, logger in loggers.items():
        logger.setLevel(_LOG_LEVELS[name])
    try:
        yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(previous_levels[name])
