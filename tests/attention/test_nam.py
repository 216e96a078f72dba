"""NAM against its formula written plainly: a BatchNorm, permutes, and a product."""

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

from namprune.attention import NAM, build_attention, opaque
from namprune.attention.nam import NAMChannel, NAMSpatial, normalized_factors
from namprune.recipe.attention import NAMSection, NoAttention

CHANNELS, SIZE = 6, (5, 7)
PARTS = ("channel", "spatial", "both")


def weights(bn: nn.Module, *, scale: str, detach: bool) -> Tensor:
    factors = (bn.weight.detach() if detach else bn.weight).abs()
    return factors / torch.sum(factors) * (len(factors) if scale == "mean" else 1)


def plain_channel(x: Tensor, bn: nn.Module, **options) -> Tensor:
    out = bn(x).permute(0, 2, 3, 1).contiguous()  # (N, H, W, C)
    out = torch.mul(weights(bn, **options), out).permute(0, 3, 1, 2).contiguous()  # (N, C, H, W)
    return torch.sigmoid(out) * x


def plain_spatial(x: Tensor, bn: nn.Module, **options) -> Tensor:
    out = bn(x.flatten(2).transpose(1, 2))  # (N, H * W, C)
    out = weights(bn, **options)[:, None] * out
    return torch.sigmoid(out.transpose(1, 2).reshape(x.shape)) * x


def plain(x: Tensor, norms: dict[str, nn.Module], **options) -> Tensor:
    if "channel" in norms:
        x = plain_channel(x, norms["channel"], **options)
    return plain_spatial(x, norms["spatial"], **options) if "spatial" in norms else x


def images(*, batch: int = 4, channels: int = CHANNELS, seed: int = 1) -> Tensor:
    return torch.randn(batch, channels, *SIZE, generator=torch.Generator().manual_seed(seed)) + 0.3


@pytest.mark.parametrize(
    ("part", "scale", "detach", "training"),
    list(itertools.product(PARTS, ["sum", "mean"], [True, False], [True, False])),
)
def test_forward_gradients_and_statistics_equal_the_plain_formula(part, scale, detach, training, randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE, part=part, scale=scale, detach=detach)).double().train(training)
    norms = {
        name: copy.deepcopy(gate.gate.bn)
        for name, gate in (("channel", module.channel), ("spatial", module.spatial))
        if gate is not None
    }
    x = images().double().requires_grad_()
    reference_x = x.detach().clone().requires_grad_()
    upstream = images(seed=2).double()

    out = module(x)
    out.backward(upstream)
    expected = plain(reference_x, norms, scale=scale, detach=detach)
    expected.backward(upstream)

    exactly = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(out, expected, **exactly)
    torch.testing.assert_close(x.grad, reference_x.grad, **exactly)
    for name, norm in norms.items():
        own = getattr(module, name).gate.bn
        for key in ("weight", "bias"):
            torch.testing.assert_close(getattr(own, key).grad, getattr(norm, key).grad, **exactly)
        for key in ("running_mean", "running_var"):
            torch.testing.assert_close(getattr(own, key), getattr(norm, key), **exactly)


def test_detach_changes_the_gradient_of_gamma_but_not_the_output(randomised) -> None:
    detached, attached = (randomised(NAMChannel(CHANNELS, detach=detach)) for detach in (True, False))
    x = images()
    outs = [module(x) for module in (detached, attached)]
    for out in outs:
        out.square().sum().backward()
    assert torch.equal(*outs)
    assert not torch.allclose(detached.gamma.grad, attached.gamma.grad, rtol=0.01)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("training", [True, False])
def test_float32_is_within_its_rounding(part, training, randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE, part=part, scale="mean")).train(training)
    expected = copy.deepcopy(module).double()(images().double())
    torch.testing.assert_close(module(images()).double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("autocast", [True, False])
def test_bfloat16_stays_and_is_one_rounding_away_from_float32(part, autocast, randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE, part=part)).eval()
    x = images().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        out = module(x)
    assert out.dtype == torch.bfloat16
    # bf16 rounds by up to 2**-9 of the value, once per part
    torch.testing.assert_close(out.float(), module(x.float()), rtol=len(module.parts) * 2**-8, atol=0)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_little_but_the_input_is_kept_for_backward(part, dtype, memory_format, randomised) -> None:
    module, kept = randomised(NAM(CHANNELS, SIZE, part=part)), {}
    x = images(batch=64).to(dtype, memory_format=memory_format).requires_grad_()

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = module(x)
    assert x.untyped_storage().data_ptr() in kept
    assert sum(kept.values()) <= 1.05 * len(module.parts) * out.nbytes  # a part's input, for each


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("scale", ["sum", "mean"])
def test_gradients_are_those_of_finite_differences(part, scale, randomised) -> None:
    module = randomised(NAM(2, (2, 3), part=part, scale=scale, detach=False)).double()
    names = [name for name, _ in module.named_parameters()]
    x = torch.randn(3, 2, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()

    def call(x: Tensor, *values: Tensor) -> Tensor:
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    torch.autograd.gradcheck(call, (x, *module.parameters()))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("training", [True, False])
def test_seen_by_the_compiler_it_is_one_graph_that_does_the_same(part, training, randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE, part=part)).train(training)
    other = copy.deepcopy(module)
    x = images().requires_grad_()
    outs = module(x), torch.compile(other, backend="eager", fullgraph=True)(x)
    gradients = (
        torch.autograd.grad(out.square().sum(), [x, *m.parameters()])
        for out, m in zip(outs, (module, other), strict=True)
    )
    torch.testing.assert_close(*outs)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(dict(module.named_buffers()), dict(other.named_buffers()))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_memory_format_stays(part, memory_format, randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE, part=part))
    x = images().to(memory_format=memory_format)
    out = module(x)
    assert out.stride() == x.stride()
    torch.testing.assert_close(out, module(images()))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("detach", [True, False])
