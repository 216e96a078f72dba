"""Write docs/reference/recipe.md from the schema of recipes and docs/reference/cli.md from the commands.

python scripts/make_reference.py [--check]

With `--check` nothing is written, and the exit code is 1 where a page is not what it would be.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from namprune.cli import app
from namprune.cli.examples import EXAMPLES
from namprune.recipe import recipe_schema, shipped_recipes

ROOT = Path(__file__).parents[1]
MADE = "<!-- Made by `python scripts/make_reference.py`: change the code that it reads, not this page. -->\n"
NO_DEFAULT = object()

RECIPE_HEAD = """
A recipe is a YAML file that says what one experiment is: data, network, training, removal, fine-tuning. Every key has a
type and a range; unknown keys, values of another type and numbers out of range are refused, all at once, each with its
line. `namprune recipes validate FILE` does that alone, `namprune recipes schema` prints the JSON Schema for editors,
and `--set train.epochs=20` overrides any key from the command line.

This is `namprune recipes show quickstart`:
"""
CLI_HEAD = """
Results go to stdout, progress and warnings to stderr. Exit codes: 0; 2 where something can be mended by you (recipe,
arguments, data); 1 where it is the machine's fault or namprune's; 130 and 143 after Ctrl-C and SIGTERM, where what was
trained so far is saved.
"""


def recipe_page() -> str:
    """The recipe's keys, section by section."""
    schema = json.loads(recipe_schema())
    sections = schema["$defs"]
    quickstart = next(recipe.text for recipe in shipped_recipes() if recipe.name == "quickstart")
    parts = [f"# Recipes\n\n{MADE}{RECIPE_HEAD}\n```yaml\n{quickstart}```\n", "## At the top\n"]
    top = {key: one for key, one in schema["properties"].items() if "type" in one}
    parts.append(keys_table(top, required=schema["required"]))
    for key, one in schema["properties"].items():
        if "type" in one:
            continue
        parts.append(f"## {key}\n")
        if "oneOf" in one:
            parts += variants(key, one, sections)
        elif key == "finetune":
            train = sections["TrainSection"]["properties"]
            parts.append(
                f"{described(sections['FinetuneSection'])} The keys of `train` but for `sync_bn`, and these:\n"
            )
            parts.append(section_table(sections["FinetuneSection"], besides=train))
            parts.append("Below `finetune.distill`, where it is not null:\n")
            parts.append(section_table(sections["DistillSection"]))
        else:
            section = sections[one["$ref"].rpartition("/")[2]]
            parts += [f"{described(section)}\n", section_table(section)]
    return "\n".join(parts)


def variants(key: str, one: Mapping[str, Any], sections: Mapping[str, Any]) -> Iterator[str]:
    """A section that is one of several, told apart by one of its keys."""
    told = one["discriminator"]["propertyName"]
    named = {name: sections[ref.rpartition("/")[2]] for name, ref in one["discriminator"]["mapping"].items()}
    ordered = [ref["$ref"].rpartition("/")[2] for ref in one["oneOf"]]
    names = sorted(named, key=lambda name: ordered.index(named[name]["title"]))
    yield f"Which one it is, `{key}.{told}` says: {spoken(names)}.\n"
    shared: Mapping[str, Any] = {}
    for name in names:
        section = named[name]
        own = {inner: value for inner, value in section["properties"].items() if inner != told}
        heading = f"### {key}.{told}: {name}\n\n{described(section)}"
        if not own:
            yield f"{heading} It has no other keys.\n"
            continue
        if key == "attention" and shared:
            heading += " It has `placement` and `at` as `nam` has them" + ("." if not fresh(own, shared) else ", and:")
        yield f"{heading}\n"
        if rows := fresh(own, shared if key == "attention" else {}):
            yield keys_table(rows, required=section.get("required", ()))
        shared = shared or own


