"""The short forms of the checks that print a table: resumed runs, and killed ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import namprune

SCRIPTS = Path(namprune.__file__).parents[1] / "scripts"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("check_resume.py", "| stops | 8 of 8 end in the same bytes | ok |"),
        ("check_kills.py", "| SIGKILL at random times | 20 of 20 recovered"),
    ],
)
def test_every_bar_is_met(script: str, line: str) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, "--short"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert line in done.stdout, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("all met"), done.stdout
    assert done.returncode == 0
