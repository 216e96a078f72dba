"""Where is kept what can be found out again: whoever doubts it deletes the folder."""

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/namprune`, by default `~/.cache/namprune`; it need not be there."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "namprune"
    try:
        return Path.home() / ".cache" / "namprune"
    except RuntimeError:  # a user without a home, as in containers
        return Path(tempfile.gettempdir()) / "namprune"