def fresh(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that are not already said elsewhere in the same words."""
    return {key: value for key, value in own.items() if shared.get(key) != value}


def section_table(section: Mapping[str, Any], *, besides: Mapping[str, Any] | None = None) -> str:
    """The keys of a section, but for those that another has in the same words."""
    return keys_table(fresh(section["properties"], besides or {}), required=section.get("required", ()))


def keys_table(keys: Mapping[str, Any], *, required: Any) -> str:
    """A row for each key: what it may be, what it is when nothing is said, what it means."""
    lines = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, one in keys.items():
        absent = "(required)" if key in required else "(see there)"
        default = one.get("default", NO_DEFAULT)
        shown = absent if default is NO_DEFAULT else f"`{json.dumps(default, ensure_ascii=False)}`"
        lines.append(f"| `{key}` | {value_of(one)} | {shown} | {cell(one.get('description', ''))} |")
    return "\n".join(lines) + "\n"


def value_of(one: Mapping[str, Any]) -> str:
    """What a value may be, in words."""
    match one:
        case {"anyOf": parts}:
            return " or ".join(dict.fromkeys(map(value_of, parts)))
        case {"enum": choices}:
            return spoken([str(choice).lower() if isinstance(choice, bool) else choice for choice in choices])
        case {"const": word}:
            return f"`{str(word).lower()}`"
        case {"$ref": _}:
            return "a section"
        case {"type": "array", "items": items}:
            return f"list, each {value_of(items)}"
        case {"type": "object", "additionalProperties": values}:
            return f"names, each with a {value_of(values)}"
        case {"type": "integer" | "number" as kind}:
            return f"{'whole number' if kind == 'integer' else 'number'}{bounds(one)}"
    return {"string": "text", "boolean": "`true` or `false`", "null": "`null`"}.get(one.get("type", ""), "a value")


def bounds(one: Mapping[str, Any]) -> str:
    """The range of a number: ` from 1 to 10,000`, ` above 0, below 1`."""
    match one:
        case {"minimum": low, "maximum": high}:
            return f" from {low:,} to {high:,}"
    words = {"minimum": "of at least", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "below"}
    found = ", ".join(f"{word} {one[key]:,}" for key, word in words.items() if key in one)
    return f" {found}" if found else ""


def spoken(names: Any) -> str:
    """`a`, `b` or `c`."""
    *first, last = [f"`{name}`" for name in names]
    return f"{', '.join(first)} or {last}" if first else last


def described(section: Mapping[str, Any]) -> str:
    """The section's own sentence; arXiv numbers as links."""
    return cell(section["description"])


def cell(text: str) -> str:
    """Text on one line, with pipes that do not end the cell and links to papers."""
    linked = re.sub(r"arXiv\s+(\d{4}\.\d{5})", r"[arXiv \1](https://arxiv.org/abs/\1)", " ".join(text.split()))
    return linked.replace("|", r"\|")


def cli_page() -> str:
    """Every command with its arguments, options and examples; what all of them take stands at the top."""
    commands = {name: (command, panels_of(name, command)) for below in groups().values() for name, command in below}
    tables = [[row for rows in panels.values() for row in rows] for _, panels in commands.values()]
    shared = [row for row in tables[0] if all(row in table for table in tables)]
    own = [row for rows in panels_of("namprune", typer.main.get_command(app)).values() for row in rows]
    parts = [f"# Commands\n\n{MADE}{CLI_HEAD}", option_table("Every command takes", shared)]
    parts.append(option_table("`namprune` itself takes", [row for row in own if row not in shared]))
    for group, below in groups().items():
        parts.append(f"## {group}\n")
        for name, command in below:
            parts += command_section(name, command, commands[name][1], shared)
    return "\n".join(parts)


def groups() -> dict[str, list[tuple[str, Any]]]:
    """The commands by what is typed, in the groups and the order of the help; those below one follow it."""
    root: Any = typer.main.get_command(app)
    found: dict[str, list[tuple[str, Any]]] = {}
    for name, command in root.commands.items():
        group = found.setdefault(command.rich_help_panel or "Commands", [])
        group.append((f"namprune {name}", command))
        group += ((f"namprune {name} {inner}", below) for inner, below in getattr(command, "commands", {}).items())
    return found


def panels_of(name: str, command: Any) -> dict[str, list[str]]:
    """The rows of a command's arguments and options, by the panel of the help that they stand in."""
    context = typer.Context(command, info_name=name)
    panels: dict[str, list[str]] = {}
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record and "--help" not in param.opts:
            panel = param.rich_help_panel or f"{param.param_type_name.capitalize()}s"
            panels.setdefault(panel, []).append(option_row(*record))
    return panels


def command_section(
    name: str, command: Any, panels: Mapping[str, Sequence[str]], shared: Sequence[str]
) -> Iterator[str]:
    """One command: what it does, examples, and a table for each panel of its help."""
    usage = " ".join(command.collect_usage_pieces(typer.Context(command, info_name=name)))
    yield f"### {name}\n\n{cell(command.help or '')}\n"
    lines = [f"{line}  # {what}" for line, what in EXAMPLES.get(name.removeprefix("namprune "), ())]
    yield "\n".join(["```", f"{name} {usage}", "", *lines, "```"]) + "\n"
    for panel, rows in panels.items():
        if own := [row for row in rows if row not in shared]:
            yield option_table(panel, own)


def option_table(heading: str, rows: Sequence[str]) -> str:
    """Options and what they mean."""
    return "\n".join([f"| {heading} | |", "|---|---|", *rows]) + "\n"


def option_row(names: str, meaning: str) -> str:
    """`--criterion <a|b>` and its help, with the choices as words."""
    choices = re.search(r"\s*[<\[]([\w.-]+(?:\|[\w.-]+)+)[>\]]", names)
    if choices:
        names = names.replace(choices[0], "")
        meaning += f" One of {spoken(choices[1].split('|'))}."
    return f"| `{names}` | {cell(meaning)} |"


PAGES = {"docs/reference/recipe.md": recipe_page, "docs/reference/cli.md": cli_page}


def main() -> int:
    """Write the pages, or say which are stale."""
    parser = argparse.ArgumentParser(description="The reference pages, made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 where a page is stale")
    check = parser.parse_args().check
    stale = [path for path, page in PAGES.items() if not _same(ROOT / path, page())]
    for path in stale:
        print(f"{path}: {'stale: run python scripts/make_reference.py' if check else 'written'}", file=sys.stderr)
        if not check:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(PAGES[path](), encoding="utf-8")
    return int(check and bool(stale))


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
