"""What a run began as: enough to go on with it where it was, or to say why that would be another run."""

from dataclasses import dataclass

from namprune.result.run import Environment, Kind


@dataclass(frozen=True, kw_only=True)
class Start:
    """Written once, before the first step."""

    kind: Kind
    parent: str | None
    """The run that is pruned; of `scratch`, the pruned run whose widths it has."""
    parent_weights: str | None
    """SHA-256 of its weights: another run that took its name later is not it."""
    data_digest: str
    recipe_sha256: str
    """Of the text of recipe.yaml."""
    environment: Environment
