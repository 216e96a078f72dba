"""Whether runs that are stopped anywhere end as if they had not been, to the bit; exit code 1 if not.

python scripts/check_resume.py [--stops 50] [--seed 0] [--short]

Each stop is a real signal at one of the places where the work can end, drawn evenly from all that there are; half of
the runs that go on are stopped again. Then one component of a saved state after the other is made what it is in a
fresh run: each time the end must come out otherwise, or the comparison would prove nothing. And what must not be gone
on with must be refused.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from same_run import Table, differing, evidence, machine, prepare, small_recipe
from stopping import CASES, SIGNALS, Case, Polls, poisoned
from torch import Tensor

from namprune import console
from namprune.checkpoint import tensors_from_bytes, tensors_to_bytes
from namprune.errors import NampruneError, UserError
from namprune.recipe import Recipe, load_recipe
from namprune.runs import RunFolder, RunStore
from namprune.stages.resume import resume
from namprune.stages.train import train
from namprune.stages.work import NETWORK, PROGRESS, TRAINING

SHORT = ("penalty", "dropout", "steps")
"""The cases of the short form."""


class Bench:
    """The runs that were never stopped, and others beside them."""

    def __init__(self, root: Path, cases: tuple[Case, ...]) -> None:
        self.store, self.cases, self.polls = RunStore(root), {case.name: case for case in cases}, Polls()
        self.places: dict[str, list[str]] = {}
        self.truth: dict[str, dict[str, Any]] = {}
        for case in cases:
            with poisoned(case.poison):
                self.polls.sitting(partial(case.begin, self.store, case.name))
            self.places[case.name] = self.polls.places
            self.truth[case.name] = evidence(self.store.open(case.name))

    def stopped(self, case: Case, *, stops: list[int], rng: random.Random) -> tuple[list[str], list[str]]:
        """What differs at the end of a run that is stopped at these polls of its sittings, and where it was stopped."""
        run, places = RunFolder(self.store.root / "stopped"), list[str]()
        work: Callable[[], object] = partial(case.begin, self.store, run.name)
        with poisoned(case.poison):
            for stop in (*stops, 0):
                if self.polls.sitting(work, stop_at=stop, signum=rng.choice(SIGNALS)):
                    break
                places.append(self.polls.places[stop - 1])
                work = partial(resume, run)
        return self.ended(case, run), places

    def ended(self, case: Case, run: RunFolder) -> list[str]:
        """What differs at the end of a finished run, which is then deleted."""
        try:
            return differing(self.truth[case.name], evidence(run))
        finally:
            run.discard()

    def unfinished(self, name: str, *, share: float) -> RunFolder:
        """A run of a case that was stopped in the middle of an epoch, after this share of its steps."""
        case, places = self.cases[name], self.places[name]
        inner = [at for at in range(1, len(places) - 1) if places[at - 1 : at + 2] == ["step"] * 3]
        self.polls.sitting(lambda: case.begin(self.store, "stopped"), stop_at=inner[int(share * len(inner))] + 1)
        return RunFolder(self.store.root / "stopped")


def stop_everywhere(bench: Bench, table: Table, *, stops: int, rng: random.Random) -> None:
    """So many stops, over all cases in turn."""
    left = dict.fromkeys(bench.cases, stops // len(bench.cases))
    for name in rng.sample([*bench.cases], stops % len(bench.cases)):
        left[name] += 1
    same = 0
    for name, case in bench.cases.items():
        where, faults = Counter[str](), list[str]()
        places, made = bench.places[name], 0
        while made < left[name]:
            draws = [rng.randint(1, len(places)) for _ in range(min(left[name] - made, rng.choice((1, 2))))]
            differ, stopped_at = bench.stopped(case, stops=draws, rng=rng)
            where.update(stopped_at)
            made += len(stopped_at)
            same += 0 if differ else len(stopped_at)
            faults += [f"stops at polls {draws}: {', '.join(differ)}"] if differ else []
        spread = ", ".join(f"{count} in a {place}" for place, count in where.most_common())
        outcome = f"{made} stops among {len(places)} polls: {spread}; " + ("; ".join(faults) or "the same bytes")
        table.add(f"{case.about} (`{name}`)", outcome, met=not faults)
    table.add("stops", f"{same} of {stops} end in the same bytes", met=same == stops)


Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def fresh(*words: str, value: float = 0.0) -> Change:
    """All tensors whose names end so, as they begin."""
    return lambda tensors: {
        name: torch.full_like(tensor, value) if name.endswith(words) else tensor for name, tensor in tensors.items()
    }


def reseeded(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The generators of a process that has just begun."""
    return tensors | {"generator.cpu": torch.Generator().manual_seed(0).get_state()}


