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


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps it off the console; warnings of the execution stay."""
    loggers = [logging.getLogger("ray.data"), logging.getLogger("ray.data._internal.progress")]
    levels = [logger.level for logger in loggers]
    # The second one's only warnings are that bars are off, as asked.
    loggers[0].setLevel(logging.WARNING)
    loggers[1].setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