def test_all_zero_factors_stay_finite(part, detach, randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE, part=part, detach=detach))
    for gate in module.parts:
        nn.init.zeros_(gate.gate.factors)
    x = images(batch=64).requires_grad_()
    out = module(x)
    (100 * out).sum().backward()
    torch.testing.assert_close(out, x * 0.5 ** len(module.parts))
    assert all(tensor.grad.isfinite().all() for tensor in (x, *module.parameters()))


def test_zero_gamma_halves_its_channel(randomised) -> None:
    module = randomised(NAMChannel(CHANNELS))
    with torch.no_grad():
        module.gamma[2] = 0.0
    x = images()
    out = module(x)
    assert torch.equal(out[:, 2], 0.5 * x[:, 2])
    assert not torch.allclose(out[:, 3], 0.5 * x[:, 3], rtol=1e-3)


def test_normalized_factors() -> None:
    factors = torch.tensor([3.0, -1.0, 0.0, 4.0])
    assert normalized_factors(factors).tolist() == [0.375, 0.125, 0.0, 0.5]
    assert normalized_factors(factors, scale="mean").tolist() == [1.5, 0.5, 0.0, 2.0]
    assert normalized_factors(torch.zeros(3), scale="mean").tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("part", ["spatial", "both"])
def test_spatial_part_refuses_another_input_size(part) -> None:
    module = NAM(CHANNELS, SIZE, part=part)
    transposed = images().transpose(2, 3)  # as many positions, another shape
    with pytest.raises(ValueError, match="built for 5x7 feature maps and got 7x5; build the model for this input size"):
        module(transposed)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("scale", ["sum", "mean"])
def test_pruned_equals_masked_however_often(part, scale, randomised) -> None:
    dense = randomised(NAM(CHANNELS, SIZE, part=part, scale=scale)).eval()
    module, kept = copy.deepcopy(dense), torch.arange(CHANNELS)
    for keep in (torch.tensor([0, 2, 3, 5]), torch.tensor([1, 3])):
        module.prune(keep)
        kept = kept[keep]
        assert module.channels == len(kept)
        masked = torch.zeros_like(images())
        masked[:, kept] = images()[:, kept]
        expected = dense(masked)
        torch.testing.assert_close(module(masked[:, kept]), expected[:, kept], rtol=1e-6, atol=1e-6)
        assert expected.sum((0, 2, 3)).count_nonzero() == len(kept)


def test_without_the_rescaling_pruned_differs_from_masked(randomised) -> None:
    dense = randomised(NAMChannel(CHANNELS)).eval()
    keep = torch.tensor([0, 2, 3])
    sliced = NAMChannel(len(keep)).eval()
    sliced.load_state_dict({name: value[keep] if value.ndim else value for name, value in dense.state_dict().items()})
    difference = (sliced(images()[:, keep]) - dense(images())[:, keep]).abs().max()
    assert difference > 0.01


def test_prune_where_all_kept_factors_are_zero(randomised) -> None:
    module = randomised(NAMChannel(CHANNELS)).eval()
    keep = torch.tensor([1, 4])
    with torch.no_grad():
        module.gamma[keep] = 0.0
    module.prune(keep)
    x = images(channels=2)
    assert torch.equal(module(x), 0.5 * x)


def test_prune_keeps_what_is_frozen_frozen() -> None:
    module = NAMChannel(CHANNELS)
    module.gamma.requires_grad_(False)
    module.prune(torch.tensor([0, 5]))
    assert not module.gamma.requires_grad
    assert module.gate.bn.bias.requires_grad


def test_pruned_module_trains_and_loads_into_one_of_its_width(randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE, part="both"))
    module.prune(torch.tensor([0, 1, 4]))
    module(images(channels=3)).sum().backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in module.parameters())
    fresh = NAM(3, SIZE, part="both")
    fresh.load_state_dict(module.state_dict())
    x = images(channels=3)
    assert torch.equal(fresh.eval()(x), module.eval()(x))


def test_opaque_is_one_elementwise_node_even_after_a_fault(randomised) -> None:
    module = randomised(NAM(CHANNELS, SIZE)).eval()
    x = images().requires_grad_()

    def trace() -> None:
        with opaque():
            out = module(x)
            assert torch.equal(out, x)
            assert out.grad_fn is not None
            raise RuntimeError("in the middle of a trace")

    with pytest.raises(RuntimeError, match="in the middle"):
        trace()
    assert not torch.allclose(module(x), x)


def test_macs_count_affine_and_product_of_each_part() -> None:
    x = images(batch=3)
    assert NAM(CHANNELS, SIZE).macs(x) == 2 * 3 * CHANNELS * 5 * 7
    assert NAM(CHANNELS, SIZE, part="both").macs(x) == 4 * 3 * CHANNELS * 5 * 7


def test_factory_carries_the_section_s_options() -> None:
    factory = build_attention(NAMSection(name="nam", part="both", scale="mean", detach=False))
    assert factory is not None
    module = factory(4, (2, 3))
    assert isinstance(module, NAM)
    assert [type(part) for part in module.parts] == [NAMChannel, NAMSpatial]
    assert {(part.gate.scale, part.gate.detach) for part in module.parts} == {("mean", False)}
    assert module.spatial.lambda_.shape == (6,)
    assert build_attention(NoAttention()) is None
