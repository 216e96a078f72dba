"""Grad-CAM (Selvaraju et al., 2017), https://arxiv.org/abs/1610.02391; the door of captum."""

from collections.abc import Iterator

import torch
from captum.attr import LayerAttribution, LayerGradCam
from torch import Tensor, nn

from namprune.errors import UserError
from namprune.modes import modes_kept

FLAT = 1e-6
"""Standard deviation below which a map in [0, 1] has no shape to compare."""


def grad_cam(model: nn.Module, x: Tensor, *, target: int) -> Tensor:
    """Where a network in eval mode finds the class `target`: (1, C, H, W) to (H, W) in [0, 1].

    relu(sum_k a_k A_k), with A the feature map and a_k the mean over its pixels of d logit / d A_k; enlarged
    bilinearly to the picture and divided by its maximum. Zero everywhere where nothing speaks for the class.

    Raises:
        UserError: the network has no feature map of more than one pixel.
    """
    with modes_kept(model):
        model.eval()
        attribute = LayerGradCam(model, _last_map(model, x)).attribute
        coarse = attribute(x, target=target, relu_attributions=True)  # (1, 1, h, w)
    fine: Tensor = LayerAttribution.interpolate(coarse, tuple(x.shape[2:]), interpolate_mode="bilinear")
    heat = fine.detach()[0, 0].float().cpu()  # (H, W)
    return heat / heat.max() if heat.max() > 0 else heat


def correlation(first: Tensor, second: Tensor) -> float | None:
    """Pearson's r of two maps in [0, 1] of one shape, pixel by pixel; None where one of them is flat."""
    maps = torch.stack([first.flatten(), second.flatten()]).double()  # (2, H * W)
    return None if maps.std(1).min() < FLAT else float(torch.corrcoef(maps)[0, 1])


def _last_map(model: nn.Module, x: Tensor) -> nn.Module:
    """The last module of the trunk whose output has more than one pixel: small pictures may shrink to one."""
    found: list[nn.Module] = []

    def note(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2:].numel() > 1:
            found.append(module)

    handles = [module.register_forward_hook(note) for module in _trunk(model)]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise UserError(
            f"Grad-CAM of {type(model).__name__}: none of its parts gives a feature map of more than one pixel",
            hint="give the network itself, not a wrapper around it, and a picture that is large enough",
        )
    return found[-1]


def _trunk(module: nn.Module) -> Iterator[nn.Module]:
    """What all of a picture passes through, one after the other: the children, with those of a Sequential for it.

    Whole residual blocks stay whole, so that the map is that of the stream, not of a branch beside it.
    """
    for child in module.children():
        if isinstance(child, nn.Sequential):
            yield from _trunk(child)
        else:
            yield child
