"""--devices: one process per device, started and watched by PyTorch's elastic engine, as torchrun starts them.

A process that finds itself started so (`WORLD_SIZE`) joins the others. It leaves its fault to who started it, which
shows one for all.
"""

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from namprune import console
from namprune.errors import NampruneError, UserError

SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP", "SIGQUIT")
"""What the processes are told of when it is sent to the one that started them."""

SAVING = 300
"""Seconds that they then have to finish a step and save."""

FIRST = 2.0
"""Seconds that a process waits with a fault that another's end may have caused; it is ended meanwhile if so."""


def members() -> int:
    """How many processes were started together, of which this is one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def silent() -> bool:
    """Whether another process of the group speaks for this one."""
    return members() > 1 and os.environ.get("RANK") != "0"


@contextmanager
def spread(devices: int | None) -> Iterator[None]:
    """What is inside runs in one process per device: in those that are started here, or that torchrun has started.

    Raises:
        UserError: both were asked for, with other numbers.
    """
    if members() == 1:
        if devices is not None and devices > 1:
            _launch(devices)
        yield
        return
    if devices not in (None, here := int(os.environ.get("LOCAL_WORLD_SIZE", "1"))):
        raise UserError(f"--devices {devices}: torchrun has started {here} processes", hint="leave --devices out")
    from namprune import distributed

    with distributed.joined():
        yield


def left_to_launcher(fault: Exception) -> bool:
    """Whether the process that started this one shows its fault."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if members() == 1 or file is None:
        return False
    told: dict[str, object] = {"timestamp": str(int(time.time()))}
    if isinstance(fault, NampruneError):
        told |= {"message": fault.message, "hint": fault.hint, "exit_code": fault.exit_code}
    else:
        told |= {"message": "".join(traceback.format_exception(fault))}
    Path(file).write_text(json.dumps(told), encoding="utf-8")
    if "exit_code" not in told:
        time.sleep(FIRST)
    return True


def _launch(devices: int) -> NoReturn:
    """Run this command line in so many processes, and end as they do."""
    import torch
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # the engine's lines about what is said here in the house's own words
    # Each would take all cores: they share them.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // devices)))
    for name in SIGNALS:  # until the engine listens itself
        signal.signal(getattr(signal, name), _leave)
    with TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=devices,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            run_id="namprune",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            signals_to_handle=",".join(SIGNALS),
            shutdown_timeout=SAVING,
        )
        try:
            elastic_launch(config, sys.executable)("-m", "namprune", *sys.argv[1:])
        except SignalException as end:
            raise_known_fault(Path(folder))  # the others are of processes that one ended by the signal left alone
            _leave(end.sigval)
        except ChildFailedError as end:
            codes = [failure.exitcode for failure in end.failures.values()]
            # The engine itself ends with SIGTERM what is left.
            killers = [signal.Signals(-code).name for code in codes if code < 0 and -code != signal.SIGTERM]
            raise_first_fault(Path(folder), killed=next(iter(killers), None))
            code = max(codes)
            sys.exit(code if code > 0 else 128 - code)
    sys.exit(0)


def _leave(signum: int, _: FrameType | None = None) -> NoReturn:
    """End as a process that a signal ended, but for SIGUSR1: then the job is put back in line."""
    sys.exit(0 if signum == signal.SIGUSR1 else 128 + signum)


def raise_known_fault(folder: Path) -> None:
    """Raise what a process left in `folder`, if it is a fault in the house's own words."""
    for fault in _faults(folder):
        if code := fault.get("exit_code"):
            raise (UserError if code == UserError.exit_code else NampruneError)(fault["message"], hint=fault["hint"])


def raise_first_fault(folder: Path, *, killed: str | None = None) -> None:
    """Raise what a process left in `folder`. Of several: one that is known, or else the signal that `killed` another.

    What the others say comes from it: they lost the connection.
    """
    raise_known_fault(folder)
    if killed is not None:
        raise NampruneError(
            f"one of the processes was ended by {killed}",
            hint="where memory ran out, lower train.batch_size or raise train.accumulate",
        )
    if faults := _faults(folder):
        console.announce(min(faults, key=lambda fault: int(fault["timestamp"]))["message"])
        raise NampruneError("one of the processes failed", hint="the lines above say where")


def _faults(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in folder.rglob("error.json")]
