"""Whether runs survive SIGKILL, signals and disks that refuse; exit code 1 if not.

python scripts/check_kills.py [--kills 200] [--inside-save 50] [--seed 0] [--short]

Processes that train and prune are killed at random times, many of them while they save, and others go on with what is
left, until the end is reached: it must be that of a process that nobody killed, to the bit. Then `namprune` itself is
sent signals, and given places that cannot be written. As root, places are mounted for it and taken away again.
"""

import argparse
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from killing import ENVIRONMENT, OVERRIDES, ended, forked, inside_save, kill, pipeline, runs_of
from refusing_disks import check_disks
from same_run import Table, differing, evidence, machine, prepare

from namprune.runs import RunFolder, RunStore

SIGNALS = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 0}
"""And the exit codes after them."""


class Kills:
    """Pipelines that are killed again and again, and what became of them."""

    def __init__(self, root: Path, *, rng: random.Random) -> None:
        self.root, self.rng = root, rng
        started = time.perf_counter()
        ended(forked(partial(pipeline, RunStore(root / "truth"))))
        self.duration = time.perf_counter() - started
        self.truth = self.evidences(RunStore(root / "truth"))
        self.pipelines = self.count = self.inside = self.recovered = 0
        self.where: dict[str, int] = {}
        self.faults: list[str] = []

    def evidences(self, store: RunStore) -> list[dict[str, Any]]:
        """Of the trained and the pruned run."""
        return [evidence(runs_of(store, kind)[0]) for kind in ("train", "prune")]

    def one_pipeline(self, *, most: int, share_inside: float) -> None:
        """Kill a pipeline at most so often, then let it come to its end, and compare."""
        store, kills, broken = RunStore(self.root / f"pipeline-{self.pipelines}"), 0, list[str]()
        while True:
            inside = self.inside < share_inside * (self.count + kills + 1)
            child = forked(partial(pipeline, store))
            if kills < most:
                longest = self.duration / (4 if kills else 1)  # the first anywhere, the others where it goes on
                kill(child, after=self.rng.uniform(0, 0.8 * longest), saving=store.root if inside else None)
            if (code := ended(child)) != -signal.SIGKILL:
                break
            kills += 1
            self.inside += inside_save(store.root)
            self.note_place(store)
            for run in store.folders():
                broken += run.checkpoints.newest()[1]
        if code:
            broken.append(f"a process that went on ended with {code}")
        else:
            differ = [differing(a, b) for a, b in zip(self.truth, self.evidences(store), strict=True)]
            broken += ["other bytes at the end"] if any(differ) else []
        self.count += kills
        self.pipelines += 1
        self.recovered += 0 if broken else kills
        self.faults += broken

    def note_place(self, store: RunStore) -> None:
        """Count what the process was at that was killed."""
        runs = [run for run in store.folders() if not run.result_file.exists()]
        if not runs:
            place = "between runs"
        else:
            place = "training" if runs[0] in runs_of(store, "train") else "pruning"
            place += "" if runs[0].checkpoints.newest()[0] else " before it had saved"
        self.where[place] = self.where.get(place, 0) + 1


def check_random_kills(
    root: Path, table: Table, *, kills: int, inside: int, rng: random.Random
) -> list[dict[str, Any]]:
    """SIGKILL; returns the evidence of what nobody killed."""
    work = Kills(root, rng=rng)
    while work.count < kills:
        work.one_pipeline(most=min(5, kills - work.count), share_inside=1.3 * inside / kills)
    spread = ", ".join(f"{count} {place}" for place, count in sorted(work.where.items()))
    faults = "; ".join(sorted({*work.faults})) or "the end has the same bytes"
    outcome = f"{work.recovered} of {work.count} recovered, in {work.pipelines} pipelines ({spread}); {faults}"
    table.add("SIGKILL at random times", outcome, met=work.recovered == work.count)
    table.add("of these inside a save", f"{work.inside} left half a checkpoint behind", met=work.inside >= inside)
    return work.truth


def started(store: RunStore) -> tuple["subprocess.Popen[str]", RunFolder]:
    """A process that trains, and its run, which has its first checkpoint."""
    arguments = [part for override in OVERRIDES for part in ("--set", override)]
    command = ["namprune", "train", "--recipe", "quickstart", *arguments, "--name", "dense", "--runs", str(store.root)]
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    run = RunFolder(store.root / "dense")
    while run.checkpoints.newest()[0] is None and process.poll() is None:
        time.sleep(0.01)
    return process, run


def check_signal(
    signum: signal.Signals, root: Path, table: Table, *, times: int, truth: dict[str, Any], rng: random.Random
) -> None:
    """A signal to the command, and the command that it prints."""
    code, good, said = SIGNALS[signum], 0, ""
    for number in range(times):
        process, run = started(RunStore(root / f"{signum.name}-{number}"))
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signum)
        _, stderr = process.communicate(timeout=60)
        line = re.search(r"to go on: (.*)", stderr)
        if process.returncode != code or line is None:
            said = f"; exit code {process.returncode}, said: {stderr[-200:]!r}"
            continue
        again = subprocess.run(shlex.split(line[1]), env=ENVIRONMENT, capture_output=True, text=True, check=False)  # noqa: S603
        same = again.returncode == 0 and not differing(truth, evidence(run))
        good, said = good + same, said if same else f"; {again.stderr[-200:]!r}"
    outcome = f"{good} of {times}: exit code {code}, the printed command ends in the same bytes{said}"
    table.add(f"{signum.name} to `namprune train`", outcome, met=good == times)


def check_second_signal(root: Path, table: Table, *, times: int, rng: random.Random) -> None:
    """Two signals, one right after the other."""
    slowest, intact = 0.0, 0
    for number in range(times):
        process, run = started(RunStore(root / f"twice-{number}"))
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGTERM)
        time.sleep(rng.uniform(0, 0.01))
        sent = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        slowest = max(slowest, time.perf_counter() - sent)
        newest, broken = run.checkpoints.newest()
        intact += newest is not None and not broken and process.returncode in (-signal.SIGTERM, 143)
    outcome = f"{intact} of {times} checkpoints intact, left within {slowest:.2f} s"
    table.add("a second SIGTERM", outcome, met=intact == times and slowest < 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--inside-save", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="20 kills, 5 of them inside a save, fewer signals")
    given = parser.parse_args()
    kills, inside, each = (20, 5, 1) if given.short else (given.kills, given.inside_save, 5)
    signums = [signal.SIGTERM] if given.short else [*SIGNALS]
    prepare()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        table = Table(f"Killed and stopped processes, {machine()}")
        truth = check_random_kills(root, table, kills=kills, inside=inside, rng=rng)[0]
        for signum in signums:
            check_signal(signum, root, table, times=each, truth=truth, rng=rng)
        if not given.short:
            check_second_signal(root, table, times=each, rng=rng)
        check_disks(root, table, truth=truth, short=given.short)
        return table.verdict()


if __name__ == "__main__":
    sys.exit(main())
