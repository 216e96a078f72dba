"""Run folders: the only room that knows their files. Whole files or none, checked by digest."""

from namprune.runs.checkpoints import Checkpoint, Checkpoints
from namprune.runs.files import write_atomic
from namprune.runs.folder import RunFolder, State
from namprune.runs.store import RunStore

__all__ = ["Checkpoint", "Checkpoints", "RunFolder", "RunStore", "State", "write_atomic"]
