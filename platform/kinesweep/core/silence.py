"""Quiet from Hugging Face while a model is read or written.

Its bars and reports would break a command's own progress and its plain lines; what matters in them
is checked and raised, or warned of, by us.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging


@contextmanager
def silent() -> Iterator[None]:
    """No bars, and no messages below an error; as before afterwards."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
