"""Suppression of Hugging Face's progress bars and log messages while a model is loaded or saved.

They would disturb the progress display and the plain output of commands. Kinesweep checks for the
relevant problems itself and raises or warns.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Disable Transformers' progress bars and messages below errors while the context is active."""
    verbosity, shows_progress_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows_progress_bars:  # they may have been off before
            logging.enable_progress_bar()
