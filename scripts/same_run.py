"""Runs on a few digits, and what two of them have in common if they are the same: for the other checks here."""

import datetime
import hashlib
import json
import platform
import signal
from typing import Any

import torch

from namprune.device import describe_environment
from namprune.measure import latency
from namprune.recipe import Recipe, load_recipe
from namprune.runs import RunFolder

SMALL = (
    *("data.limit=300", "model.width=0.5", "train.batch_size=32", "finetune.batch_size=32"),
    *("prune.recalibrate=4", "runtime.device=cpu", "runtime.precision=fp32"),
)
SECONDS = ("seconds", "images_per_second")
"""What of an epoch's record is time, which no promise is made about."""


def prepare() -> None:
    """One thread, and signals that a shell had ignored in the background; of latencies, which are of no interest here,
    few places to stop at."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    latency.BLOCK_SECONDS = 0.0
    defaults = latency.interleaved_latency.__kwdefaults__
    assert defaults is not None  # noqa: S101 - it has some
    defaults["blocks"] = 2


def small_recipe(*overrides: str, base: str = "quickstart") -> Recipe:
    """A shipped recipe for a few hundred digits."""
    return load_recipe(base, overrides=[*SMALL, *overrides])


def evidence(run: RunFolder) -> dict[str, Any]:
    """All of a finished run that must come out the same: every byte and number but for time, name and date."""
    run.verify()
    result = run.result()
    records = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    return {
        "weights": hashlib.sha256(run.weights.read_bytes()).hexdigest(),
        "metrics": [{key: value for key, value in one.items() if key not in SECONDS} for one in records],
        "stages": result.stages,
        "cut": result.cut,
        "plan": run.plan.read_text(encoding="utf-8") if run.plan.exists() else None,
    }


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The names of what is not the same in two evidences."""
    return [name for name in one if one[name] != other[name]]


def machine() -> str:
    """Where and when, for a table."""
    here = describe_environment(torch.device("cpu"))
    return f"{here.device}, {here.threads} thread(s), torch {torch.__version__}, {platform.system()}, {today()}"


def today() -> str:
    """The date, as in 2026-01-31."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


class Table:
    """Lines of checks, printed in Markdown as they come; each is met or missed."""

    def __init__(self, title: str) -> None:
        self.missed: list[str] = []
        print(f"{title}\n\n| check | outcome | |\n|---|---|---|", flush=True)

    def add(self, check: str, outcome: str, *, met: bool) -> None:
        """One line."""
        if not met:
            self.missed.append(check)
        print(f"| {check} | {outcome.replace('|', '/')} | {'ok' if met else 'MISSED'} |", flush=True)

    def verdict(self) -> int:
        """The exit code, after a last word."""
        print(f"\nmissed: {'; '.join(self.missed)}" if self.missed else "\nall met")
        return bool(self.missed)
