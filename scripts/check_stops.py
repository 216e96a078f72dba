"""Whether every command can be stopped in each of its phases; exit code 1 if not.

python scripts/check_stops.py [--only PATTERN] [--patience 2]

Each command runs once to its end, and what it shows a bar or a spinner of is noted. Then it is begun again for each of
these phases and sent SIGTERM in it. It has to end with 143 within the time, say nothing but what it should, and leave
nothing half written; what can be gone on with has to say so.
"""

import argparse
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
from killing import ended, forked
from PIL import Image
from same_run import Table, prepare

from namprune import cli, console
from namprune.console import waits

DELAY = 0.02
"""Seconds that a phase has lasted when the signal comes."""

FEW = "--set train.epochs=1 --set finetune.epochs=1 --set train.batch_size=16 --set finetune.batch_size=16"
DIGITS = f"{FEW} --set data.limit=200 --set model.width=0.25"
FOLDER = f"{FEW} --set train.warmup=0 --data pictures --set data.image_size=32 --set model.width=0.25"
COMMANDS = {
    "train": f"train --recipe quickstart {DIGITS} --name dense",
    "train on a folder, decoded once": f"train --recipe imagefolder {FOLDER} --name folder",
    "train on a folder, decoded anew": f"train --recipe imagefolder {FOLDER} --set data.crop=resized --name streamed",
    "prune": "prune dense --criterion taylor --set prune.compensate=2 --name cut",
    "prune by sensitivity": "prune dense --scope sensitivity --name sensible",
    "prune to a drop": "prune dense --max-drop 30 --name dropped",
    "dry run": "prune dense --target-macs 0.5 --dry-run",
    "sensitivity": "sensitivity dense",
    "evaluate": "evaluate cut",
    "explain": "explain folder pictures/test/a/0.png --out maps",
    "predict": "predict folder pictures/test/a/0.png",
    "export": "export cut --quantize int8",
    "bench": "bench cut --batch 1",
    "compare": f"compare --recipe quickstart {DIGITS} --attention none --ratio 0.5 --seeds 1 --runs grid",
    "report": "report",
    "doctor": "doctor",
}
GO_ON = {"train": "namprune train --resume", "prune": "namprune prune --resume", "compare": "namprune compare --resume"}


def main() -> int:
    """Every command, in a folder that is thrown away."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="commands whose name has this pattern in it")
    parser.add_argument("--patience", type=float, default=2.0, help="seconds to end in")
    asked = parser.parse_args()
    prepare()
    table = Table("Signals in every phase of every command")
    with tempfile.TemporaryDirectory() as place, chdir(place):
        os.environ["XDG_CACHE_HOME"] = f"{place}/cache"
        draw_pictures(Path("pictures"))
        for name, line in COMMANDS.items():
            phases = run_through(line)
            if re.search(asked.only, name):
                check(name, line, phases, table, patience=asked.patience)
    return table.verdict()


def run_through(line: str) -> list[str]:
    """What a command shows while it runs to its end."""
    heard = Path("heard")
    heard.write_text("", encoding="utf-8")
    child = forked(partial(command, line, at=None, heard=heard), log=Path("log"))
    if code := ended(child):
        raise SystemExit(f"namprune {line} ended with {code}:\n{Path('log').read_text(encoding='utf-8')}")
    return list(dict.fromkeys(heard.read_text(encoding="utf-8").splitlines()))


def check(name: str, line: str, phases: list[str], table: Table, *, patience: float) -> None:
    """Stop a command in each of its phases."""
    faults, longest = [], 0.0
    for phase in phases:
        again = line.replace("--name ", "--name again-").replace("--runs grid", "--runs again-grid")
        heard, log = Path("heard"), Path("log")
        heard.unlink(missing_ok=True)
        code = ended(forked(partial(command, again, at=phase, heard=heard), log=log))
        seconds, said = time.time() - float(heard.read_text(encoding="utf-8")), log.read_text(encoding="utf-8")
        longest = max(longest, seconds)
        wrong = [f"exit code {code}"] * (code != 143) + [f"{seconds:.1f} s"] * (seconds > patience)
        wrong += ["a traceback"] * ("Traceback" in said) + ["no word of the signal"] * ("SIGTERM: " not in said)
        wrong += [f"left {left}" for left in litter()]
        begun = any(Path().glob("*/again-*")) or any(Path("again-grid").glob("*"))
        wrong += ["not how to go on"] * (begun and GO_ON[line.split()[0]] not in said)
        faults += [f"{phase}: {', '.join(wrong)}: {said[-300:]!r}"] if wrong else []
        tidy_up()
    outcome = "; ".join(faults) or f"{len(phases)} phases ({', '.join(phases)}), ended in {longest:.1f} s at most"
    table.add(name, outcome, met=not faults)


def command(line: str, *, at: str | None, heard: Path) -> None:
    """In a process of its own: the command, which writes down its phases, or when it was sent a signal in one."""
    sys.argv = ["namprune", *shlex.split(line)]

    def stop() -> None:
        heard.write_text(str(time.time()), encoding="utf-8")
        os.kill(os.getpid(), signal.SIGTERM)

    def entered(description: str) -> None:
        if at is None:
            with heard.open("a", encoding="utf-8") as lines:
                lines.write(f"{description}\n")
        elif description == at and not heard.exists():
            heard.touch()
            timer = Timer(DELAY, stop)
            timer.daemon = True
            timer.start()

    console.progress = waits.progress = noted(console.progress, entered)  # type: ignore[attr-defined]
    try:
        cli.main()
    except SystemExit as left:  # None is a good end, too
        sys.exit(left.code or 0)


def noted(progress: Callable[..., Any], entered: Callable[[str], None]) -> Callable[..., Any]:
    """Bars that say when they begin."""

    @contextmanager
    def wrapped(total: int | None, description: str, *, late: bool = False) -> Iterator[Any]:
        with progress(total, description, late=late) as bar:
            entered(description)
            yield bar

    return wrapped


def litter() -> list[str]:
    """What nothing should leave behind."""
    return [str(path) for path in Path().rglob(".*") if path.suffix == ".tmp" or path.name.startswith(".download-")]


def tidy_up() -> None:
    """Take away what was begun and stopped, and what is only measured once."""
    for place in (*Path().glob("*/again-*"), *Path().glob("again-*"), Path("cache"), *Path().glob("*/*/sensitivity.*")):
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)


def draw_pictures(root: Path) -> None:
    """A folder of noise in two classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 120), ("val", 40), ("test", 40)):
        for name in "ab":
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(256, size=(48, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")


if __name__ == "__main__":
    sys.exit(main())
