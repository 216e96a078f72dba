"""Processes that train and prune on a few digits, to be killed: for check_kills.py."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

# loaded here once, so that a process that goes on begins at once
import sklearn.datasets  # noqa: F401
import torch._dynamo
import torch.utils.tensorboard  # noqa: F401
from same_run import SMALL, small_recipe

from namprune import console
from namprune.recipe import load_recipe
from namprune.result import Kind
from namprune.runs import RunFolder, RunStore
from namprune.stages.prune import prune
from namprune.stages.resume import resume
from namprune.stages.train import train

OVERRIDES = (*SMALL, "data.limit=150", "train.epochs=5", "finetune.epochs=2", "runtime.save_every=0")
"""A checkpoint after every step."""

ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}
"""Of the real commands."""


def pipeline(store: RunStore) -> None:
    """Train and prune from where they stand."""
    for kind in ("train", "prune"):
        begun = runs_of(store, kind)
        if begun and begun[0].result_file.exists():
            continue
        if begun:
            resume(begun[0])
        elif kind == "train":
            train(small_recipe(*OVERRIDES), store=store, name=store.free_name("dense"))
        else:
            parent = runs_of(store, "train")[0]
            prune(parent, load_recipe(str(parent.recipe)), store=store, name=store.free_name("cut"))


def runs_of(store: RunStore, kind: Kind) -> list[RunFolder]:
    """The runs of a kind, finished or not."""
    return [run for run in store.folders() if (start := run.begun_as()) and start.kind == kind]


def forked(work: Callable[[], object], *, log: Path | None = None) -> int:
    """The number of a process that does the work, with everything loaded already; what it says goes to a file."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if log is not None:
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work()
        else:
            with console.quiet():
                work()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:  # noqa: BLE001 - the parent's stack is none of this process's business
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """The exit code of a process, when it has come to its end."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(child: int, *, after: float, saving: Path | None) -> None:
    """Kill a process after so many seconds and, if so asked, when it is next seen to save, unless it ends before."""
    until = time.perf_counter() + after
    while time.perf_counter() < until or (saving is not None and not inside_save(saving)):
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)


def inside_save(root: Path) -> bool:
    """Whether there is half a checkpoint."""
    return any(root.glob("*/checkpoint/.tmp-*"))
