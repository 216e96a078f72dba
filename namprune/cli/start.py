"""What `namprune` alone shows: the usual commands, and where one is."""

from contextlib import suppress

from namprune import console
from namprune.cli.next import suggest, suggest_for
from namprune.cli.options import RUNS
from namprune.errors import NampruneError
from namprune.runs import RunFolder, RunStore

PAGE = """\
namprune {version} makes trained CNNs smaller and faster, and proves what that costs.

  train    namprune train --recipe quickstart    half a minute on a CPU
  shrink   namprune prune --ratio 0.5            the newest run, channels removed for real
  look     namprune report                       accuracy beside MACs and latency
  ship     namprune export RUN                   a checked file for other programs

`namprune --help` lists all commands, `namprune prune --help` is about one,
`namprune recipes` has experiments to begin with.
"""


def show_start() -> None:
    """The page on stdout; of the newest run what is next, on stderr."""
    from importlib.metadata import version

    console.output(PAGE.format(version=version("namprune")))
    store = RunStore(RUNS)
    with suppress(NampruneError, OSError):  # a folder that cannot be read is for the commands to complain of
        newest = max(store.folders(), key=_touched, default=None)
        if newest is not None:
            _tell(newest, store=store)


def _tell(run: RunFolder, *, store: RunStore) -> None:
    state = run.state()
    console.message(f"newest run: {run.name}, {state}")
    if state == "finished":
        suggest_for(run, store=store)
    elif state == "unfinished" and (begun := run.begun_as()):
        suggest(*run.resume_command(begun.kind).split()[1:])


def _touched(run: RunFolder) -> float:
    """When it was begun or finished, in seconds since 1970."""
    files = (run.result_file, run.start_file, run.recipe)
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)
