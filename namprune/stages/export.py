"""Write a run's network to a file for other programs, once that was run again and found to compute the same."""

import hashlib
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from namprune import console, signals
from namprune.checkpoint import load_network
from namprune.data import Data, Images, build_data
from namprune.data.picture import MOMENTS, normalizer
from namprune.errors import DataError, UserError
from namprune.export import (
    LIBRARIES,
    SUFFIXES,
    WRITERS,
    OnnxNetwork,
    Shipped,
    Written,
    checked,
    describe,
    int8_bytes,
    require,
    ship,
    with_metadata,
)
from namprune.measure import accuracy
from namprune.measure.accuracy import EVAL_BATCH
from namprune.recipe import Recipe, dump_recipe, parse_recipe
from namprune.recipe.model import NamedModel
from namprune.result import Accuracy, Export, ExportFormat, Quantize, RunResult, to_json
from namprune.runs import RunFolder, write_atomic
from namprune.stages.network import check_fits, open_network, utc_now

CPU = torch.device("cpu")
NOISE, PICTURES = 5, 16
"""Pictures that a file is run on before it is kept, made up and of the run's data."""


def export_run(
    run: RunFolder,
    recipe: Recipe,
    *,
    form: ExportFormat = "onnx",
    quantize: Quantize = "none",
    preprocess: bool = False,
    out: Path | None = None,
) -> tuple[Path, Export]:
    """Write a run's network in another format, and give the file and its record, which lies beside it.

    `preprocess`: it takes bytes and normalizes them itself. `out`: the file, in the place of one in the run's folder.
    Everything happens on the CPU; the run's data is needed for int8 alone.

    Raises:
        RunError: the run is broken, or a file cannot be written.
        UserError: what was asked for does not go together, a library is missing, or the format cannot say this network.
        DataError: int8 is asked for, and the run's pictures are not there.
        ProofError: the file computes something else; as with all of these, nothing has been written.
    """
    _check(form, quantize, preprocess, out)
    kind = "-pixels" * preprocess + "-int8" * (quantize == "int8")
    file = out or run.exports_folder / f"model{kind}{SUFFIXES[form]}"
    _check_place(file, run)
    model, result = open_network(run, recipe)
    model.eval()
    data = _own_data(recipe, result) if quantize == "int8" else None
    moments = MOMENTS[recipe.data.name]
    metadata = describe(result, moments=moments, inside=preprocess, quantize=quantize, weights=run.weights.name)
    accuracies: tuple[Accuracy, ...] = ()
    with signals.at_once(), console.progress(4 if data else 2, "export") as bar:
        bar.advance(0, note="writing")
        if form == "safetensors":
            written = _tensors(run, recipe, result, metadata)
        else:
            shipped = ship(model, result.input_shape, moments=moments if preprocess else None)
            written = WRITERS[form](shipped, metadata)
        files = written.files
        bar.advance(note="running it")
        difference = max(checked(written.run, model, x) for x in _pictures(recipe, result, data))
        if data is not None:
            bar.advance(note="calibrating")
            files = {".onnx": int8_bytes(shipped, files[".onnx"], data.val, metadata=metadata)}
            bar.advance(note="measuring")
            accuracies = tuple(_accuracy(files[".onnx"], shipped, images) for images in (data.val, data.test))
    record = Export(
        file=file.name,
        format=form,
        quantize=quantize,
        bytes=sum(map(len, files.values())),
        sha256=hashlib.sha256(files[file.suffix]).hexdigest(),
        difference=None if accuracies else difference,
        val=accuracies[0] if accuracies else None,
        test=accuracies[1] if accuracies else None,
        weights=result.files[run.weights.name],
        created=utc_now(),
        versions={package: version(package) for package in ("namprune", "torch", *LIBRARIES[form])},
    )
    _save(file, files, record)
    return file, record


