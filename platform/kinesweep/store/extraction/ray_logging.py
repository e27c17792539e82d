"""Silences the progress bars, start-up report and routine log messages of Ray Data."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def silence_dataset_progress(dataset: Any) -> Any:
    """Return the dataset after turning off its progress bars and start-up report."""
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    return dataset


_LEVELS = {
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
def quiet() -> Iterator[None]:
    """Keep Ray Data off the console; warnings about the execution remain visible."""
    loggers = {name: logging.getLogger(name) for name in _LEVELS}
    before = {name: logger.level for name, logger in loggers.items()}
    for name, logger in loggers.items():
        logger.setLevel(_LEVELS[name])
    try:
        yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(before[name])
