"""namprune init: a recipe to begin with, with comments."""

from pathlib import Path
from typing import Annotated

import typer

from namprune import console
from namprune.cli.given import Model, Weights, model_section
from namprune.cli.next import suggest
from namprune.cli.options import AsJson, DataRoot
from namprune.errors import UserError

Output = Annotated[Path, typer.Option("--output", metavar="FILE", help="The new file.")]


def init_command(
    *,
    data: DataRoot = None,
    model: Model = None,
    weights: Weights = None,
    output: Output = Path("recipe.yaml"),
    as_json: AsJson = False,
) -> None:
    """Write a starter recipe, for your own pictures or your network."""
    section = model_section(model, weights)
    if data is None and section is None:
        raise UserError(
            "init: neither --data nor --model is said",
            hint="--data ./pictures, --model torchvision:resnet18, or both; `namprune recipes` lists ready ones",
        )
    if output.exists():
        raise _taken(output)
    from namprune.stages.starter import starter

    text = starter(data=data, model=section)
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _taken(output) from None
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"init: cannot write {output}: {reason}", hint="choose another place with --output") from error
    if as_json:
        console.print_json({"path": str(output), "text": text})
        return
    console.output(f"{output}: {len(text.splitlines())} lines, each with a comment")
    if data is None:
        console.message("data.root is still to be set: the folder that holds train/<class>/*.jpg and val/")
    else:
        suggest("train", "--recipe", str(output))


def _taken(output: Path) -> UserError:
    return UserError(f"init: {output} is there already", hint="choose another name with --output FILE")