def unlearned(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights that learned nothing."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: 0.1 * torch.randn(tensor.shape, generator=generator) if name.endswith("weight") else tensor
        for name, tensor in tensors.items()
    }


CONTROLS: tuple[tuple[str, str, float, str, Change | dict[str, Any]], ...] = (
    ("penalty", "the weights", 0.5, NETWORK, unlearned),
    ("penalty", "the running means of the BatchNorms", 0.5, NETWORK, fresh("running_mean")),
    ("penalty", "the running variances of the BatchNorms", 0.5, NETWORK, fresh("running_var", value=1.0)),
    ("penalty", "the momentum", 0.5, TRAINING, fresh("momentum_buffer")),
    ("penalty", "the step", 0.5, TRAINING, fresh("step")),
    ("penalty", "the epoch", 0.5, TRAINING, fresh("epoch")),
    ("penalty", "the running sums", 0.5, TRAINING, fresh("sums")),
    ("penalty", "the records", 0.9, PROGRESS, {"records": []}),
    ("dropout", "the generators", 0.5, TRAINING, reseeded),
    ("removal", "the plan so far", 0.7, PROGRESS, {"plan": None}),
    ("adamw", "the first moments", 0.5, TRAINING, fresh("exp_avg")),
    ("adamw", "the second moments", 0.5, TRAINING, fresh("exp_avg_sq")),
    ("adamw", "the steps of the optimizer", 0.5, TRAINING, fresh(".step")),
    ("rollback", "the scale of the learning rate", 0.9, TRAINING, fresh("lr_scale", value=1.0)),
    ("rollback", "the start of the epoch", 0.3, TRAINING, fresh("network.stem.0.weight")),
    ("pruned", "the momentum of fine-tuning", 0.5, TRAINING, fresh("momentum_buffer")),
    ("steps", "the cuts so far", 0.2, PROGRESS, {"cuts": 0}),
    ("steps", "the plan so far", 0.2, PROGRESS, {"plan": None}),
    ("steps", "the stages so far", 0.9, PROGRESS, {"stages": []}),
    ("steps", "the proof so far", 0.9, PROGRESS, {"proof": 0.0}),
    ("scratch", "the momentum", 0.5, TRAINING, fresh("momentum_buffer")),
)
"""Case, component, share of the steps after which the run is stopped, file of the checkpoint, what is put there."""


def control(bench: Bench, name: str, share: float, file: str, change: Change | dict[str, Any]) -> list[str]:
    """What differs at the end of a run that went on without a component of its state."""
    case = bench.cases[name]
    with poisoned(case.poison):
        run = bench.unfinished(name, share=share)
        saved, _ = run.checkpoints.newest()
        assert saved is not None  # noqa: S101 - it was stopped after a step
        files = {one: saved.read(one) for one in saved.files}
        if isinstance(change, dict):
            files[file] = json.dumps(json.loads(files[file]) | change).encode()
        else:
            files[file] = tensors_to_bytes(change(tensors_from_bytes(files[file])))
        run.checkpoints.save(files)
        try:
            bench.polls.sitting(lambda: resume(run))
        except (NampruneError, AssertionError) as error:
            run.discard()
            return [f"ended by {type(error).__name__}"]
    return bench.ended(case, run)


