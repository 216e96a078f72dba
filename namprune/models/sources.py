"""Networks that were made elsewhere: of torchvision and timm by name, of the user's own code by import.

Importing a user's module runs it, with all rights of this process; nothing but `source: python` in a recipe does.
"""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Collection
from contextlib import chdir
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from namprune import console
from namprune.errors import UserError
from namprune.modes import modes_kept
from namprune.recipe.faults import clip, suggestion
from namprune.recipe.model import ForeignModel, PythonModel, TimmModel, TorchvisionModel

_OWN_OPTIONS: dict[str, dict[str, bool]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
"""No second outputs, that only training would read, and a start that the library is asked for expressly."""


def foreign_network(section: ForeignModel, *, classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """A network of another source with fresh weights; it has been seen to take the pictures.

    Raises:
        UserError: there is none of this name, timm is missing, the user's code fails, or what comes out is no network
            that gives a logit per class for pictures of this shape.
    """
    match section:
        case TorchvisionModel():
            model = _of_torchvision(section, classes)
        case TimmModel():
            model = _of_timm(section, classes, channels=input_shape[0])
        case PythonModel():
            model = _of_python(section, classes)
    _check_output(model, section, classes=classes, input_shape=input_shape)
    _check_state(model, section)
    return model


def published(section: TorchvisionModel | TimmModel) -> dict[str, Tensor]:
    """The weights that the library publishes for a network, downloaded unless they lie in its cache.

    Raises:
        UserError: there are none, or they cannot be fetched.
    """
    try:
        if isinstance(section, TimmModel):
            model: nn.Module = _timm().create_model(section.name, pretrained=True)
            return dict(model.state_dict())
        from torchvision import models

        weights = models.get_model_weights(section.name).DEFAULT
        return dict(weights.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except UserError:
        raise
    except Exception as error:  # each library's downloader fails in ways of its own
        raise UserError(
            f"model.weights DEFAULT: those of {section.label} could not be fetched ({_one_line(error)})",
            hint="without a network give a file with model.weights",
        ) from error


def _of_torchvision(section: TorchvisionModel, classes: int) -> nn.Module:
    from torchvision import models  # takes a second, which our own networks do without

    _check_name(section.name, models.list_models(module=models), section.source)
    options = dict(_OWN_OPTIONS.get(section.name, {}))
    if options and section.weights is not None:
        options["transform_input"] = True  # its weights were trained on pictures that were normalized otherwise
    model: nn.Module = models.get_model(section.name, weights=None, num_classes=classes, **options)
    return model


def _of_timm(section: TimmModel, classes: int, *, channels: int) -> nn.Module:
    timm = _timm()
    if not timm.is_model(section.name):  # takes names with a tag of weights, too
        _check_name(section.name, timm.list_models(), section.source)
    model: nn.Module = timm.create_model(section.name, pretrained=False, num_classes=classes, in_chans=channels)
    return model


def _timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise
        raise UserError("model.source: timm is not installed", hint="pip install 'namprune[timm]'") from error
    return timm


def _check_name(name: str, names: Collection[str], source: str) -> None:
    if name not in names:
        near = suggestion(name, names)
        raise UserError(
            f"model.name: {source} has no {clip(name)!r} that classifies pictures{near}",
            hint=f"{source}.models.list_models() names them"
            if source == "torchvision"
            else "timm.list_models() names them",
        )


def _of_python(section: PythonModel, classes: int) -> nn.Module:
    module_name, _, name = section.target.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        with chdir(here):  # back from where the code may go
            module = importlib.import_module(module_name)
            _announce(section.target, inspect.getsourcefile(module) or module_name)
            if not callable(make := getattr(module, name, None)):
                near = suggestion(name, [word for word in vars(module) if callable(getattr(module, word))])
                raise UserError(f"model.target: {module_name} has no callable {name!r}{near}")
            model = make(num_classes=classes)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a user's code may fail in any way
        raise UserError(
            f"model.target {section.target}: {_one_line(error)}",
            hint=f"{module_name} is looked for in {here} and in what is installed; called as "
            f"{name}(num_classes={classes}), {name} returns the network",
        ) from error
    finally:
        sys.path[:] = [entry for entry in sys.path if entry is not here]
    if not isinstance(model, nn.Module):
        raise UserError(f"model.target {section.target}: returns a {type(model).__name__}, not a torch.nn.Module")
    return model


@functools.cache
def _announce(target: str, file: str) -> None:
    console.message(f"model.target: running {target} from {file}")


def _check_output(model: nn.Module, section: ForeignModel, *, classes: int, input_shape: tuple[int, int, int]) -> None:
    """A picture through the network, and a batch through a copy of the user's own as it trains."""
    with torch.no_grad(), modes_kept(model):
        _logits(model.eval, section, (1, *input_shape), classes=classes)
    if isinstance(section, PythonModel):
        logits = _logits(lambda: deepcopy(model).train(), section, (2, *input_shape), classes=classes)
        if not logits.requires_grad:
            raise UserError(f"{section.label}: its logits have no gradient, so that nothing in it can be trained")


def _logits(
    network: Callable[[], nn.Module], section: ForeignModel, shape: tuple[int, int, int, int], *, classes: int
) -> Tensor:
    """What a network gives for empty pictures of this shape, (shape[0], classes)."""
    what, size = f"{section.label}{' in training' * (shape[0] > 1)}", "x".join(map(str, shape[1:]))
    try:
        logits = network()(torch.zeros(shape))
    except Exception as error:  # a network may fail in any way
        raise UserError(
            f"{what} does not take pictures of {size}: {_one_line(error)}",
            hint="data.image_size sets the side of pictures of a folder",
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (shape[0], classes):
        found = f"a tensor of {[*logits.shape]}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise UserError(f"{what} gives {found} for pictures of {size}, not a logit for each of {classes} classes")
    return logits


def _check_state(model: nn.Module, section: ForeignModel) -> None:
    """A file of weights has tensors alone, each under one name."""
    names: dict[int, str] = {}
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise UserError(f"{section.label}: {name} is a {type(tensor).__name__}, only tensors can be kept")
        first = names.setdefault(tensor.untyped_storage().data_ptr(), name)
        if first != name and tensor.numel():
            raise UserError(f"{section.label}: {first} and {name} are one tensor; shared weights are not supported")


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
