"""Ray Data without its running commentary."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def calm(dataset: Any) -> Any:
    """The same data set, its bars and its announcement off."""
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    return dataset


_LEVELS = {
    "ray.data": logging.WARNING,
    # Its only warnings are that bars are off, as asked.
    "ray.data._internal.progress": logging.ERROR,
    # After a minute it warns that the cluster cannot run a pool which has all of its cores itself.
    # What the cluster lacks altogether is an error of ours before the pool starts.
    "ray.data._internal.execution.resource_manager": logging.ERROR,
}
"""Logger → the least level of what it may say."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Ray Data off the console; warnings of the execution stay."""
    loggers = {name: logging.getLogger(name) for name in _LEVELS}
    before = {name: logger.level for name, logger in loggers.items()}
    for name, logger in loggers.items():
        logger.setLevel(_LEVELS[name])
    try:
        yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(before[name])
