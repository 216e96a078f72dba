"""BatchNorm statistics after a removal: what the layers before it no longer deliver shifts every mean."""

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.modes import modes_kept
from namprune.signals import poll


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, limit: int) -> int:
    """Re-estimate running means and variances as the averages over `limit` batches; returns how many there were.

    Everything but the BatchNorms stays in eval mode; no parameter changes. Batches are forwarded in full precision.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    seen = 0
    try:
        with modes_kept(model):
            model.eval()
            for norm in norms:
                norm.train()
            for x, _ in islice(batches, limit):
                poll()
                seen += 1
                for norm in norms:
                    norm.momentum = 1 / seen  # a running mean with this momentum is the mean so far
                model(x)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return seen
