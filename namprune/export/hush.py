"""Exporters talk a lot, on stdout as well, which is for results."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def hushed() -> Iterator[None]:
    """Drop what is printed, warned of or logged inside; who listens to the log hears it all the same."""
    unheard = logging.NullHandler()  # in its place `logging.warning` would set one up that stays
    logging.getLogger().addHandler(unheard)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().removeHandler(unheard)
