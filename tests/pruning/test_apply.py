import copy
import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch_pruning as tp
from torch import Tensor, nn

from namprune.attention.contract import Bottleneck, narrow_linear
from namprune.attention.nam import NAMChannel
from namprune.attention.se import SE
from namprune.choices import Scope
from namprune.errors import ProofError, PruneError
from namprune.models import AttentionPlan
from namprune.pruning import ChannelGraph, PruningPlan, make_plan, prune_model
from namprune.pruning.apply import PROOF_TOLERANCE
from namprune.pruning.group import Cuts
from namprune.pruning.knife import remove

INPUT = (3, 8, 8)
PICTURES = torch.randn(4, *INPUT, generator=torch.Generator().manual_seed(1))
NetworkFactory = Callable[..., nn.Module]


def _plan(model: nn.Module, *, ratio: float = 0.5, **options: object) -> PruningPlan:
    return make_plan(ChannelGraph(model, INPUT), INPUT, ratio=ratio, **options)


def _hooked_to_zero(model: nn.Module, plan: PruningPlan, graph: ChannelGraph) -> Tensor:
    """Logits of the dense network whose dropped channels are zeroed behind each layer, by hooks."""
    dense = copy.deepcopy(model).double().eval()
    groups = {group.root: group for group in graph.groups}
    for cut in plan.groups:
        drop = torch.tensor(cut.removed, dtype=torch.int64)
        for member in groups[cut.root].members:
            if isinstance(member.module, nn.BatchNorm2d):
                dense.get_submodule(member.name).register_forward_hook(
                    lambda _module, _inputs, output, drop=drop: output.index_fill(1, drop, 0.0)
                )
    return dense(PICTURES.double()).detach()


@pytest.mark.parametrize(
    ("name", "attention", "ratio", "scope"),
    [
        *itertools.product(
            ["resnet20", "resnet18", "resnet50", "mobilenetv2"],
            ["none", "channel", "both"],
            [0.3, 0.7],
            ["global", "local"],
        )
    ],
)
def test_the_pruned_network_is_the_masked_one(
    make_network: NetworkFactory, name: str, attention: str, ratio: float, scope: Scope
) -> None:
    model = make_network(name, attention)
    graph = ChannelGraph(model, INPUT)
    plan = make_plan(graph, INPUT, ratio=ratio, scope=scope)
    expected = _hooked_to_zero(model, plan, graph)
    assert plan.apply(model, pictures=PICTURES, graph=graph) < PROOF_TOLERANCE
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    logits = model.double().eval()(PICTURES.double())  # from here on nothing is rounded but what was cut in float32
    torch.testing.assert_close(logits, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2"])
def test_a_pruned_network_learns_on(make_network: NetworkFactory, name: str) -> None:
    model = make_network(name, "both")
    model.stem.requires_grad_(False)
    pruned = prune_model(model, PICTURES, ratio=0.5)
    model, plan = pruned.model, pruned.plan
    model.train()(PICTURES).square().sum().backward()
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.startswith("stem"):
            assert parameter.grad is None
        else:
            assert parameter.grad is not None
            assert parameter.grad.shape == parameter.shape
    assert plan.channels_after == pytest.approx(plan.channels_before / 2, abs=1)


def test_weights_are_those_that_torch_pruning_leaves(make_network: NetworkFactory) -> None:
    model = make_network("resnet20")
    plan = _plan(model)
    theirs = copy.deepcopy(model)
    graph = tp.DependencyGraph().build_dependency(theirs, example_inputs=torch.zeros(1, *INPUT))
    for cut in plan.groups:
        layer = theirs.get_submodule(cut.root)
        graph.get_pruning_group(layer, tp.prune_conv_out_channels, list(cut.removed)).prune()
    plan.apply(model, pictures=PICTURES)
    expected = theirs.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_a_network_can_be_pruned_again(make_network: NetworkFactory) -> None:
    model = make_network("resnet20", "both")
    first = prune_model(model, PICTURES, ratio=0.4)
    second = prune_model(first.model, PICTURES, ratio=0.4)
    assert second.plan.channels_before == first.plan.channels_after
    assert second.plan.macs_before == first.plan.macs_after
    assert second.proof < PROOF_TOLERANCE


@pytest.mark.parametrize("attention", ["channel", "se", "bam"])
def test_a_plan_is_replayed_on_another_copy(make_network: NetworkFactory, attention: str) -> None:
    model, copied = make_network("resnet20", attention), make_network("resnet20", attention)
    before = copy.deepcopy(model.state_dict())
    pruned = prune_model(model, PICTURES, ratio=0.5, bottlenecks="shrink")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    replayed = PruningPlan.from_json(pruned.plan.to_json(), source="plan")
    assert replayed.apply(copied, pictures=PICTURES) == pruned.proof
    expected = pruned.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in copied.state_dict().items())


