"""The L1 penalty on scale factors that makes them a pruning signal.

Network Slimming (https://arxiv.org/abs/1708.06519) penalizes the γ of BatchNorm, NAM
(https://arxiv.org/abs/2111.12419) its own γ and λ:

    loss = task + l1_gamma * Σ|γ| + l1_lambda * Σ|λ|

The terms enter as sub-gradients, l1 * sign(v), added to the gradients of the factors after the backward pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.attention.nam import NAMChannel, NAMSpatial
from namprune.choices import FactorSet
from namprune.result import GammaSpread

NEAR_ZERO = 0.01
"""A factor up to this share of the largest counts as zero."""


@dataclass(frozen=True)
class ScaleFactor:
    """One vector of scale factors of a network."""

    name: str
    kind: Literal["gamma", "lambda"]
    source: Literal["nam", "bn"]
    parameter: nn.Parameter


def scale_factors(model: nn.Module) -> Iterator[ScaleFactor]:
    """Every vector of scale factors, each once: γ of NAM and of plain BatchNorms, λ of spatial NAM."""
    owned: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, NAMChannel):
            yield ScaleFactor(name, "gamma", "nam", module.gamma)
            owned.add(id(module.gate.bn))
        elif isinstance(module, NAMSpatial):
            yield ScaleFactor(name, "lambda", "nam", module.lambda_)
            owned.add(id(module.gate.bn))
        elif isinstance(module, _BatchNorm) and module.affine and id(module) not in owned:
            yield ScaleFactor(name, "gamma", "bn", module.weight)


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """L1 on the scale factors of one network; it grows from zero over the share `warmup` of the training."""

    gammas: tuple[nn.Parameter, ...]
    lambdas: tuple[nn.Parameter, ...]
    l1_gamma: float
    l1_lambda: float
    warmup: float = 0.0

    @property
    def penalized(self) -> tuple[nn.Parameter, ...]:
        """The factors that feel it, to be exempted from weight decay."""
        return (self.gammas if self.l1_gamma else ()) + (self.lambdas if self.l1_lambda else ())

    def strength(self, progress: float) -> float:
        """Factor in [0, 1] on both strengths after a share `progress` of the training."""
        return min(1.0, progress / self.warmup) if self.warmup > 0 else 1.0

    @torch.no_grad()
    def add_gradient(self, progress: float) -> None:
        """Add l1 * sign(v) to the gradient of each factor. Call between backward and the optimizer's step."""
        for factors, l1 in ((self.gammas, self.l1_gamma), (self.lambdas, self.l1_lambda)):
            # a frozen factor has no gradient
            moving: list[Tensor] = [factor for factor in factors if factor.grad is not None]
            if l1 and moving:
                gradients = [cast(Tensor, factor.grad) for factor in moving]
                signs = torch._foreach_sign(moving)  # noqa: SLF001 - the documented name of the fused form
                torch._foreach_add_(gradients, list(signs), alpha=l1 * self.strength(progress))


def build_penalty(
    model: nn.Module, *, l1_gamma: float, l1_lambda: float, on: FactorSet = "all", warmup: float = 0.0
) -> Penalty:
    """The penalty on a network's factors; `on` says which γ it takes."""
    factors = list(scale_factors(model))
    gammas = [f.parameter for f in factors if f.kind == "gamma" and on in (f.source, "all")]
    lambdas = [f.parameter for f in factors if f.kind == "lambda"]
    return Penalty(gammas=tuple(gammas), lambdas=tuple(lambdas), l1_gamma=l1_gamma, l1_lambda=l1_lambda, warmup=warmup)


def travel(l1: float, learning_rates: list[float], strengths: list[float], *, momentum: float) -> float:
    """How far SGD can move a factor that gets no other gradient: B = Σ lr * l1 * strength / (1 - momentum).

    Factors start at 1, so zeros can appear only where B passes 1.
    """
    return sum(lr * l1 * s for lr, s in zip(learning_rates, strengths, strict=True)) / (1 - momentum)


@torch.no_grad()
def gamma_spread(gammas: tuple[nn.Parameter, ...]) -> GammaSpread | None:
    """Distribution of |γ| over all given factors together; None without any. Reads from the device once."""
    if not gammas:
        return None
    magnitude = torch.cat([gamma.detach().abs().float() for gamma in gammas])
    deciles = magnitude.quantile(torch.tensor([0.1, 0.9], device=magnitude.device))
    near_zero = (magnitude <= NEAR_ZERO * magnitude.max()).float().mean()
    mean, bottom, top, share = torch.stack([magnitude.mean(), *deciles, near_zero]).tolist()
    return GammaSpread(mean=mean, top_decile=top, bottom_decile=bottom, near_zero=share)
