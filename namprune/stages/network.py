"""What the stages share: the network of a run on its device, its measurements, and the record of a run."""

from collections.abc import Sequence
from datetime import UTC, datetime

import torch
from torch import nn

from namprune import console, signals
from namprune.checkpoint import load_network
from namprune.data import Data
from namprune.errors import DataError, RunError, UserError
from namprune.measure import complexity, interleaved_latency, split_accuracy
from namprune.recipe import Recipe, load_recipe
from namprune.recipe.model import NamedModel
from namprune.result import EpochRecord, Measurement, RunResult, Timing
from namprune.runs import RunFolder, RunStore
from namprune.table import quantity

LATENCY_BATCHES = (1, 64)


def placed(model: nn.Module, recipe: Recipe, device: torch.device) -> nn.Module:
    """The network on its device, in the memory format of the recipe."""
    memory_format = torch.channels_last if recipe.runtime.channels_last else torch.contiguous_format
    return model.to(device).to(memory_format=memory_format)


def checked(run: RunFolder, recipe: Recipe) -> RunResult:
    """The record of a finished run; every file is checked against its digest.

    Raises:
        RunError: the run is broken.
        UserError: the recipe is not the run's own but for what may change after training.
    """
    run.verify()
    check_same(run, load_recipe(str(run.recipe)), recipe, free=("prune", "finetune", "runtime"))
    return run.result()


def open_network(run: RunFolder, recipe: Recipe) -> tuple[nn.Module, RunResult]:
    """The network of a finished run on the CPU, and its record, as `checked` has it."""
    with console.status(f"loading {run.name}"):
        result = checked(run, recipe)
        model = load_network(recipe, run.weights, classes=len(result.classes), input_shape=result.input_shape)
    cost = result.final.complexity
    console.detail(f"{run.name}: {quantity(cost.params)} parameters, {quantity(cost.macs)} MACs, from {run.weights}")
    return model, result


def open_ancestor(name: str | None, store: RunStore, *, weights: str | None) -> nn.Module:
    """The network of the dense run that another run came from, on the CPU; `weights` is their SHA-256.

    Raises:
        UserError: it is gone, broken, or another run has taken its name.
    """
    folder = store.open(name or "")
    model, result = open_network(folder, load_recipe(str(folder.recipe)))
    if result.files[folder.weights.name] != weights:
        raise RunError(f"run {name!r} is not the one that was cut: it was made anew")
    return model


def open_dense(
    name: str | None, store: RunStore, recipe: Recipe, device: torch.device, *, weights: str | None
) -> nn.Module | None:
    """`open_ancestor` on its device, to time a cut network beside it; None, and a warning, where it cannot be had."""
    try:
        return placed(open_ancestor(name, store, weights=weights), recipe, device)
    except UserError as error:
        console.warn(f"{error.message}; latency is measured without it")
        return None


def check_same(run: RunFolder, own: Recipe, recipe: Recipe, *, free: Sequence[str]) -> None:
    """Raise UserError where a recipe says otherwise of a run than its own, but in the sections or keys `free`."""
    was, given = _flat(own), _flat(recipe)
    for key in {**was, **given}:
        if was.get(key) != given.get(key) and not {key, key.partition(".")[0]} & {"data.root", "data.download", *free}:
            raise UserError(
                f"{key}: run {run.name!r} was made with {was.get(key)}, not with {given.get(key)}",
                hint=f"a run takes other values of {', '.join(free)} alone; for what differs make another run",
            )


def _flat(recipe: Recipe) -> dict[str, object]:
    """The keys of a recipe by their paths, as `train.epochs`."""
    keys: dict[str, object] = {}
    for section, value in recipe.model_dump().items():
        keys |= {f"{section}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {section: value}
    return keys


def check_fits(data: Data, result: RunResult) -> None:
    """Raise DataError unless these are the pictures, and the split, that the run was trained on.

    On others its validation and test accuracy could be measured on pictures that it was trained on.
    """
    if data.digest == result.data_digest:
        return
    if data.classes != result.classes:
        fault = f"has {len(data.classes)} classes ({', '.join(data.classes[:3])}, ...) instead of {len(result.classes)}"
    elif data.input_shape != result.input_shape:
        fault = f"has pictures of shape {data.input_shape} instead of {result.input_shape}"
    else:
        fault = "has other pictures, or another split of them"
    raise DataError(
        f"the data {fault}: run {result.name!r} was trained on something else",
        hint="give the run's own data with --data",
    )


def check_batch(data: Data, *, batch_size: int, section: str) -> int:
    """Steps per epoch; DataError when there is not one full batch."""
    if steps := len(data.train) // batch_size:
        return steps
    raise DataError(
        f"{section}.batch_size: {batch_size} is more than the {len(data.train)} training pictures",
        hint=f"lower {section}.batch_size",
    )


def measured(model: nn.Module, data: Data, recipe: Recipe, *, stage: str, test: bool) -> Measurement:
    """Cost and accuracy of a network; the test set is read only where `test` says that this is the end."""
    precision = recipe.runtime.precision
    with signals.at_once():
        return Measurement(
            stage=stage,
            complexity=complexity(model, data.input_shape),
            val=split_accuracy(model, data.val, "validation", precision=precision),
            test=split_accuracy(model, data.test, "test", precision=precision) if test else None,
        )


def timings(
    model: nn.Module, recipe: Recipe, input_shape: tuple[int, int, int], *, dense: nn.Module | None = None
) -> tuple[Timing, ...]:
    """Latency in float32 of a network, and of a dense one in turns with it, for each of `LATENCY_BATCHES`."""
    models = {"network": model} if dense is None else {"network": model, "dense": dense}
    taken = []
    for batch in LATENCY_BATCHES:
        try:
            with signals.at_once(), console.status(f"latency of batch {batch}"):
                one = interleaved_latency(models, input_shape, batch=batch, channels_last=recipe.runtime.channels_last)
        except RuntimeError as error:  # out of memory: not worth losing a trained network for
            console.warn(f"latency of batch {batch} was not measured: {str(error).splitlines()[0]}")
        else:
            taken.append(Timing(network=one["network"], dense=one.get("dense")))
    return tuple(taken)


def describe_attention(recipe: Recipe) -> str:
    """The attention as the report names it: `nam (channel, block)`, with the options that are not the default."""
    section = recipe.attention
    if section.name == "none":
        return "none"
    part = [section.part] if section.name == "nam" else []
    fields = type(section).model_fields
    odd = [
        f"{key} {value}"
        for key, value in section.model_dump(exclude={"name", "part", "placement", "at"}).items()
        if value != fields[key].default
    ]
    where = [section.placement] if isinstance(recipe.model, NamedModel) else section.at or ["family"]
    return f"{section.name} ({', '.join([*part, *where, *odd])})"


def mean_speed(records: Sequence[EpochRecord]) -> float:
    """Training pictures per second over all epochs; 0 without any."""
    seconds = sum(record.seconds for record in records)
    return sum(record.images_per_second * record.seconds for record in records) / seconds if seconds else 0.0


def utc_now() -> str:
    """ISO 8601 with microseconds, so that runs sort by it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
