"""A network as a file: its tensors in safetensors, its layers from the recipe, its widths from the tensors' shapes.

The dense network is built from the recipe, each layer is brought to the shapes in the file (checked before anything
is allocated: never wider than the recipe's, never empty), then everything is loaded strictly. Nothing is unpickled,
nothing is traced, no width is stored twice.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_file, save
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd

from namprune.errors import RunError
from namprune.models import build_model
from namprune.models.blocks import initialise
from namprune.models.weights import copy_tensors
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
        copy_tensors(model, load_file(weights))
        with torch.no_grad():
            model.eval()(torch.zeros(1, *input_shape))
    except (RuntimeError, IndexError) as error:
        raise _foreign(weights, f"its widths do not fit together ({str(error).splitlines()[0]})") from error
    return model.train()


def fresh_network(recipe: Recipe, weights: Path, *, classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """The network of a recipe with the widths of a file and fresh weights, on the CPU.

    Those of convolutions and linear layers are drawn as our own networks draw them, for as wide as they are; of one
    from elsewhere, too. All else starts as in the dense network.

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
        for name, parameter in [*module.named_parameters(prefix, recurse=False)]:
            if tuple(parameter.shape) != shapes[name]:
                empty = torch.empty(shapes[name], dtype=parameter.dtype)
                setattr(module, name.rpartition(".")[2], nn.Parameter(empty, requires_grad=parameter.requires_grad))
        for name, buffer in [*module.named_buffers(prefix, recurse=False)]:
            if name in shapes and tuple(buffer.shape) != shapes[name]:
                setattr(module, name.rpartition(".")[2], torch.empty(shapes[name], dtype=buffer.dtype))
        _set_widths(module)


def _set_widths(module: nn.Module) -> None:
    """What a layer says of its widths, from its tensors."""
    match module:
        case _ConvNd(transposed=True):
            module.in_channels = len(module.weight)
            module.out_channels = module.weight.shape[1] * module.groups
        case _ConvNd():
            # Whole groups go, a depthwise convolution's are its channels: what each of them makes stays.
            each = module.out_channels // module.groups if module.groups > 1 else len(module.weight)
            module.out_channels = len(module.weight)
            module.groups = module.out_channels // each
            module.in_channels = module.weight.shape[1] * module.groups
        case nn.Linear():
            module.out_features, module.in_features = module.weight.shape
        case _NormBase():
            widths = module.weight if module.affine else module.running_mean
            module.num_features = module.num_features if widths is None else widths.numel()
        case nn.LayerNorm(elementwise_affine=True):
            module.normalized_shape = tuple(module.weight.shape)
        case nn.PReLU():
            module.num_parameters = module.weight.numel()


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
