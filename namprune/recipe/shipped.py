"""The recipes that come with the package."""

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, kw_only=True)
class ShippedRecipe:
    """`summary` is the comment on the second line of `text`, below the one that names the schema."""

    name: str
    summary: str
    text: str


def shipped_recipes() -> tuple[ShippedRecipe, ...]:
    """All of them, by name."""
    found = sorted(files("namprune.recipes").iterdir(), key=lambda file: file.name)
    return tuple(
        _shipped(file.name.removesuffix(".yaml"), file.read_text(encoding="utf-8"))
        for file in found
        if file.name.endswith(".yaml")
    )


def _shipped(name: str, text: str) -> ShippedRecipe:
    return ShippedRecipe(name=name, summary=text.splitlines()[1].removeprefix("# "), text=text)
