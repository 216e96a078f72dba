"""What goes to stdout, what to stderr, and that text stays text."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from contextlib import suppress
from threading import Thread

import pytest

from namprune import console
from namprune.console import bars
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
    console.message("a\x1b[2Jb\rc\u202ed\x9b\u200d")
    console.output("\x1b]0;title\x07")
    console.show(Table("t\x1b", columns=("a\nb",), rows=(("x\x1b[31m\ny",),), notes=("n\x07",)))
    captured = capsys.readouterr()
    assert captured.err == "a\\x1b[2Jb\\rc\\u202ed\\x9b\u200d\n"
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


@pytest.mark.parametrize(("columns", "whole"), [(100, True), (70, True), (30, False)])
def test_a_narrow_terminal_leaves_the_name_whole_as_long_as_there_is_room(capsys, monkeypatch, columns, whole) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    row = ("quickstart-nam-s0-p30-nam-global", *["three words here"] * 4)
    console.show(Table("Runs", columns=("Run", "a", "b", "c", "d"), rows=(row,), text_columns=5))
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith(row[0]) for line in lines) is whole
    assert max(map(len, lines)) <= columns
    assert "".join(lines[3:]).count("e") == 16  # of 4 x "three here": nothing is cut off


def test_json_is_one_value_for_any_encoding(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"name": "é\x1b"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"name": "é\x1b"}


def test_short_work_says_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(3, "training") as bar:
        bar.advance(1, note="loss 0.41")
        console.message("epoch 1")
    assert capsys.readouterr().err == "epoch 1\n"


def test_long_work_says_a_line_now_and_then_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars, "EVERY", 0.0)
    with console.progress(2, "runs") as outer:
        with console.progress(500, "train[ing]\x1b") as inner:
            inner.advance(119)
            time.sleep(0.01)
            inner.advance(1)
        outer.advance()
    with console.quiet(), console.progress(2, "quiet") as bar:
        bar.advance()
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "train[ing]\\x1b 119/500, in runs 0/2"
    assert re.fullmatch(r"train\[ing]\\x1b 120/500, in runs 0/2, [\d.]+ s left", second)
    assert third == "runs 1/2"


def test_the_lines_are_half_a_minute_apart(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "EVERY", 0.05)
    begun = time.monotonic()
    with console.progress(1000, "outer"), console.progress(1000, "inner") as bar:
        while time.monotonic() < begun + 0.22:
            bar.advance()
            time.sleep(0.002)
    assert 1 <= len(capsys.readouterr().err.splitlines()) <= 4


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


def test_details_are_for_those_who_ask(capsys: pytest.CaptureFixture[str]) -> None:
    console.detail("not asked")
    console.speak(verbose=True)
    try:
        console.detail("asked\x1b")
        with console.quiet():
            console.detail("not here")
    finally:
        console.reset()
    console.detail("not any more")
    assert capsys.readouterr().err == "asked\\x1b\n"


BARS = """
import time
from namprune import console
with console.progress(3, "outer[most]") as outer:
    outer.advance(2, note="x [0.41]")
    with console.progress(5, "inner") as inner:
        inner.advance(4)
        time.sleep(0.9)  # a bar that is soon over is not shown
    console.message("between")
"""


def on_a_terminal(script: str, **environment: str) -> str:
    """What a terminal of 120 columns receives."""
    ours, theirs = pty.openpty()
    variables = {"TERM": "xterm", "COLUMNS": "120", **environment}
    with subprocess.Popen([sys.executable, "-c", script], env=variables, stdout=theirs, stderr=theirs):
        os.close(theirs)
        received = b""
        with suppress(OSError):  # EIO: the other side is closed
            while part := os.read(ours, 65536):
                received += part
    os.close(ours)
    return received.decode()


def test_bars_on_a_terminal_nest_with_note_and_count() -> None:
    received = on_a_terminal(BARS)
    for part in ("outer[most]", "2/3", "x [0.41]", "inner", "4/5", "between"):
        assert part in received
    assert "\x1b[?25l" in received  # one display hides the cursor once
    assert received.count("\x1b[?25l") == received.count("\x1b[?25h") == 1


THREADS = """
import threading, time
from namprune import console

met = threading.Barrier(2)

def work(name, steps):
    met.wait()
    for _ in range(3):
        with console.progress(steps, name) as bar:
            for _ in range(steps):
                bar.advance()
                time.sleep(0.01)

threads = [threading.Thread(target=work, args=one) for one in (("shorter", 5), ("longer", 70))]
for one in threads:
    one.start()
for one in threads:
    one.join()
console.message("done")
"""


def test_threads_share_a_terminal() -> None:
    received = on_a_terminal(THREADS)
    assert "Error" not in received
    assert "longer" in received
    assert received.endswith("done\r\n")
    assert received.count("\x1b[?25l") == received.count("\x1b[?25h") > 0


def test_a_line_tells_of_the_works_of_the_thread_that_began_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars, "EVERY", 0.0)

    def help_with(here: console.Progress) -> None:
        here.advance()
        with console.progress(7, "there") as there:
            there.advance()

    with console.progress(2, "here") as bar:
        thread = Thread(target=help_with, args=(bar,))
        thread.start()
        thread.join()
    assert capsys.readouterr().err == "here 1/2\nthere 1/7\n"


def test_no_color_leaves_the_bars_without_color() -> None:
    received = on_a_terminal(BARS, NO_COLOR="1")
    assert "inner" in received
    assert not re.search(r"\x1b\[[\d;]*3\dm", received)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "dumb", "NO_COLOR": "1"}])
def test_a_terminal_that_cannot_move_gets_plain_lines(environment: dict[str, str]) -> None:
    assert on_a_terminal(BARS, **environment) == "between\r\n"


@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}])
def test_a_pipe_gets_no_control_codes_of_bars(environment: dict[str, str]) -> None:
    variables = {"TERM": "xterm", **environment}
    done = subprocess.run(
        [sys.executable, "-c", BARS], env=variables, capture_output=True, text=True, timeout=60, check=True
    )
    assert (done.stdout, done.stderr) == ("", "between\n")


def test_color_is_there_in_a_pipe_when_it_is_forced() -> None:
    script = "from namprune import console\nconsole.warn('careful')"
    variables = {"TERM": "xterm", "FORCE_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=variables, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == "\x1b[33mwarning: \x1b[0mcareful\n"
