"""What typer says of a command line that does not hold, in the words of the house."""

import re
from typing import Any

from typer.exceptions import TyperException

from namprune.errors import UserError
from namprune.nearest import nearest

_CHOICE = re.compile(r"Invalid value for (?P<name>\S+): '(?P<word>.*)' is not one of (?P<choices>'.*')\.")
_QUOTED_OPTION = re.compile(r"'(--?[a-z][a-z-]*)'")
_COMMAND = re.compile(r"No such command '(?P<word>.*?)'\.")
_OPTION = re.compile(r"No such option: (?P<word>\S+)")


def in_words(fault: TyperException) -> UserError:
    """The same in one line, and as the hint what was probably meant."""
    context: Any = getattr(fault, "ctx", None)
    command = words_of(context)
    before = f"{command}: " if command else ""
    said = _QUOTED_OPTION.sub(r"\1", fault.format_message().replace("Value error, ", ""))
    see = f"`{' '.join(('namprune', *command.split(), '--help'))}` shows what there is"
    if match := _CHOICE.match(said):
        choices = re.findall(r"'([^']*)'", match["choices"])
        near = nearest(match["word"], choices)
        wrong = f"{before}{match['name']} {match['word']}: not one of {', '.join(choices)}"
        return UserError(wrong, hint=f"did you mean {near!r}?" if near else see)
    if match := _COMMAND.match(said):
        near = nearest(match["word"], context.command.list_commands(context))
        return UserError(f"{before}no command {match['word']!r}", hint=f"did you mean {near!r}?" if near else see)
    if match := _OPTION.match(said):
        return UserError(f"{before}no option {match['word']}", hint=_option_meant(match["word"], context) or see)
    said = said.replace("Invalid value for ", "").replace("Invalid value: ", "").rstrip(".")
    for found in getattr(fault.__cause__, "errors", list)():  # pydantic's, which leaves out what was given
        said = said.replace(": Input should be", f" {found['input']}: should be").partition(", unable to parse")[0]
    return UserError(f"{before}{said[:1].lower()}{said[1:]}", hint=see if context is not None else None)


def _option_meant(word: str, context: Any) -> str | None:
    """A hint: the place of an option that commands below have, or the nearest one here."""
    below = getattr(context.command, "commands", {}).values()
    if any(word in param.opts for command in below for param in command.params):
        return f"it goes behind the name of a command: `{context.command_path} COMMAND {word}`"
    here = {option.lstrip("-"): option for param in context.command.get_params(context) for option in param.opts}
    near = nearest(word.lstrip("-"), here)
    return f"did you mean {here[near]}?" if near else None


def words_of(context: Any) -> str:
    """The words of a command behind `namprune`; none without a context."""
    if context is None:
        return ""
    return str(context.command_path).removeprefix(context.find_root().command_path).strip()
