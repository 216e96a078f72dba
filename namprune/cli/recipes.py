"""namprune recipes: the shipped recipes, and the checker for one's own."""

import json
from typing import Annotated

import typer

from namprune import console
from namprune.cli import complete
from namprune.cli.frame import Command
from namprune.cli.next import suggest
from namprune.cli.options import AsJson, Sets
from namprune.cli.overrides import resolve
from namprune.errors import RecipeError
from namprune.nearest import did_you_mean
from namprune.table import Table

recipes_app = typer.Typer(help="List, show or check recipes.", invoke_without_command=True)


@recipes_app.callback()
def list_command(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List, show or check recipes."""
    if context.invoked_subcommand:
        if as_json:
            raise typer.BadParameter(f"options go after {context.invoked_subcommand}")
        return
    from namprune.recipe import shipped_recipes

    shipped = shipped_recipes()
    if as_json:
        console.print_json({"recipes": [{"name": recipe.name, "summary": recipe.summary} for recipe in shipped]})
        return
    rows = tuple((recipe.name, recipe.summary) for recipe in shipped)
    console.show(Table("Shipped recipes", columns=("Recipe", "What it does"), rows=rows, text_columns=2))
    suggest("train", "--recipe", "quickstart")


@recipes_app.command("show", cls=Command)
def show_command(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.shipped, help="A shipped recipe.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Print a shipped recipe, to be copied and changed."""
    from namprune.recipe import shipped_recipes

    shipped = {recipe.name: recipe for recipe in shipped_recipes()}
    if name not in shipped:
        raise RecipeError(name, (f"no shipped recipe {name!r}",), hint=did_you_mean(name, shipped))
    if as_json:
        recipe = shipped[name]
        console.print_json({"name": recipe.name, "summary": recipe.summary, "text": recipe.text})
    else:
        console.output(shipped[name].text)


@recipes_app.command("validate", cls=Command)
def validate_command(
    file: Annotated[
        str, typer.Argument(metavar="FILE", autocompletion=complete.recipes, help="A recipe file or a shipped name.")
    ],
    *,
    sets: Sets = None,
    as_json: AsJson = False,
) -> None:
    """Check a recipe, and name every fault in it."""
    resolve(file, sets=sets, options={})
    if as_json:
        console.print_json({"recipe": file, "valid": True})
    else:
        console.output(f"{file}: valid")
        suggest("train", "--recipe", file, *(word for text in sets or () for word in ("--set", text)))


@recipes_app.command("schema", cls=Command)
def schema_command(*, as_json: AsJson = False) -> None:
    """Print the JSON Schema of a recipe, for editors."""
    from namprune.recipe import recipe_schema

    if as_json:
        console.print_json(json.loads(recipe_schema()))
    else:
        console.output(recipe_schema())
