"""--resume of train and prune: an unfinished run is finished."""

from collections.abc import Mapping, Sequence

from namprune.cli.overrides import resolve
from namprune.errors import UserError
from namprune.result import Kind, RunResult
from namprune.runs import RunStore


def resumed(
    run: str | None,
    recipe: str | None,
    *,
    store: RunStore,
    kinds: Sequence[Kind],
    sets: Sequence[str] | None,
    options: Mapping[str, object],
) -> RunResult:
    """Finish a run, or the one of these kinds that was begun last; what else is said must be what it began with."""
    folder = store.open_unfinished(run, kinds=kinds) if run else store.newest_unfinished(kinds=kinds)
    checked = resolve(recipe or str(folder.recipe), sets=sets, options=options)
    from namprune.stages.resume import resume

    return resume(folder, checked)


def reject(command: str, options: Mapping[str, object]) -> None:
    """Raise UserError for what makes no sense beside --resume."""
    if given := [option for option, value in options.items() if value]:
        raise UserError(
            f"{command}: {given[0]} is said beside --resume, which finishes a run as it was begun",
            hint="leave it out",
        )