def edited(file: Path, old: str, new: str) -> Callable[[], object]:
    """Put something else into a file; what it returns puts it back."""
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{old} is not in {file}"  # noqa: S101 - else nothing would be tried
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return lambda: file.write_text(text, encoding="utf-8")


def held(run: RunFolder) -> Callable[[], object]:
    """Another process at work on the run, until what is returned is called."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with run.claimed():
            os.write(told, b".")
            signal.pause()
    os.read(ready, 1)

    def release() -> None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    return release


def remade(parent: RunFolder, aside: Path) -> Callable[[], object]:
    """Another run under the name of the parent."""
    parent.path.rename(aside)
    recipe = small_recipe("train.epochs=1", "seed=1")
    with console.quiet():
        train(recipe, store=RunStore(parent.path.parent), name=parent.name)

    def back() -> None:
        parent.discard()
        aside.rename(parent.path)

    return back


Attempt = tuple[str, Callable[[], Callable[[], object]], tuple[str, ...], str]
"""What is changed, how (which gives how to undo it), overrides of the recipe, and a word of the refusal."""


def attempts_on(run: RunFolder) -> list[Attempt]:
    """What any unfinished run is not gone on with."""
    begun, version = run.start_file, f'"{torch.__version__.partition("+")[0]}'
    return [
        ("another recipe", lambda: lambda: None, ("train.lr=0.3",), "train.lr"),
        ("recipe.yaml changed", lambda: edited(run.recipe, "seed: 0", "seed: 1"), (), "recipe.yaml"),
        ("other pictures", lambda: edited(begun, run.start().data_digest, "0" * 64), (), "pictures"),
        ("another torch", lambda: edited(begun, version, '"2.0.0'), (), "torch 2.0.0"),
        ("at work elsewhere", lambda: held(run), (), "is at work in process"),
    ]


def refusals(bench: Bench, table: Table) -> None:
    """What must not be gone on with is refused by its name, and the run is none the worse for it."""
    parent, aside = bench.store.open("penalty"), bench.store.root.parent / "aside"
    anew: Attempt = ("parent made anew", lambda: remade(parent, aside), (), "made anew")
    for name in ("penalty", "steps"):
        run = bench.unfinished(name, share=0.5)
        for what, change, overrides, word in attempts_on(run) if name == "penalty" else [anew]:
            changed = load_recipe(str(run.recipe), overrides=overrides) if overrides else None
            undo = change()
            said = refused(run, changed)
            undo()
            table.add(f"refused: {what}", said, met=word in said)
        bench.polls.sitting(partial(resume, run))
        left = bench.ended(bench.cases[name], run)
        table.add(f"after these, `{name}` goes on", ", ".join(left) or "the same bytes", met=not left)


def refused(run: RunFolder, recipe: Recipe | None) -> str:
    """What is said instead of going on."""
    try:
        with console.quiet():
            resume(run, recipe)
    except UserError as error:
        return error.message.replace(str(run.path.parent), "runs")
    return "it went on"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="8 stops, fewer cases")
    given = parser.parse_args()
    stops = 8 if given.short else given.stops
    cases = tuple(case for case in CASES if case.name in SHORT or not given.short)
    prepare()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(Path(root) / "runs", cases)
        table = Table(f"Resumed runs, {machine()}")
        stop_everywhere(bench, table, stops=stops, rng=rng)
        for name, component, share, file, change in CONTROLS:
            if name in bench.cases:
                left = control(bench, name, share, file, change)
                table.add(
                    f"without {component}, `{name}`", f"red: {', '.join(left)}" if left else "green", met=bool(left)
                )
        refusals(bench, table)
        return table.verdict()


if __name__ == "__main__":
    sys.exit(main())
