"""Time, memory and bytes of the networks of runs, beside the dense ones that they came from."""

import copy
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from namprune import console
from namprune.device import describe_environment, pick_device
from namprune.errors import UserError
from namprune.export.onnx import onnx_bytes
from namprune.measure.latency import Forward, eager, interleaved, on_threads
from namprune.measure.memory import Start, allocated_peak
from namprune.recipe import Recipe, load_recipe
from namprune.report.summary import NOISY
from namprune.result import Environment, Latency, Quantize, RunResult
from namprune.result.bench import Bench, Benched, Runtime
from namprune.runs import RunFolder, RunStore
from namprune.runs.files import digest_of
from namprune.signals import at_once
from namprune.stages.footprint import Footprint, footprints, onnx_forward
from namprune.stages.network import LATENCY_BATCHES, open_ancestor, open_network


@dataclass(frozen=True, kw_only=True)
class _Entrant:
    """A run with its network on the CPU."""

    folder: RunFolder
    recipe: Recipe
    model: nn.Module
    result: RunResult
    dense: str | None
    """The run that it is compared with; None where that cannot be had. A dense one is compared with itself."""


@dataclass(frozen=True, kw_only=True)
class _Network:
    """A file of a run that is measured: its weights, or an export."""

    entrant: _Entrant
    file: Path
    quantize: Quantize
    start: Start


def bench(
    runs: Mapping[RunFolder, Recipe],
    *,
    store: RunStore,
    runtime: Runtime = "torch",
    batches: Sequence[int] = LATENCY_BATCHES,
    threads: int | None = None,
) -> Bench:
    """Time the networks of runs and of their dense ancestors in turns, and measure the memory of each by itself.

    torch runs them eagerly in float32, on the device of the recipes; onnxruntime, on the CPU, what was exported of
    each, and where there is no float32 among that, an export that is made for it.

    Raises:
        RunError: a run is broken.
        UserError: recipes for several devices, one that is not there, more threads than processors, no memory, or
            onnxruntime is not installed.
    """
    _check_threads(threads)
    device = _device(runs.values()) if runtime == "torch" else torch.device("cpu")
    entrants = _entrants(runs, store)
    with at_once(), on_threads(threads), TemporaryDirectory() as scratch:
        networks: list[_Network] = []
        with console.progress(len(entrants), "load") as bar:
            for entrant in entrants:
                networks += [_eager(entrant, device)] if runtime == "torch" else _onnx(entrant, Path(scratch))
                bar.advance(note=entrant.folder.name)
        rows = _measured(networks, runtime, batches, device)
        return Bench(runtime=runtime, environment=_environment(runtime, device), networks=tuple(rows))


def _measured(
    networks: Sequence[_Network], runtime: Runtime, batches: Sequence[int], device: torch.device
) -> Iterator[Benched]:
    """Batch by batch, in the order of the networks."""
    timed: dict[int, list[Latency]] = {}
    peaks: dict[tuple[int, int], int | None] = {}
    with console.progress(len(batches) * (1 + len(networks)), "bench") as bar:
        for batch in batches:
            timed |= _timed(networks, batch, device)
            bar.advance(note=f"latency of batch {batch}")
        if not timed:
            raise UserError(f"bench: no batch fits into the memory of {device}", hint="give a smaller one with --batch")
        for number, batch, peak in _peaks(networks, runtime, tuple(timed), device):
            peaks[number, batch] = peak
            bar.advance(note=f"memory of batch {batch}")
    for batch, latencies in timed.items():
        yield from _rows(networks, batch, latencies, peaks)


def _environment(runtime: Runtime, device: torch.device) -> Environment:
    here = describe_environment(device)
    versions = here.versions if runtime == "torch" else here.versions | {runtime: metadata.version(runtime)}
    return replace(here, versions=versions)


def _device(recipes: Iterable[Recipe]) -> torch.device:
    devices = {pick_device(recipe.runtime.device) for recipe in recipes}
    if len(devices) > 1:
        names = " and ".join(sorted(map(str, devices)))
        raise UserError(f"bench: the runs are for {names}, and are timed on one device", hint="say which with --device")
    return devices.pop()


def _check_threads(asked: int | None) -> None:
    processors = os.cpu_count() or 1
    if asked is not None and asked > processors:
        raise UserError(
            f"bench: --threads {asked}: this machine has {processors} processors, and more threads wait for each other",
            hint=f"give at most {processors}",
        )


def _entrants(runs: Mapping[RunFolder, Recipe], store: RunStore) -> list[_Entrant]:
    """Each run once, its dense ancestor before it; a warning where that cannot be had."""
    found: dict[str, _Entrant] = {}
    for folder, recipe in runs.items():
        model, result = open_network(folder, recipe)
        dense = result.dense or folder.name
        try:
            if result.dense is not None and not _is_dense_of(result, found.get(dense)):
                found[dense] = _ancestor(store.open(dense), store, result)
        except UserError as error:
            console.warn(f"{error.message}; {folder.name} is measured without it")
            found[folder.name] = _Entrant(folder=folder, recipe=recipe, model=model, result=result, dense=None)
        else:
            found[folder.name] = _Entrant(folder=folder, recipe=recipe, model=model, result=result, dense=dense)
    return list(found.values())


