"""What goes to stdout, what to stderr, and that text stays text."""

import json
import subprocess
import sys
from contextlib import suppress

import pytest

from namprune import console
from namprune.errors import RunError
from namprune.table import Table


def test_messages_go_to_stderr_whole_and_unstyled(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    console.message(long)
    console.warn("[bold]careful[/]")
    console.error(RunError("no run '[red]a'", hint="look :smile:"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        long,
        "warning: [bold]careful[/]",
        "error: no run '[red]a'",
        "hint: look :smile:",
    ]


def test_control_characters_are_spelled_out(capsys: pytest.CaptureFixture[str]) -> None:
    console.message("a\x1b[2Jb\rc\u202ed\x9b")
    console.output("\x1b]0;title\x07")
    console.show(Table("t\x1b", columns=("a\nb",), rows=(("x\x1b[31m\ny",),), notes=("n\x07",)))
    captured = capsys.readouterr()
    assert captured.err == "a\\x1b[2Jb\\rc\\u202ed\\x9b\n"
    for character in "\x1b\x07":
        assert character not in captured.out
    assert "x\\x1b[31m y" in captured.out


def test_a_table_without_a_terminal_keeps_each_row_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    row = ("[name]", "1.0", "y" * 200)
    console.show(Table("Title", columns=("a", "b", "c"), rows=(row,), notes=("note",)))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Title"] in lines
    assert list(row) in lines
    assert ["note"] in lines


def test_json_is_one_value_for_any_encoding(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"name": "é\x1b"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"name": "é\x1b"}


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(3, "training") as bar:
        bar.advance(1, note="loss 0.41")
        console.message("epoch 1")
    assert capsys.readouterr().err == "epoch 1\n"


def test_quiet_drops_what_goes_on_but_no_error_and_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(KeyboardInterrupt), console.quiet():
        console.message("goes on")
        console.warn("careful")
        console.error(RunError("wrong"))
        console.output("result")
        raise KeyboardInterrupt
    console.message("heard again")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("result\n", "error: wrong\nheard again\n")


def test_progress_shows_note_and_count_on_a_terminal() -> None:
    script = """
from namprune import console
with console.progress(3, "train[ing]") as bar:
    bar.advance(2, note="loss [0.41]")
    bar.advance(1)
"""
    environment = {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    for part in ("train[ing]", "3/3", "loss [0.41]"):
        assert part in done.stderr
