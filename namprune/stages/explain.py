"""Where the network of a run looks in a picture, and where its dense ancestor did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from namprune import console
from namprune.cam import Explanation, Panel, Prediction, correlation, draw, grad_cam
from namprune.data.picture import normalizer, read_pictures
from namprune.device import pick_device
from namprune.errors import UserError
from namprune.nearest import did_you_mean
from namprune.recipe import Recipe
from namprune.result import RunResult
from namprune.runs import RunFolder, RunStore, write_atomic
from namprune.stages.network import open_ancestor, open_network, placed

Networks = dict[Literal["dense", "pruned"], tuple[str, nn.Module]]
"""Name of the run and network, in eval mode on its device; the dense one first, and at least one."""


def explain(
    run: RunFolder,
    recipe: Recipe,
    images: Sequence[Path],
    *,
    store: RunStore,
    out: Path = Path(),
    target: str | None = None,
) -> tuple[Explanation, ...]:
    """Write a PNG per picture with the Grad-CAM of the run's dense ancestor and its own, both for one class.

    That is `target`, by default what the dense network predicts (the run's own where its ancestor is gone).

    Raises:
        RunError: the run is broken, or a file cannot be written.
        UserError: no such class or device, or a folder that cannot be made; nothing has been written.
        DataError: a picture that cannot be read; nothing has been written.
    """
    device = pick_device(recipe.runtime.device)
    networks, result = _open(run, recipe, store, device)
    if target is not None and target not in result.classes:
        raise UserError(f"explain: run {run.name!r} has no class {target!r}", hint=did_you_mean(target, result.classes))
    pixels = read_pictures(images, input_shape=result.input_shape)  # (N, H, W, C)
    normalize = normalizer(recipe.data.name, device=device)
    _make(out)
    explained = []
    with console.progress(len(images), "explain") as bar:
        for image, file, picture in zip(images, _files(images, run.name, out), pixels, strict=True):
            x = normalize(picture[None].to(device))  # (1, C, H, W)
            heats, explanation = _explain(networks, x, result.classes, target, image=image, file=file)
            write_atomic(file, _draw(picture, heats, explanation))
            explained.append(explanation)
            bar.advance()
    return tuple(explained)


def _open(run: RunFolder, recipe: Recipe, store: RunStore, device: torch.device) -> tuple[Networks, RunResult]:
    """The run's network, the dense one before it where it can be had, and the run's record."""
    model, result = open_network(run, recipe)
    if result.dense is None:
        return {"dense": (run.name, placed(model, recipe, device).eval())}, result
    networks: Networks = {"pruned": (run.name, placed(model, recipe, device).eval())}
    try:
        dense = open_ancestor(result.dense, store, weights=result.dense_weights)
    except UserError as error:
        console.warn(f"{error.message}; the map of {run.name} is drawn alone")
        return networks, result
    return {"dense": (result.dense, placed(dense, recipe, device).eval()), **networks}, result


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"explain: cannot make the folder {out}: {error.strerror}", hint="choose another with --out"
        ) from error


def _files(images: Sequence[Path], run: str, out: Path) -> list[Path]:
    """A file per picture, none of them twice, and none of the pictures themselves."""
    taken = {image.resolve() for image in images}
    files = []
    for image in images:
        number, file = 1, out / f"{image.stem}-{run}.png"
        while file.resolve() in taken:
            number += 1
            file = out / f"{image.stem}-{number}-{run}.png"
        taken.add(file.resolve())
        files.append(file)
    return files


def _explain(
    networks: Networks, x: Tensor, classes: tuple[str, ...], target: str | None, *, image: Path, file: Path
) -> tuple[list[Tensor], Explanation]:
    """The map of each network, (H, W), and what is to be said of the picture."""
    with torch.no_grad():
        shares = {kind: model(x)[0].softmax(0) for kind, (_, model) in networks.items()}  # (classes,) each
    index = classes.index(target) if target else int(next(iter(shares.values())).argmax())
    heats = [grad_cam(model, x, target=index) for _, model in networks.values()]
    predictions = {
        kind: Prediction(
            run=networks[kind][0],
            predicted=classes[int(share.argmax())],
            probability=float(share.max()),
            target_probability=float(share[index]),
        )
        for kind, share in shares.items()
    }
    return heats, Explanation(
        image=str(image),
        target=classes[index],
        dense=predictions.get("dense"),
        pruned=predictions.get("pruned"),
        correlation=correlation(*heats) if len(heats) == 2 else None,
        file=str(file),
    )


def _draw(picture: Tensor, heats: Sequence[Tensor], explanation: Explanation) -> bytes:
    predictions = [one for one in (explanation.dense, explanation.pruned) if one]
    titles = [console.printable(f"{one.run}\n{one.words(explanation.target)}") for one in predictions]
    height, width, _ = picture.shape
    caption = f"Grad-CAM: what speaks for {explanation.target!r}, from blue (little) to red (most)"
    if len(heats) == 2:
        caption += f"; correlation of the two maps: {explanation.alike}"
    return draw(
        picture,
        [Panel(title=title, heat=heat) for title, heat in zip(titles, heats, strict=True)],
        title=console.printable(f"{Path(explanation.image).name}\nas it is read, {width}x{height}"),
        caption=console.printable(caption),
    )
