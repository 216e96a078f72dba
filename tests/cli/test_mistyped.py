"""A command line that does not hold: one line, and a hint that says what was probably meant."""

import sys

import pytest

from namprune import cli


@pytest.mark.parametrize(
    ("line", "fault", "hint"),
    [
        ("trian", "no command 'trian'", "did you mean 'train'?"),
        ("xyz", "no command 'xyz'", "`namprune --help` shows what there is"),
        ("runs shwo", "runs: no command 'shwo'", "did you mean 'show'?"),
        ("prune --critreion nam", "prune: no option --critreion", "did you mean --criterion?"),
        ("prune --xyz", "prune: no option --xyz", "`namprune prune --help` shows what there is"),
        ("--json runs", "no option --json", "it goes behind the name of a command: `namprune COMMAND --json`"),
        ("runs --format md", "runs: no option --format", "`namprune runs --help` shows what there is"),
        ("--verison", "no option --verison", "did you mean --version?"),
        (
            "prune --criterion tailor",
            "prune: --criterion tailor: not one of nam, bn, l1, l2, fpgm, lamp, taylor, obd, random",
            "did you mean 'taylor'?",
        ),
        (
            "export r --format onix",
            "export: --format onix: not one of onnx, torch, safetensors, openvino",
            "did you mean 'onnx'?",
        ),
        (
            "export r --quantize 9",
            "export: --quantize 9: not one of none, int8",
            "`namprune export --help` shows what there is",
        ),
        ("evaluate", "evaluate: missing argument 'RUN'", "`namprune evaluate --help` shows what there is"),
        (
            "prune --ratio x,y",
            "prune: --ratio x,y: should be a valid number",
            "`namprune prune --help` shows what there is",
        ),
        (
            "compare --seeds 0",
            "compare: --seeds 0: should be greater than or equal to 1",
            "`namprune compare --help` shows what there is",
        ),
        ("prune --ratio", "option --ratio requires an argument", None),
    ],
)
def test_one_line_and_a_hint(monkeypatch, capsys, line, fault, hint) -> None:
    monkeypatch.setattr(sys, "argv", ["namprune", *line.split()])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines() == [f"error: {fault}", *([f"hint: {hint}"] if hint else [])]
