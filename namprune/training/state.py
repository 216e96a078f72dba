"""The state of an optimizer and of the random generators as named tensors, and back."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimizer keeps of each parameter, under `optimizer.<parameter>.<word of the optimizer>`."""
    return {
        f"optimizer.{name}.{word}": value
        for name, parameter in model.named_parameters()
        for word, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` took; settings, such as the learning rate, stay as they are."""
    places = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    index = {id(parameter): at for at, parameter in enumerate(places)}
    names = {name: index[id(parameter)] for name, parameter in model.named_parameters()}
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            name, _, word = key.removeprefix("optimizer.").rpartition(".")
            state.setdefault(names[name], {})[word] = _laid_out(value, like=places[names[name]])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out(value: Tensor, *, like: Tensor) -> Tensor:
    """In the memory format of its parameter: the fused kernels go through both as they lie in memory."""
    return torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value


def generator_tensors(device: torch.device) -> dict[str, Tensor]:
    """The states of PyTorch's global generators that a training on `device` draws from."""
    states = {"generator.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["generator.cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["generator.mps"] = torch.mps.get_rng_state()
    return states


def load_generators(device: torch.device, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `generator_tensors` took; a device of another kind goes on with the CPU's alone."""
    torch.set_rng_state(tensors["generator.cpu"])
    if device.type == "cuda" and "generator.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["generator.cuda"], device)
    elif device.type == "mps" and "generator.mps" in tensors:
        torch.mps.set_rng_state(tensors["generator.mps"])
