"""Weights that a network starts from: a file, or what a library publishes, checked layer by layer first.

Nothing is unpickled but tensors in plain containers (`weights_only=True`).
"""

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from namprune import console
from namprune.errors import UserError
from namprune.models.sources import published
from namprune.recipe.model import ForeignModel, PythonModel

DEFAULT = "DEFAULT"
"""In the place of a path: what the library publishes."""

NAMED = 3
"""Layers that a message names."""

SPARE_BYTES = 2**28
BYTES_PER_VALUE = 32
"""Beside a state dict in float64 a checkpoint may hold two of an optimizer and an average, and a larger classifier."""

_ENVELOPES = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Second outputs of GoogLeNet and Inception: left out, they are for training from scratch."""

_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)")


def load_weights(model: nn.Module, section: ForeignModel, *, new_head: bool) -> None:
    """Give a network the weights that its section of a recipe names, if it names any.

    With `new_head` the classifier stays as it is where the weights know other classes, or none.

    Raises:
        UserError: they cannot be had or read, or do not fit the network; every layer that is amiss is counted.
    """
    if section.weights is None:
        return
    if section.weights == DEFAULT and not isinstance(section, PythonModel):
        tensors = published(section)
    else:
        tensors = _read(Path(section.weights), model)
    tensors, head = _renamed(model, tensors), _classifier(model)
    if not _knows_others(head, tensors):
        _check_fits(model, tensors, section)
    else:
        name = next(iter(head))
        known, classes = len(tensors[name]) if name in tensors else "no", len(head[name])
        tensors = {name: tensor for name, tensor in tensors.items() if name not in head}
        _check_fits(model, tensors | head, section)
        say = f"model.weights {section.weights}: the weights know {known} classes, the pictures have {classes}"
        if not new_head:
            raise UserError(say, hint="train: with train.epochs above 0 the classifier starts fresh")
        console.message(f"{say}: the classifier ({name.rpartition('.')[0]}) starts fresh")
    copy_tensors(model, tensors)
    console.detail(f"model.weights {section.weights}: {len(tensors)} of {len(model.state_dict())} tensors loaded")


@torch.no_grad()
def copy_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into those of the same names, whose shapes they have.

    Without the hooks of `load_state_dict`, some of which (MNASNet's) take nothing but what torch.save wrote.
    """
    own = model.state_dict()
    for name, tensor in tensors.items():
        own[name].copy_(tensor)


def _check_fits(model: nn.Module, tensors: Mapping[str, Tensor], section: ForeignModel) -> None:
    """Raise UserError with the tensors that are missing, of another shape or kind, not finite, or unknown."""
    own, faults = model.state_dict(), []
    for name, tensor in own.items():
        if name not in tensors:
            if not name.endswith("num_batches_tracked"):  # which older files have not
                faults.append(f"{name} is missing")
        elif tensor.shape != tensors[name].shape:
            faults.append(f"{name} is {[*tensors[name].shape]} instead of {[*tensor.shape]}")
        elif tensor.is_floating_point():
            given = tensors[name]
            if not given.is_floating_point():
                faults.append(f"{name} is {str(given.dtype).removeprefix('torch.')} instead of floating point")
            elif not given.to(tensor.dtype).isfinite().all():
                faults.append(f"{name} has values that are no finite numbers")
    faults += [f"{name[:80]} is unknown" for name in tensors if name not in own]
    if faults:
        more = f" and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise UserError(
            f"model.weights {section.weights}: do not fit {section.label}: {'; '.join(faults[:NAMED])}{more}",
            hint="give weights of this architecture, with the names that its source uses",
        )


def _classifier(model: nn.Module) -> dict[str, Tensor]:
    """Tensors of the layer that gives the logits: the last linear layer or convolution."""
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    return {f"{name}.{key}": tensor for name, layer in layers[-1:] for key, tensor in layer.named_parameters()}


def _knows_others(head: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> bool:
    """Whether weights lack the classifier, or have one that differs in the number of classes alone."""
    found = {name: tensors[name] for name in head if name in tensors}
    if not found or found.keys() != head.keys():
        return not found
    pairs = [(tensor.shape, found[name].shape) for name, tensor in head.items()]
    alike = all(len(own) == len(other) and own[1:] == other[1:] for own, other in pairs)
    return alike and len({other[:1] for _, other in pairs}) == 1 and pairs[0][0] != pairs[0][1]


def _renamed(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """In the names of the network: wrappers, second outputs and the old names of DenseNet taken away."""
    while prefix := next((one for one in _PREFIXES if tensors and all(name.startswith(one) for name in tensors)), ""):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    own = model.state_dict()
    found = {name: tensor for name, tensor in tensors.items() if name in own or not name.startswith(_AUXILIARY)}
    return {name if name in own else _OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in found.items()}


def _read(path: Path, model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a file, none of which has been read from the disk yet where its format allows that."""
    most = SPARE_BYTES + BYTES_PER_VALUE * sum(tensor.numel() for tensor in model.state_dict().values())
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise UserError(f"model.weights {path}: {error.strerror}") from error
    if size is None:
        raise UserError(f"model.weights {path}: {'not a file' if path.exists() else 'no such file'}")
    if size > most:
        raise UserError(f"model.weights {path}: {size / 1e6:,.0f} MB are more than this network can need")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path, most)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"model.weights {path}: no safetensors file ({str(error).splitlines()[0]})") from error


def _read_torch(path: Path, most: int) -> dict[str, Tensor]:
    try:
        packed = zipfile.is_zipfile(path)
        if packed and sum(entry.file_size for entry in zipfile.ZipFile(path).infolist()) > most:
            raise UserError(f"model.weights {path}: unpacked it is more than this network can need")
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=packed)
    except UserError:
        raise
    except Exception as error:  # a foreign file may break its reader in any way
        raise UserError(
            f"model.weights {path}: no file of tensors alone ({type(error).__name__}); nothing in it has been run",
            hint="save the weights with torch.save(model.state_dict(), file), or as safetensors",
        ) from error
    return _state_dict(content, path)


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    for envelope in _ENVELOPES:
        if isinstance(content, Mapping) and isinstance(content.get(envelope), Mapping):
            content = content[envelope]
    entries = content.items() if isinstance(content, Mapping) else ()
    odd = [str(name)[:80] for name, value in entries if not isinstance(name, str) or not _is_plain(value)]
    if odd or not entries:
        what = f"{odd[0]!r} is no plain tensor" if odd else "it holds none"
        raise UserError(
            f"model.weights {path}: no state dict of tensors ({what})",
            hint=f"a state dict is looked for at the top and under {', '.join(_ENVELOPES)}",
        )
    return dict(entries)


def _is_plain(value: object) -> bool:
    if not isinstance(value, Tensor) or value.is_meta:  # which has a shape and no values
        return False
    return value.layout is torch.strided and not value.is_quantized
