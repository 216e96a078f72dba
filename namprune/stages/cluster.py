"""Ray as the backend of a comparison: every run a task, on as many machines as the cluster has; the door of ray.

Every machine needs namprune and, at the same place, the folder of runs, the working folder and the pictures: what is
sent to a worker is texts, what it makes lies in the folder of runs.
"""

import dataclasses
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import ray
import torch
from ray.exceptions import RayError, RayTaskError

from namprune import signals
from namprune.errors import DataError, NampruneError, ProofError, PruneError, RunError, UserError
from namprune.result import RunResult, from_json, to_json
from namprune.stages.comparison import FILE
from namprune.stages.jobs import Job, make

RETRIES = 3
"""Times that a job is run again whose worker died."""

LOOK = 0.5
"""Seconds between two looks at whether a signal came."""

GRACE = 30.0
"""Seconds that runs at work have to save when all are stopped."""

OWN = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
"""Settings of a Ray that is started here: it reports to nobody, and gives way to nothing while latency is timed."""

_FAULTS = {kind.__name__: kind for kind in (NampruneError, ProofError, UserError, DataError, RunError, PruneError)}

Answer = tuple[str | None, str, str | None]
"""Of a task: no fault, a result as JSON and no hint; or the name of a fault, its line and its hint."""


def on_ray(jobs: Sequence[Job], root: Path, *, address: str | None = None) -> Generator[RunResult, None, None]:
    """The backend of many machines: a job begins when the run that it is made from is finished.

    `address` is that of a cluster, `HOST:PORT` of its head or `auto`; without it a Ray of this machine alone is
    started, and stopped at the end. A task asks for one GPU and one CPU where the device is CUDA, or `auto` on a
    cluster with GPUs; else for as many CPUs as torch has threads here (OMP_NUM_THREADS), because the last digits of a
    result depend on them. It computes with as many threads as it has CPUs. A job whose worker died is run again.

    Raises:
        UserError: no Ray is at the address, or none of its machines has what a task asks for.
        NampruneError: a run failed, and is not tried again; or its worker died `RETRIES` times more.
    """
    if not jobs:
        return
    with _connected(address), signals.at_once(on=False):
        cpus, gpus = _asks_for(jobs[0].device)
        remote: Any = ray.remote  # its types know no keyword-only arguments
        task = remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(_work)
        here = {"folder": str(Path.cwd()), "root": str(root), "threads": cpus}
        names = {job.name for job in jobs}
        waiting = [*jobs]
        at_work: dict[Any, Job] = {}
        try:
            while waiting or at_work:
                for job in [job for job in waiting if job.parent not in names]:
                    waiting.remove(job)
                    at_work[task.remote(dataclasses.asdict(job), **here)] = job
                for ref in _finished([*at_work]):
                    result = _answered(ref, at_work.pop(ref))
                    names.remove(result.name)
                    yield result
        finally:
            _stop([*at_work])


def _work(job: dict[str, Any], *, folder: str, root: str, threads: int) -> Answer:
    """In a worker: make the run of a job, from the folder that the comparison was begun in."""
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # by which Ray cancels; it may be ignored from birth
    try:
        if not Path(folder, root, FILE).is_file():
            raise RunError(
                f"{socket.gethostname()} does not see {Path(folder, root)}, where the comparison was begun",
                hint="give --runs a folder that all machines share, at the same place",
            )
        os.chdir(folder)
        with signals.graceful(silent=True):
            return None, to_json(make(Job(**job), Path(root))), None
    except signals.Interrupted as stop:
        if stop.signum != signal.SIGINT:  # which is how Ray cancels; by others the machine is taken away
            raise SystemExit(1) from stop  # so that the job is run again elsewhere
        raise
    except NampruneError as fault:
        known = next(kind.__name__ for kind in type(fault).__mro__ if kind.__name__ in _FAULTS)
        return known, fault.message, fault.hint


def _finished(refs: list[Any]) -> list[Any]:
    """Those that are at an end, after a short wait."""
    signals.poll()
    done, _ = ray.wait(refs, timeout=LOOK)
    return list(done)


def _answered(ref: Any, job: Job) -> RunResult:
    try:
        fault, text, hint = ray.get(ref)
    except RayTaskError:  # a fault of ours, with the traceback of the worker
        raise
    except RayError as error:
        reason = str(error).strip().partition("\n")[0]
        raise NampruneError(f"run {job.name!r} was given up: {reason}", hint="see the logs of Ray") from error
    if fault is not None:
        raise _FAULTS[fault](text, hint=hint)
    return from_json(text, source=f"result of {job.name}")


def _stop(refs: list[Any]) -> None:
    """End what is at work where it can be gone on with."""
    for ref in refs:
        ray.cancel(ref)
    if refs:
        ray.wait(refs, num_returns=len(refs), timeout=GRACE)


def _asks_for(device: str) -> tuple[int, int]:
    """The CPUs and GPUs of a task.

    Raises:
        UserError: no machine of the cluster has them, or the device is a numbered one.
    """
    if device.startswith("cuda:"):
        raise UserError(f"runtime.device: {device}: which GPU a run has is for Ray to say", hint="use cuda")
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    machines = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = int(device == "cuda" or (device == "auto" and any(machine.get("GPU", 0) >= 1 for machine in machines)))
    cpus = 1 if gpus else torch.get_num_threads()
    if not any(machine.get("CPU", 0) >= cpus and machine.get("GPU", 0) >= gpus for machine in machines):
        raise UserError(
            f"no machine of the cluster has the {cpus} CPUs and {gpus} GPUs that a run asks for",
            hint="set OMP_NUM_THREADS to the CPUs of a run, runtime.device to what there is",
        )
    return cpus, gpus


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Ray at the address, or one of our own for as long as the context lasts."""
    if address not in (None, "auto"):
        _check_reachable(address)
    for name, value in OWN.items():
        os.environ.setdefault(name, value)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address=address or "local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise _no_ray(address) from error
    with redirect_stdout(sys.stderr):  # Ray says there that a worker died, as late as in its shutdown
        try:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts its own there, that exits on the spot
            yield
        finally:
            ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes, and then end the process."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _no_ray(address) from error


def _no_ray(address: str | None) -> UserError:
    return UserError(
        f"no Ray takes us at {address!r}",
        hint="give HOST:PORT of the head of a cluster, or auto on one of its machines; one that asks for a token "
        "takes it where RAY_AUTH_MODE=token is set",
    )