def _check(form: ExportFormat, quantize: Quantize, preprocess: bool, out: Path | None) -> None:
    """Raise UserError where the options do not go together, or a library is missing."""
    if quantize == "int8" and form != "onnx":
        raise UserError(
            f"export: --quantize int8 goes with --format onnx, not with {form}", hint="leave one of them out"
        )
    if preprocess and form == "safetensors":
        raise UserError("export: --preprocess needs a graph, and safetensors holds tensors alone", hint="leave it out")
    if out is not None and out.suffix != SUFFIXES[form]:
        hint = f"for example --out {out.with_suffix(SUFFIXES[form]) if out.name else f'model{SUFFIXES[form]}'}"
        raise UserError(f"export: --out {out}: files of format {form} end in {SUFFIXES[form]}", hint=hint)
    require(form)


def _check_place(file: Path, run: RunFolder) -> None:
    """Raise UserError where a file cannot be, or would be among those of a run, which never change."""
    if file.is_dir():
        raise UserError(
            f"export: {file} is a folder", hint=f"name a file, for example --out {file / run.name}{file.suffix}"
        )
    place = file.resolve()
    if place.is_relative_to(run.exports_folder.resolve()):
        return
    for folder in map(RunFolder, place.parents):
        if folder.recipe.exists() and (folder.start_file.exists() or folder.result_file.exists()):
            raise UserError(
                f"export: {file} is in the folder of run {folder.name!r}, whose files stay as they are",
                hint=f"choose another with --out; without it the file goes to {run.exports_folder}",
            )


def _own_data(recipe: Recipe, result: RunResult) -> Data:
    """The pictures that the run was made with.

    Raises:
        DataError: they are not there, or others.
    """
    data = build_data(recipe.data, device=CPU)
    check_fits(data, result)
    return data


def _pictures(recipe: Recipe, result: RunResult, data: Data | None) -> Iterator[Tensor]:
    """Noise and, where the data is at hand, some of its pictures that were held out; normalized, (N, C, H, W)."""
    channels, height, width = result.input_shape
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (NOISE, height, width, channels), generator=generator, dtype=torch.uint8)
    yield normalizer(recipe.data.name, device=CPU)(noise).contiguous()
    few = max(100, 4 * len(result.classes))  # as few as a split takes: they need not all be decoded for this
    section = recipe.data.model_copy(update={"download": False, "limit": min(recipe.data.limit or few, few)})
    try:
        data = data or build_data(section, device=CPU)
    except DataError as error:
        console.message(f"run again on noise alone, because there are no pictures: {error.message}")
        return
    if data.input_shape == result.input_shape:
        yield next(iter(data.val.ordered(batch_size=PICTURES)))[0].contiguous()


def _tensors(run: RunFolder, recipe: Recipe, result: RunResult, metadata: dict[str, str]) -> Written:
    """The run's tensors with its recipe, and the network that is built from the two."""
    text = dump_recipe(_anywhere(recipe))
    data = with_metadata(run.weights.read_bytes(), metadata | {"namprune.recipe": text})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / run.weights.name
        file.write_bytes(data)
        network = load_network(
            parse_recipe(text, source=run.recipe.name),
            file,
            classes=len(result.classes),
            input_shape=result.input_shape,
        )
    return Written(files={".safetensors": data}, run=network.eval())


def _anywhere(recipe: Recipe) -> Recipe:
    """The same without the folders of this machine."""
    model = recipe.model
    if not isinstance(model, NamedModel) and model.weights is not None:
        model = model.model_copy(update={"weights": Path(model.weights).name})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"root": None}), "model": model})


def _accuracy(data: bytes, shipped: Shipped, images: Images) -> Accuracy:
    """Of an ONNX file, in onnxruntime."""
    return accuracy(OnnxNetwork(data), ((shipped.fed(x), y) for x, y in images.ordered(batch_size=EVAL_BATCH)))


def _save(file: Path, files: dict[str, bytes], record: Export) -> None:
    """What is named is there last, and its record after it, so that no record is of another file."""
    notes = file.with_name(f"{file.name}.json")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        notes.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"export: cannot write {file}: {error.strerror}", hint="choose another with --out") from error
    for suffix, data in reversed(files.items()):
        write_atomic(file.with_suffix(suffix), data)
    write_atomic(notes, to_json(record))