def _slipping(model: nn.Module, cuts: Cuts) -> None:
    """Removes what it should, and then brushes one weight that stays."""
    remove(model, cuts)
    with torch.no_grad():
        model.get_submodule("stages.1.0.conv1").weight[0, 0, 0, 0] += 0.01


def _misplacing(model: nn.Module, cuts: Cuts) -> None:
    """Keeps the neighbour in the place of one channel."""
    wrong = []
    for group, keep in cuts:
        if group.root == "stages.0.0.conv1":
            gone = next(index for index in range(group.size) if index not in keep)
            keep = torch.cat([keep[:-1], torch.tensor([gone])]).sort().values
        wrong.append((group, keep))
    remove(model, wrong)


@pytest.mark.parametrize("knife", [_slipping, _misplacing])
def test_the_proof_sees_one_wrong_weight_before_the_network_is_touched(
    make_network: NetworkFactory, knife: Callable[[nn.Module, Cuts], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_network("resnet20")
    plan, before = _plan(model), copy.deepcopy(model).state_dict()
    monkeypatch.setattr("namprune.pruning.apply.remove", knife)
    with pytest.raises(ProofError, match="would change the network"):
        plan.apply(model, pictures=PICTURES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


class _Mixed(nn.Module):
    """A float32 body under a float64 head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
        self.head = nn.Linear(8, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x).mean((2, 3)).double())
        return out


def test_each_layer_keeps_its_dtype() -> None:
    model = prune_model(_Mixed(), PICTURES, ratio=0.4, criterion="l2").model
    assert isinstance(model, _Mixed)
    assert (model.body[0].out_channels, model.head.in_features) != (8, 8)
    assert {parameter.dtype for parameter in model.body.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in model.head.parameters()} == {torch.float64}


class _Careless(NAMChannel):
    """Forgets that the normaliser shrinks with the channels."""

    @torch.no_grad()
    def prune(self, keep: Tensor) -> None:
        bn = self.gate.bn
        for name in ("weight", "bias"):
            setattr(bn, name, nn.Parameter(getattr(bn, name)[keep]))
        for name in ("running_mean", "running_var"):
            setattr(bn, name, getattr(bn, name)[keep])


@pytest.mark.parametrize(("gate", "holds"), [(NAMChannel, True), (_Careless, False)])
def test_the_proof_sees_a_normaliser_that_is_not_kept(
    make_network: NetworkFactory, gate: type[NAMChannel], holds: bool
) -> None:
    attention = AttentionPlan(lambda channels, _size: gate(channels), "block")
    network = make_network("resnet20", attention)
    plan = _plan(network)
    if holds:
        plan.apply(network, pictures=PICTURES)
    else:
        with pytest.raises(ProofError):
            plan.apply(network, pictures=PICTURES)


class _Shifted(Bottleneck):
    """Reads the first of the old units as those that stay."""

    def narrow(self, keep: Tensor) -> None:
        narrow_linear(self.maker, outputs=keep)
        narrow_linear(self.reader, inputs=torch.arange(len(keep)))


class _Careful(SE):
    """Narrows as it should."""

    kind = Bottleneck

    def bottlenecks(self) -> dict[str, Bottleneck]:
        return {"hidden": self.kind(self.squeeze, self.excite)}


class _Confused(_Careful):
    """Mistakes its hidden units."""

    kind = _Shifted


@pytest.mark.parametrize(("gate", "holds"), [(_Careful, True), (_Confused, False)])
def test_the_proof_sees_hidden_units_that_are_mistaken(
    make_network: NetworkFactory, gate: type[SE], holds: bool
) -> None:
    network = make_network("resnet20", AttentionPlan(partial(gate, reduction=2), "block"))
    plan = _plan(network, bottlenecks="shrink")
    if holds:
        plan.apply(network, pictures=PICTURES)
    else:
        with pytest.raises(ProofError):
            plan.apply(network, pictures=PICTURES)


def test_a_plan_for_another_network_is_refused_before_the_cut(make_network: NetworkFactory) -> None:
    model = make_network("resnet20")
    before = copy.deepcopy(model).state_dict()
    for other in (make_network("resnet20", width=0.5), make_network("mobilenetv2")):
        with pytest.raises(PruneError, match="this network has not"):
            _plan(other).apply(model, pictures=PICTURES)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_example_that_is_no_batch_of_pictures_is_refused(make_network: NetworkFactory) -> None:
    for example in (PICTURES[0], PICTURES[:0]):
        with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
            prune_model(make_network("resnet20"), example, ratio=0.3)


@pytest.mark.parametrize("dead", [False, True])
def test_an_example_that_says_nothing_still_gives_a_proof(make_network: NetworkFactory, dead: bool) -> None:
    model = make_network("resnet20")
    for parameter in model.classifier.parameters():
        nn.init.zeros_(parameter) if dead else None
    pruned = prune_model(model, torch.zeros(1, *INPUT), ratio=0.3, criterion="bn")
    assert pruned.proof <= PROOF_TOLERANCE
