"""The pages of the documentation: links lead somewhere, commands are commands, the map shows the house."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer

from namprune.cli import app

ROOT = Path(__file__).parents[2]
ABOVE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*ABOVE, *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")  # and pictures
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Of the headings, as both GitHub and the site make them."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_inside_lead_somewhere(page: Path) -> None:
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(prose):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def commands(text: str) -> list[str]:
    """Lines of code blocks that call namprune, continued lines joined, comments and prompts gone."""
    blocks = [body for language, body in FENCE.findall(text) if language in ("", "bash", "sh", "console")]
    lines = [line.strip().removeprefix("$ ") for body in blocks for line in body.replace("\\\n", " ").splitlines()]
    parts = [part.strip() for line in lines for part in re.split(r"\s&&\s", line.partition(" #")[0])]
    return [part for part in parts if part.startswith("namprune ")]


COMMANDS = [
    pytest.param(line, id=f"{page_id(page)}: {line}")
    for page in PAGES
    if page.name != "cli.md"
    for line in dict.fromkeys(commands(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line: str) -> None:
    words = [word for word in shlex.split(line)[1:] if not word.startswith("$")]
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands") or not words or words[0].startswith("-"), f"no command {words[0]!r}"
    command.make_context(line, words)  # raises for what the command does not take


def test_the_map_names_every_room_and_door() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    house = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))
    for room, floor in house["FLOORS"].items():
        line = next(line for line in page.splitlines() if line.startswith(f"| {floor} |"))
        assert f"`{room}`" in line or not room
    doors = page.partition("## Doors for libraries")[2]
    for library, door in house["DOORS"].items():
        assert re.search(rf"^\| [^|]*\b{library}\b[^|]* \| `{re.escape(door)}`", doors, re.MULTILINE), library
