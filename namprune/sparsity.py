"""The penalty on scale factors that makes them a pruning signal.

Network Slimming (https://arxiv.org/abs/1708.06519) penalizes the γ of BatchNorm, NAM
(https://arxiv.org/abs/2111.12419) its own γ and λ:

    loss = task + l1_gamma * Σ|γ| + l1_lambda * Σ|λ|

The terms enter as sub-gradients, l1 * sign(v), added to the gradients of the factors after the backward pass. That
push can be given another form, with n(γ) = |γ| / mean|γ| of the layer:

    reweighted  l1 * sign(γ) * r / mean(r), r = 1 / (n(γ) + 0.1): small factors are pushed harder, large ones spared
                (Candès et al., 2008, https://arxiv.org/abs/0711.1612)
    polarized   of t Σ|γ| - Σ| |γ| - mean|γ| |, t = 1.2, over all factors: hard down below their
                mean, hardly above it, and up there once most factors are small
                (Zhuang et al., NeurIPS 2020)

and be given only to the `share` of all factors with the lowest n(γ), ranked anew at every step: with a strength that
grows (`warmup`) these go to zero and the others are left alone (after Wang et al., 2021,
https://arxiv.org/abs/2012.09243).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.attention.nam import NAMChannel, NAMSpatial
from namprune.choices import FactorSet, PenaltyForm
from namprune.result import GammaSpread

NEAR_ZERO = 0.01
"""A factor up to this share of the largest counts as zero."""

POLARIZED_T = 1.2
"""t of the polarized form: above 1 all factors feel some push down (the paper's 1.0 to 1.4)."""

SOFTENED = 0.1
"""Added to n(γ) before it divides, so that a factor near zero is not pushed without bound."""


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
    """On the scale factors of one network; it grows from zero over the share `warmup` of the training."""

    gammas: tuple[nn.Parameter, ...]
    lambdas: tuple[nn.Parameter, ...]
    l1_gamma: float
    l1_lambda: float
    warmup: float = 0.0
    form: PenaltyForm = "l1"
    """Of the push on γ; that on λ is always L1."""
    share: float = 1.0
    """Of the γ, the lowest: only they are pushed."""

    @property
    def penalized(self) -> tuple[nn.Parameter, ...]:
        """The factors that feel it, to be exempted from weight decay."""
        return (self.gammas if self.l1_gamma else ()) + (self.lambdas if self.l1_lambda else ())

    def strength(self, progress: float) -> float:
        """Factor in [0, 1] on both strengths after a share `progress` of the training."""
        return min(1.0, progress / self.warmup) if self.warmup > 0 else 1.0

    @torch.no_grad()
    def add_gradient(self, progress: float) -> None:
        """Add the push to the gradient of each factor. Call between backward and the optimizer's step."""
        for factors, l1 in ((self.gammas, self.l1_gamma), (self.lambdas, self.l1_lambda)):
            # a frozen factor has no gradient
            moving: list[Tensor] = [factor for factor in factors if factor.grad is not None]
            if l1 and moving:
                gradients = [cast(Tensor, factor.grad) for factor in moving]
                push = self._push(moving) if factors is self.gammas else _signs(moving)
                torch._foreach_add_(gradients, push, alpha=l1 * self.strength(progress))

    def _push(self, gammas: list[Tensor]) -> list[Tensor]:
        """Directions in which the γ are pushed up; the gradient step goes the other way."""
        push = _signs(gammas)
        if self.form == "reweighted":
            push = [one * _reweighted(gamma) for one, gamma in zip(push, gammas, strict=True)]
        elif self.form == "polarized":
            push = [one * way for one, way in zip(push, _polarized(gammas), strict=True)]
        if self.share == 1.0:
            return push
        levels = [_normalized(gamma) for gamma in gammas]
        everything = torch.cat(levels)
        highest = everything.kthvalue(max(1, round(self.share * len(everything)))).values
        return [one * (level <= highest) for one, level in zip(push, levels, strict=True)]


def _signs(factors: list[Tensor]) -> list[Tensor]:
    return list(torch._foreach_sign(factors))  # noqa: SLF001 - the documented name of the fused form


def _normalized(gamma: Tensor) -> Tensor:
    """n(γ); zero for a layer that is zero as a whole."""
    magnitude = gamma.detach().abs().float()
    return magnitude / magnitude.mean().clamp_min(torch.finfo(torch.float32).tiny)


def _reweighted(gamma: Tensor) -> Tensor:
    """Factors on the push of one layer, of mean 1."""
    weight = 1 / (_normalized(gamma) + SOFTENED)
    return weight / weight.mean()


def _polarized(gammas: list[Tensor]) -> list[Tensor]:
    """d/d|γ| of the polarization term, layer by layer."""
    magnitudes = [gamma.detach().abs().float() for gamma in gammas]
    everything = torch.cat(magnitudes)
    mean = everything.mean()
    balance = (everything - mean).sign().mean()  # through the mean, which every γ moves
    return [POLARIZED_T - (magnitude - mean).sign() + balance for magnitude in magnitudes]


def build_penalty(
    model: nn.Module,
    *,
    l1_gamma: float,
    l1_lambda: float,
    on: FactorSet = "all",
    warmup: float = 0.0,
    form: PenaltyForm = "l1",
    share: float = 1.0,
) -> Penalty:
    """The penalty on a network's factors; `on` says which γ it takes."""
    factors = list(scale_factors(model))
    gammas = [f.parameter for f in factors if f.kind == "gamma" and on in (f.source, "all")]
    lambdas = [f.parameter for f in factors if f.kind == "lambda"]
    return Penalty(
        gammas=tuple(gammas),
        lambdas=tuple(lambdas),
        l1_gamma=l1_gamma,
        l1_lambda=l1_lambda,
        warmup=warmup,
        form=form,
        share=share,
    )


def travel(l1: float, learning_rates: list[float], strengths: list[float], *, momentum: float) -> float:
    """How far SGD can move a factor that gets no other gradient: B = Σ lr * l1 * strength / (1 - momentum).

    Zeros can appear only where B passes what factors start at: 1 in fresh networks.
    """
    return sum(lr * l1 * s for lr, s in zip(learning_rates, strengths, strict=True)) / (1 - momentum)


@torch.no_grad()
def collapsed(model: nn.Module) -> tuple[str, ...]:
    """Names of the layers whose γ are all near zero, measured by the largest of the network: they deliver one constant.

    Those of NAM are left out, whose gate is then a constant, which loses nothing. Reads from the device once.
    """
    factors = [factor for factor in scale_factors(model) if factor.kind == "gamma" and factor.source == "bn"]
    if not factors:
        return ()
    largest = torch.stack([factor.parameter.detach().abs().amax().float() for factor in factors])
    dead = (largest <= NEAR_ZERO * largest.max()).tolist()
    return tuple(factor.name for factor, gone in zip(factors, dead, strict=True) if gone)


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
