"""What the contract asks of every attention: tensors in and out, export, cost, and removal without a trace."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from namprune.attention import ATTENTIONS, Attention, Bottleneck, opaque

CHANNELS, SIZE = 16, (5, 7)
VARIANTS = {
    **{name: (name, {}) for name in ATTENTIONS},
    "nam-both": ("nam", {"part": "both"}),
    "se-without-bias": ("se", {"bias": False}),
    "bam-mul": ("bam", {"combine": "mul"}),
    "sa-2-groups": ("sa", {"groups": 2}),
    "ulsam-1-group": ("ulsam", {"groups": 1}),
}
EVERY = pytest.mark.parametrize("variant", VARIANTS)
ODD = (0, 1, 2, 5, 6, 12, 13, 14, 15)
"""Of four subspaces this leaves unequal numbers, and of the third nothing."""
SEEDS = (0, 1, 2)
"""Of the parameters where channels go: where a map's last ReLU is open or shut everywhere, a softmax hides a fault."""


def build(variant: str) -> Attention:
    name, options = VARIANTS[variant]
    return ATTENTIONS[name](CHANNELS, SIZE, **options)


@pytest.fixture
def trained(randomised) -> Callable[..., Attention]:
    """In eval mode, with parameters and statistics as after training."""
    return lambda variant, *, seed=0: randomised(build(variant), seed=seed).eval()


def pruned(module: Attention, *cuts: tuple[int, ...]) -> Attention:
    module = copy.deepcopy(module)
    for keep in cuts:
        module.prune(torch.tensor(keep))
    return module


def original(*cuts: tuple[int, ...]) -> Tensor:
    """The channels that are left, as the dense module numbers them."""
    left = torch.arange(CHANNELS)
    for keep in cuts:
        left = left[list(keep)]
    return left


@torch.no_grad()
def masked_output(dense: Attention, x: Tensor, kept: Tensor) -> Tensor:
    """Of the dense module on the kept channels, with the others at zero."""
    zeroed = torch.zeros_like(x)
    zeroed[:, kept] = x[:, kept]
    masked = copy.deepcopy(dense)
    masked.mask(kept)
    return masked(zeroed)[:, kept]


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_shape_dtype_and_memory_format_stay(variant, dtype, memory_format, trained, features) -> None:
    module, x = trained(variant), features(CHANNELS).to(dtype)
    out = module(x.to(memory_format=memory_format))
    assert (out.shape, out.dtype) == (x.shape, dtype)
    assert out.is_contiguous(memory_format=memory_format)
    torch.testing.assert_close(out, module(x))


@EVERY
@pytest.mark.parametrize("autocast", [True, False])
def test_bfloat16_is_some_roundings_away_from_float32(variant, autocast, trained, features) -> None:
    module, x = trained(variant), features(CHANNELS).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        out = module(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), module(x.float()), rtol=0.1 if autocast else 0.01, atol=0.02)


@EVERY
def test_one_picture_gives_in_eval_what_it_gives_in_a_batch(variant, trained, features) -> None:
    module, x = trained(variant), features(CHANNELS)
    torch.testing.assert_close(module(x[2:3]), module(x)[2:3])


@EVERY
@pytest.mark.parametrize("cuts", [(), (ODD,)], ids=["dense", "pruned"])
def test_gradients_reach_the_input_and_every_parameter(variant, cuts, trained, features) -> None:
    module = pruned(trained(variant), *cuts)
    x = features(module.channels).requires_grad_()
    module(x).square().sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in (x, *module.parameters()))
    assert [name for name, tensor in [("x", x), *module.named_parameters()] if not tensor.grad.any()] == []


@EVERY
@pytest.mark.parametrize("cuts", [(), (ODD,)], ids=["dense", "pruned"])
def test_exports(variant, cuts, trained, features) -> None:
    module = pruned(trained(variant), *cuts)
    x = features(module.channels)
    torch.testing.assert_close(torch.export.export(module, (x,)).module()(x), module(x))


