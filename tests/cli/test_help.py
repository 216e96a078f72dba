"""Help: fits a screen, is grouped by what a person does, and its examples are command lines that hold."""

import shlex
from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperCommand, TyperGroup
from typer.testing import CliRunner

from namprune import cli
from namprune.cli.examples import EXAMPLES

ROOT = typer.main.get_command(cli.app)
RUNNER = CliRunner()


def every(command: TyperCommand | TyperGroup = ROOT, path: tuple[str, ...] = ()) -> Iterator[str]:
    yield " ".join(path)
    for name, child in getattr(command, "commands", {}).items():
        yield from every(child, (*path, name))


COMMANDS = tuple(every())


def shown(command: str, *, columns: int) -> list[str]:
    done = RUNNER.invoke(cli.app, [*command.split(), "--help"], env={"COLUMNS": str(columns)})
    assert done.exit_code == 0
    return done.output.rstrip().splitlines()


def test_every_command_has_examples() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    assert {2, 3} >= {len(lines) for lines in EXAMPLES.values()}


@pytest.mark.parametrize(("command", "line"), [(name, line) for name, lines in EXAMPLES.items() for line, _ in lines])
def test_an_example_is_a_command_line_that_holds(command, line) -> None:
    program, *words = shlex.split(line.partition(" > ")[0])
    found, path = ROOT, []
    while words and words[0] in getattr(found, "commands", {}):
        path.append(words.pop(0))
        found = found.commands[path[-1]]
    assert program == "namprune"
    assert command in ("", " ".join(path), path[0])
    found.make_context(line, words)  # raises for what the command does not take


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_fits_a_screen(command) -> None:
    wide, narrow = shown(command, columns=100), shown(command, columns=80)
    assert len(wide) <= 48
    assert len(narrow) <= 60
    for line, _ in EXAMPLES[command]:
        assert any(line in one for one in narrow)
    assert not [line for line in wide if "<" in line]  # names of types


def test_the_commands_stand_by_what_a_person_does() -> None:
    lines = shown("", columns=100)
    titles = [line.strip("╭╮─ ") for line in lines if line.startswith("╭")]
    assert titles[1:] == ["Train", "Shrink", "Look", "Ship", "Set up"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_the_common_options(command) -> None:
    text = "\n".join(shown(command, columns=100))
    for option in ("--quiet", "-q", "--verbose", "-v", "--log-file"):
        assert option in text


def test_a_flag_that_can_be_denied_still_can_after_its_help_was_shown() -> None:
    assert "--no-deterministic" not in "\n".join(shown("prune", columns=100))
    context = ROOT.commands["prune"].make_context("prune", ["--no-deterministic"])
    assert context.params["deterministic"] is False
