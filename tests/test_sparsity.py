import pytest
import torch
from torch import Tensor, nn

from namprune.attention import NAM
from namprune.models import AttentionPlan
from namprune.models.resnet import cifar_resnet
from namprune.optim import build_optimizer
from namprune.sparsity import Penalty, build_penalty, collapsed, gamma_spread, scale_factors, travel

INPUT = (3, 8, 8)


def _network(part: str = "both") -> nn.Module:
    torch.manual_seed(0)
    plan = AttentionPlan(lambda channels, size: NAM(channels, size, part=part), "block")
    model = cifar_resnet(8, input_shape=INPUT, classes=4, attention=plan)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(module.weight)
    return model


def _gradients(model: nn.Module, extra: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    loss = model(torch.randn(4, *INPUT)).square().mean()
    model.zero_grad()
    (loss if extra is None else loss + extra).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_the_gradient_is_that_of_the_l1_term() -> None:
    model = _network()
    gammas = [f.parameter for f in scale_factors(model) if f.kind == "gamma"]
    lambdas = [f.parameter for f in scale_factors(model) if f.kind == "lambda"]
    gammas[0].data[0] = 0.0  # where the sub-gradient is 0
    l1 = 0.3 * sum(v.abs().sum() for v in gammas) + 0.7 * sum(v.abs().sum() for v in lambdas)
    expected = _gradients(model, l1)
    _gradients(model)
    build_penalty(model, l1_gamma=0.3, l1_lambda=0.7).add_gradient(1.0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-6, rtol=1e-6)


def test_each_factor_is_found_once_with_its_kind() -> None:
    model = _network()
    factors = list(scale_factors(model))
    assert len({id(f.parameter) for f in factors}) == len(factors)
    kinds = [(f.kind, f.source) for f in factors]
    # stem, two BNs in each of three blocks, two projection shortcuts; NAM behind each block
    assert kinds.count(("gamma", "bn")) == 1 + 6 + 2
    assert kinds.count(("gamma", "nam")) == 3
    assert kinds.count(("lambda", "nam")) == 3
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
    assert {id(f.parameter) for f in factors} == {id(norm.weight) for norm in norms}


@pytest.mark.parametrize(("on", "count"), [("nam", 3), ("bn", 9), ("all", 12)])
def test_on_chooses_the_factors(on: str, count: int) -> None:
    model = _network()
    penalty = build_penalty(model, l1_gamma=1.0, l1_lambda=1.0, on=on)
    assert (len(penalty.gammas), len(penalty.lambdas)) == (count, 3)
    before = _gradients(model)
    penalty.add_gradient(1.0)
    chosen = {id(parameter) for parameter in penalty.penalized}
    assert len(chosen) == count + 3
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.grad, before[name]) == (id(parameter) not in chosen)


def test_a_factor_without_strength_is_not_penalized() -> None:
    penalty = build_penalty(_network(), l1_gamma=1e-4, l1_lambda=0.0)
    assert penalty.penalized == penalty.gammas


def test_the_strength_grows_over_the_warm_up() -> None:
    model = _network("channel")
    penalty = build_penalty(model, l1_gamma=0.2, l1_lambda=0.0, warmup=0.5)
    assert [penalty.strength(progress) for progress in (0.0, 0.125, 0.5, 1.0)] == [0.0, 0.25, 1.0, 1.0]
    gamma = penalty.gammas[0]
    before = _gradients(model)
    penalty.add_gradient(0.125)
    name = next(name for name, parameter in model.named_parameters() if parameter is gamma)
    torch.testing.assert_close(gamma.grad - before[name], 0.05 * gamma.detach().sign())
    assert build_penalty(model, l1_gamma=0.2, l1_lambda=0.0).strength(0.0) == 1.0


def test_travel_is_how_far_sgd_moves_a_factor_without_gradient() -> None:
    lr, l1, momentum, steps = 0.05, 1e-3, 0.9, 100
    strengths = [min(1.0, step / 40) for step in range(steps)]
    factor = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([factor], lr=lr, momentum=momentum)
    for strength in [*strengths, *[0.0] * 400]:  # then the momentum runs out
        factor.grad = l1 * strength * factor.detach().sign()
        optimizer.step()
    expected = travel(l1, [lr] * steps, strengths, momentum=momentum)
    assert 1 - factor.item() == pytest.approx(expected, rel=1e-9)
    assert expected == pytest.approx(lr * l1 * sum(strengths) / 0.1)