def _is_dense_of(result: RunResult, entrant: _Entrant | None) -> bool:
    return entrant is not None and entrant.result.files[entrant.folder.weights.name] == result.dense_weights


def _ancestor(folder: RunFolder, store: RunStore, result: RunResult) -> _Entrant:
    return _Entrant(
        folder=folder,
        recipe=load_recipe(str(folder.recipe)),
        model=open_ancestor(folder.name, store, weights=result.dense_weights),
        result=folder.result(),
        dense=folder.name,
    )


def _eager(entrant: _Entrant, device: torch.device) -> _Network:
    def start(batch: int) -> Forward:
        model = copy.deepcopy(entrant.model).to(device)
        channels_last = entrant.recipe.runtime.channels_last
        return eager(model, entrant.result.input_shape, batch=batch, channels_last=channels_last)

    return _Network(entrant=entrant, file=entrant.folder.weights, quantize="none", start=start)


def _onnx(entrant: _Entrant, scratch: Path) -> list[_Network]:
    """What was exported of a run, float32 first; if there is none of that, it is made in the folder `scratch`."""
    folder, networks = entrant.folder, []
    exports = [export for export in folder.exports() if export.format == "onnx"]
    for export in sorted(exports, key=lambda export: export.quantize != "none"):
        file = folder.exports_folder / export.file
        if digest_of(file) == export.sha256:
            start = partial(onnx_forward, file)
            networks.append(_Network(entrant=entrant, file=file, quantize=export.quantize, start=start))
        else:
            console.warn(f"{file} is left out: it is not what was exported, its SHA-256 differs")
    if not any(network.quantize == "none" for network in networks):
        file = scratch / f"{folder.name}.onnx"
        file.write_bytes(onnx_bytes(entrant.model, entrant.result.input_shape))
        start = partial(onnx_forward, file)
        networks.insert(0, _Network(entrant=entrant, file=file, quantize="none", start=start))
    return networks


def _timed(networks: Sequence[_Network], batch: int, device: torch.device) -> dict[int, list[Latency]]:
    """By batch, in the order of the networks; nothing, and a warning, where there is no memory for it."""
    try:
        forwards = {str(number): network.start(batch) for number, network in enumerate(networks)}
        return {batch: list(interleaved(forwards, batch=batch, device=device).values())}
    except RuntimeError as error:
        console.warn(f"batch {batch} was not measured: {str(error).splitlines()[0]}")
        return {}


def _peaks(
    networks: Sequence[_Network], runtime: Runtime, batches: tuple[int, ...], device: torch.device
) -> Iterator[tuple[int, int, int | None]]:
    """Number of a network, batch size and the most bytes that it took; none where nobody can tell."""
    if device.type == "cuda":
        for batch in batches:
            for number, network in enumerate(networks):
                yield number, batch, allocated_peak(network.start, batch, device=device)
    elif device.type == "cpu":
        files = [network.file if runtime == "onnxruntime" else network.entrant.folder.path for network in networks]
        asked = Footprint(networks=tuple(map(str, files)), batches=batches, threads=torch.get_num_threads())
        yield from footprints(asked)


def _rows(
    networks: Sequence[_Network],
    batch: int,
    latencies: Sequence[Latency],
    peaks: Mapping[tuple[int, int], int | None],
) -> Iterator[Benched]:
    """Each network at one batch size, beside the float32 one that it is compared with."""
    plain = {network.entrant.folder.name: i for i, network in enumerate(networks) if network.quantize == "none"}
    for i, (network, latency) in enumerate(zip(networks, latencies, strict=True)):
        entrant, macs, size = network.entrant, _macs(network), network.file.stat().st_size
        at = plain[entrant.dense] if entrant.dense else i
        beside = networks[at]
        yield Benched(
            run=entrant.folder.name,
            file=_in_the_run(network),
            quantize=network.quantize,
            macs=macs,
            macs_ratio=None if at == i else macs / _macs(beside),
            latency=latency,
            latency_ratio=None if at == i else latency.median / latencies[at].median,
            pictures_per_second=batch / latency.median,
            noisy=latency.iqr > NOISY * latency.median,
            memory=peaks.get((i, batch)),
            bytes=size,
            bytes_ratio=None if at == i else size / beside.file.stat().st_size,
        )


def _in_the_run(network: _Network) -> str | None:
    folder = network.entrant.folder.path
    return network.file.relative_to(folder).as_posix() if network.file.is_relative_to(folder) else None


def _macs(network: _Network) -> int:
    return network.entrant.result.final.complexity.macs
