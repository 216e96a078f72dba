"""A network as a file: its tensors in safetensors, its layers from the recipe, its widths from the tensors' shapes.

The dense network is built from the recipe, each layer is brought to the shapes in the file (checked before anything
is allocated: never wider than the recipe's, never empty), then everything is loaded strictly. Nothing is unpickled,
nothing is traced, no width is stored twice.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_model, save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.errors import RunError
from namprune.models import build_model
from namprune.models.blocks import initialise
from namprune.recipe.schema import Recipe

Shapes = dict[str, tuple[int, ...]]


def to_bytes(model: nn.Module) -> bytes:
    """The tensors of a network as a safetensors file."""
    return tensors_to_bytes(model.state_dict())


def tensors_to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Any named tensors as a safetensors file."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def tensors_from_bytes(data: bytes) -> dict[str, Tensor]:
    """Read what `tensors_to_bytes` wrote, on the CPU; only what was checked by its digest."""
    return load(data)


def load_network(recipe: Recipe, weights: Path, *, classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """The network of a recipe with the widths and weights of a file, on the CPU.

    Raises:
        RunError: the file is no safetensors file, or not one of a network of this recipe.
    """
    model = build_model(recipe, classes=classes, input_shape=input_shape)
    shapes = _shapes(weights)
    _check(model, shapes, weights)
    narrow(model, shapes)
    try:
        load_model(model, weights, strict=True)
        with torch.no_grad():
            model.eval()(torch.zeros(1, *input_shape))
    except (RuntimeError, IndexError) as error:
        raise _foreign(weights, f"its widths do not fit together ({str(error).splitlines()[0]})") from error
    return model.train()


def fresh_network(recipe: Recipe, weights: Path, *, classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """The network of a recipe with the widths of a file and weights as if it had been built so narrow, on the CPU.

    Raises:
        RunError: the file is no safetensors file, or not one of a network of this recipe.
    """
    model = load_network(recipe, weights, classes=classes, input_shape=input_shape)
    start = build_model(recipe, classes=classes, input_shape=input_shape).state_dict()
    with torch.no_grad():
        for prefix, module in model.named_modules():
            # Buffers of an attention say which channel is what: they belong to the shape.
            buffers = module.named_buffers(prefix, recurse=False) if isinstance(module, _BatchNorm) else ()
            for name, tensor in [*module.named_parameters(prefix, recurse=False), *buffers]:
                tensor.copy_(start[name][tuple(map(slice, tensor.shape))])
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        initialise(model)  # draws by fan: a narrow layer starts with larger weights than a slice of a wide one
    return model


def narrow(model: nn.Module, shapes: Shapes) -> None:
    """Give every tensor of a network the shape in `shapes`, and every layer the widths that follow from it."""
    for prefix, module in model.named_modules():
        depthwise = isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels
        for name, parameter in [*module.named_parameters(prefix, recurse=False)]:
            if tuple(parameter.shape) != shapes[name]:
                empty = torch.empty(shapes[name], dtype=parameter.dtype)
                setattr(module, name.rpartition(".")[2], nn.Parameter(empty, requires_grad=parameter.requires_grad))
        for name, buffer in [*module.named_buffers(prefix, recurse=False)]:
            if name in shapes and tuple(buffer.shape) != shapes[name]:
                setattr(module, name.rpartition(".")[2], torch.empty(shapes[name], dtype=buffer.dtype))
        if isinstance(module, nn.Conv2d):
            module.out_channels = len(module.weight)
            module.groups = module.out_channels if depthwise else module.groups
            module.in_channels = module.weight.shape[1] * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, _BatchNorm) and module.affine:
            module.num_features = module.weight.numel()


def _shapes(weights: Path) -> Shapes:
    """Shapes by name, from the header alone."""
    try:
        with safe_open(weights, framework="pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _foreign(weights, f"it cannot be read ({error})") from error


def _check(model: nn.Module, shapes: Shapes, weights: Path) -> None:
    dense = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if odd := sorted(dense.keys() ^ shapes.keys()):
        raise _foreign(weights, f"{odd[0]} is {'missing' if odd[0] in dense else 'unknown to the recipe'}")
    for name, shape in shapes.items():
        most = dense[name]
        if not _narrower(shape, most):
            raise _foreign(weights, f"{name} has the shape {list(shape)}, the recipe allows up to {list(most)}")


def _narrower(shape: tuple[int, ...], most: tuple[int, ...]) -> bool:
    """Whether a tensor may be what removals left of one of shape `most`: fewer outputs and inputs, the same kernel."""
    if len(shape) != len(most) or shape[2:] != most[2:]:
        return False
    return all(0 < now <= before or now == before for now, before in zip(shape, most, strict=True))


def _foreign(weights: Path, fault: str) -> RunError:
    return RunError(f"{weights}: not a network of this recipe: {fault}", hint="delete the run and make it again")
