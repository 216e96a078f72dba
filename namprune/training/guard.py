"""What keeps a loss or a gradient that is no finite number out of a network, without waiting for the device."""

import torch
from torch import Tensor, nn

from namprune.errors import UserError


class NonFiniteError(UserError):
    """A loss or a gradient was no finite number; the network is as it was before."""


class FiniteGuard:
    """Turns a step whose loss, gradients or running statistics are not finite into none.

    The optimizer is told by `found_inf`, as `torch.amp.GradScaler` tells it: its fused kernels then change neither
    parameters nor their own state. Running statistics have moved by then, in the forward pass, and are put back.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.parameters = [*model.parameters()]
        self.statistics = [buffer for buffer in model.buffers() if buffer.is_floating_point() and buffer.numel()]
        self.optimizer = optimizer
        self.before: Tensor | None = None

    @torch.no_grad()
    def remember(self) -> None:
        """Keep the running statistics. Call before the forward pass."""
        if self.statistics:
            self.before = torch.cat([buffer.flatten() for buffer in self.statistics])

    @torch.no_grad()
    def check(self, loss: Tensor) -> Tensor:
        """1 where the step is to be none, else 0, a tensor without dimensions. Call between backward and step."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        size = nn.utils.get_total_norm(gradients)
        bad = ~(loss.isfinite() & size.isfinite())
        if self.before is not None:
            after = torch.cat([buffer.flatten() for buffer in self.statistics])
            bad |= ~after.isfinite().all()
            sizes = [buffer.numel() for buffer in self.statistics]
            kept = torch.split(torch.where(bad, self.before, after), sizes)
            torch._foreach_copy_(self.statistics, [k.view_as(s) for k, s in zip(kept, self.statistics, strict=True)])
        found = bad.float()
        self.optimizer.grad_scale, self.optimizer.found_inf = None, found  # type: ignore[attr-defined]
        return found