def test_gamma_spread_by_hand() -> None:
    # 0.0 to 1.0 in steps of 0.1 and signs that do not matter: the deciles are values themselves
    values = torch.tensor([0.0, -0.1, 0.2, -0.3, 0.4, -0.5, 0.6, -0.7, 0.8, -0.9, 1.0])
    spread = gamma_spread((nn.Parameter(values[:4]), nn.Parameter(values[4:])))
    assert spread is not None
    assert spread.mean == pytest.approx(0.5)
    assert (spread.bottom_decile, spread.top_decile) == (pytest.approx(0.1), pytest.approx(0.9))
    assert spread.near_zero == pytest.approx(1 / 11)
    assert gamma_spread(()) is None


def test_penalized_factors_are_not_decayed() -> None:
    model = _network()
    penalty = build_penalty(model, l1_gamma=1.0, l1_lambda=0.0, on="bn")
    optimizer = build_optimizer(
        model, name="sgd", lr=0.1, momentum=0.9, nesterov=False, weight_decay=0.5, no_decay=penalty.penalized
    )
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    exempt = {id(parameter) for parameter in penalty.penalized}
    for name, parameter in model.named_parameters():
        factor = 1.0 if id(parameter) in exempt else 1 - 0.1 * 0.5
        torch.testing.assert_close(parameter.detach(), factor * before[name])


def _pushed(penalty: Penalty) -> list[Tensor]:
    """What the penalty adds to gradients of zero."""
    for gamma in penalty.gammas:
        gamma.grad = torch.zeros_like(gamma)
    penalty.add_gradient(1.0)
    return [gamma.grad for gamma in penalty.gammas if gamma.grad is not None]


def _uneven() -> nn.Module:
    """Two layers with factors of both signs, some small."""
    model = nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm2d(3))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -0.5, 0.02, 0.0]))
        model[1].weight.copy_(torch.tensor([0.3, -0.1, 0.2]))
    return model


def test_the_polarized_push_is_the_gradient_of_the_published_term() -> None:
    model = _uneven()
    pushed = _pushed(build_penalty(model, l1_gamma=2.0, l1_lambda=0.0, form="polarized"))
    gammas = [layer.weight.detach().clone().requires_grad_() for layer in model]
    magnitude = torch.cat(gammas).abs()
    term = 1.2 * magnitude.sum() - (magnitude - magnitude.mean()).abs().sum()
    term.backward()
    for push, gamma in zip(pushed, gammas, strict=True):
        torch.testing.assert_close(push, 2.0 * gamma.grad)


def test_the_reweighted_push_falls_with_the_factor_and_is_as_strong_on_the_whole() -> None:
    model = _uneven()
    push, other = _pushed(build_penalty(model, l1_gamma=0.5, l1_lambda=0.0, form="reweighted"))
    gamma = [1.0, 0.5, 0.02, 0.0]
    weights = [1 / (value / (sum(gamma) / 4) + 0.1) for value in gamma]
    signs = [1, -1, 1, 0]  # nothing pushes a factor that is at zero
    mean = sum(weights) / 4
    torch.testing.assert_close(push, torch.tensor([0.5 * s * w / mean for s, w in zip(signs, weights, strict=True)]))
    assert other.abs().mean().item() == pytest.approx(0.5)


def test_a_share_is_the_lowest_factors_of_all_layers_normalized() -> None:
    # n(γ): 2.63 1.32 0.05 0 and 1.5 0.5 1, so the lowest four of seven are 0, 0.05, 0.5 and 1
    push, other = _pushed(build_penalty(_uneven(), l1_gamma=1.0, l1_lambda=0.0, share=4 / 7))
    assert push.tolist() == [0, 0, 1, 0]
    assert other.tolist() == [0, -1, 1]


def test_a_layer_has_collapsed_when_all_its_factors_are_near_the_zero_of_the_network() -> None:
    model = _network("channel")
    assert collapsed(model) == ()
    norms = {f.name: f.parameter for f in scale_factors(model) if f.source == "bn"}
    first, second, *_ = norms
    with torch.no_grad():
        for parameter in norms.values():
            parameter.fill_(0.5)
        norms[first].fill_(-0.004)  # within 1 % of the largest
        norms[second].zero_()[3] = 0.006
        for factor in scale_factors(model):
            if factor.source == "nam":
                factor.parameter.zero_()  # a constant gate loses nothing
    assert collapsed(model) == (first,)
    assert collapsed(nn.Linear(2, 2)) == ()