@EVERY
def test_stands_as_the_identity_while_traced(variant, trained, features) -> None:
    module, x = trained(variant), features(CHANNELS)
    with opaque():
        assert torch.equal(module(x), x)
    assert not torch.allclose(module(x), x)


PIXELS = SIZE[0] * SIZE[1]
MACS: dict[str, Callable[[int, int], int]] = {
    "nam": lambda channels, _: 2 * channels * PIXELS,
    "nam-both": lambda channels, _: 4 * channels * PIXELS,
    "se": lambda channels, hidden: 2 * channels * hidden + channels * PIXELS,
    "cbam": lambda channels, hidden: 2 * 2 * channels * hidden + 2 * 7 * 7 * PIXELS + 2 * channels * PIXELS,
    "bam": lambda channels, hidden: (
        2 * channels * hidden + (channels + 2 * 9 * hidden + 1) * hidden * PIXELS + channels * PIXELS
    ),
    "sa": lambda channels, _: 4 * channels * PIXELS,
    "ulsam": lambda channels, _: 3 * channels * PIXELS,
    "eca": lambda channels, _: 3 * CHANNELS + channels * PIXELS,
    "half": lambda channels, _: channels * PIXELS,
}
"""Of one picture, from channels and hidden units."""


@EVERY
def test_macs_are_those_counted_by_hand(variant, features) -> None:
    module, by_hand = build(variant), MACS.get(variant) or MACS[VARIANTS[variant][0]]
    assert module.macs(features(CHANNELS, batch=3)) == 3 * by_hand(CHANNELS, 4)
    module.prune(torch.tensor(ODD))
    for bottleneck in module.bottlenecks().values():
        bottleneck.narrow(torch.tensor([0, 2, 3]))
    assert module.macs(features(len(ODD), batch=3)) == 3 * by_hand(len(ODD), 3)


HIDDEN = {
    "se": ["hidden"],
    "se-without-bias": ["hidden"],
    "cbam": ["hidden"],
    "bam": ["channel", "spatial0", "spatial1", "spatial2"],
    "bam-mul": ["channel", "spatial0", "spatial1", "spatial2"],
}
"""The names of the hidden dimensions, where there are any."""


@EVERY
def test_hidden_dimensions_have_names_and_as_many_units_as_the_bottleneck(variant) -> None:
    assert {name: hidden.units for name, hidden in build(variant).bottlenecks().items()} == dict.fromkeys(
        HIDDEN.get(variant, []), 4
    )


@pytest.mark.parametrize(("variant", "names"), [*((v, [n]) for v, ns in HIDDEN.items() for n in ns), *HIDDEN.items()])
@pytest.mark.parametrize("cuts", [(), (ODD,)], ids=["dense", "pruned"])
def test_narrowed_bottlenecks_equal_masked_ones(variant, names, cuts, trained, features) -> None:
    x, kept, units, changes = features(CHANNELS).double(), original(*cuts), torch.tensor([1, 3]), []
    for dense in (trained(variant, seed=seed).double() for seed in SEEDS):
        module = pruned(dense, *cuts)
        before = module(x[:, kept])
        for name in names:
            module.bottlenecks()[name].narrow(units)
            dense.bottlenecks()[name].mask(units)
            assert module.bottlenecks()[name].units == 2
        after = module(x[:, kept])
        torch.testing.assert_close(after, masked_output(dense, x, kept), rtol=1e-11, atol=1e-12)
        changes.append((after - before).abs().max())
    assert max(changes) > 0.01


@torch.no_grad()
def rescaled(bottleneck: Bottleneck, factor: float) -> None:
    """Make the first unit larger and read it the less: what is computed stays."""
    bottleneck.maker.weight[0] *= factor
    if bottleneck.maker.bias is not None:
        bottleneck.maker.bias[0] *= factor
    if bottleneck.norm is None:
        bottleneck.reader.weight[:, 0] /= factor
    else:
        bottleneck.norm.running_mean[0] *= factor
        bottleneck.norm.running_var[0] *= factor**2


