"""What happens to one group of channels, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GroupCut:
    """What happens to one group of channels."""

    root: str
    """The layer that names the group."""
    layers: tuple[str, ...]
    """Every layer that loses channels with it."""
    before: int
    kept: tuple[int, ...]
    """Indices that stay, ascending."""
    scores: tuple[float, ...]
    macs_saved: int
    """Multiply-accumulates of one picture that this cut alone would save."""
    note: str = ""
    """Why it gives less than its scores would have it give."""

    @property
    def removed(self) -> tuple[int, ...]:
        """Indices that go, ascending."""
        return tuple(sorted(set(range(self.before)) - set(self.kept)))
