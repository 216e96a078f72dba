"""What `namprune doctor` has found: one line per thing that was looked at."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "missing", "broken"]
"""`note`: works, and is worth knowing. `missing`: can be had. `broken`: namprune does not work without it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing, how it is, and what to do."""

    area: str
    name: str
    state: State
    found: str
    remedy: str | None = None