@pytest.mark.parametrize(("variant", "name"), [(v, n) for v, names in HIDDEN.items() for n in names])
def test_scores_depend_on_what_a_unit_does_and_not_on_how_it_is_written(variant, name, trained, features) -> None:
    module, x = trained(variant).double(), features(CHANNELS).double()
    bottleneck = module.bottlenecks()[name]
    scores, out = bottleneck.scores(), module(x)
    assert scores.shape == (4,)
    rescaled(bottleneck, 3.0)
    torch.testing.assert_close(module(x), out, rtol=1e-4, atol=1e-4)  # but for the norm's ε
    torch.testing.assert_close(bottleneck.scores(), scores)
    with torch.no_grad():
        bottleneck.reader.weight[:, 2] *= 5.0
        (bottleneck.maker if bottleneck.norm is None else bottleneck.norm).weight[2] *= -2.0
    torch.testing.assert_close(bottleneck.scores(), scores * torch.tensor([1.0, 1.0, 10.0, 1.0]).double())


@EVERY
def test_frozen_stays_frozen_and_the_rest_does_not(variant) -> None:
    module = build(variant)
    for parameter in list(module.parameters())[::2]:
        parameter.requires_grad_(False)
    flags = {name: parameter.requires_grad for name, parameter in module.named_parameters()}
    module.prune(torch.tensor(ODD))
    assert {name: parameter.requires_grad for name, parameter in module.named_parameters()} == flags


@EVERY
def test_state_loads_into_another_cut_the_same_way(variant, trained, features) -> None:
    module, other = pruned(trained(variant), ODD), pruned(build(variant).eval(), ODD)
    x = features(len(ODD))
    other.load_state_dict(module.state_dict(), strict=True)
    assert torch.equal(other(x), module(x))


@EVERY
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "cuts",
    [(ODD,), (ODD, (0, 2, 3, 7)), ((13,),), (ODD, (2, 4), (1,)), (tuple(range(CHANNELS)),)],
    ids=["some", "twice", "to-one", "thrice-to-one", "none"],
)
def test_pruned_equals_masked(variant, seed, cuts, trained, features) -> None:
    dense, x, kept = trained(variant, seed=seed).double(), features(CHANNELS).double(), original(*cuts)
    module = pruned(dense, *cuts)
    assert module.channels == len(kept)
    torch.testing.assert_close(module(x[:, kept]), masked_output(dense, x, kept), rtol=1e-11, atol=1e-12)


def cbam_without_the_rescaled_mean(module: Attention, dense: Attention) -> None:
    module.conv.weight.copy_(dense.conv.weight)


def ulsam_without_the_folded_constants(module: Attention, dense: Attention) -> None:
    module.point_bias.copy_(dense.point_bias)


def eca_with_renumbered_places(module: Attention, dense: Attention) -> None:
    module.places = dense.places[: module.channels]


def sa_with_the_table_of_the_first_channels(module: Attention, dense: Attention) -> None:
    module.pooled, module.slot = dense.pooled[: module.channels], dense.slot[: module.channels]


@pytest.mark.parametrize(
    ("variant", "spoil"),
    [
        ("cbam", cbam_without_the_rescaled_mean),
        ("ulsam", ulsam_without_the_folded_constants),
        ("eca", eca_with_renumbered_places),
        ("sa-2-groups", sa_with_the_table_of_the_first_channels),
    ],
)
def test_pruned_differs_from_masked_without_what_prune_takes_care_of(variant, spoil, trained, features) -> None:
    x, differences = features(CHANNELS), []
    for dense in (trained(variant, seed=seed) for seed in SEEDS):
        module = pruned(dense, ODD)
        with torch.no_grad():
            spoil(module, dense)
            differences.append((module(x[:, ODD]) - masked_output(dense, x, original(ODD))).abs().max())
    assert max(differences) > 0.01
