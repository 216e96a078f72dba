"""That a file computes what torch does."""

import torch
from torch import Tensor, nn

from namprune.errors import ProofError
from namprune.export.formats import Run

LIMIT = 1e-4
"""Largest difference of a logit, times the largest logit where that is more than 1: float32 has 7 digits."""


@torch.no_grad()
def checked(run: Run, model: nn.Module, x: Tensor) -> float:
    """Largest difference of a logit from those of `model` in eval mode, for all of x and for its first picture alone.

    x are normalized pictures, float32 (N, C, H, W).

    Raises:
        ProofError: it is above `LIMIT`, or no number.
    """
    worst = 0.0
    for batch in (x, x[:1]):
        expected = model(batch)
        difference = float((run(batch) - expected).abs().max())
        allowed = LIMIT * max(1.0, float(expected.abs().max()))
        if not difference <= allowed:
            raise ProofError(
                f"export: run again, the file differs from torch by {difference:.2g} in a logit, and at most "
                f"{allowed:.2g} is let pass: nothing was written",
                hint="try another --format; --format safetensors holds the weights alone",
            )
        worst = max(worst, difference)
    return worst
