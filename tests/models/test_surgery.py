"""Attention put behind BatchNorms of a network that is there already: where it goes, and how little it changes."""

import copy
from collections.abc import Callable

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small, resnet18

from namprune.attention import ATTENTIONS, NAM
from namprune.attention.nam import SETTLED
from namprune.errors import UserError
from namprune.models.families import default_places
from namprune.models.surgery import insert_attention

INPUT = (3, 64, 64)
CONSTANT = [name for name in ATTENTIONS if name != "nam"]


def pictures(count: int = 8) -> Tensor:
    return torch.randn(count, *INPUT, generator=torch.Generator().manual_seed(0))


def trained(model: nn.Module) -> nn.Module:
    """As training leaves it: BatchNorms with factors of their own, and the statistics of what passes them."""
    torch.manual_seed(1)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.3, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
        norm.momentum = None
    with torch.no_grad():
        model.train()(pictures(16))
    return model.eval()


def logits(model: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        out: Tensor = model(x)
    return out


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    made: dict[str, Callable[[], nn.Module]] = {
        "resnet18": lambda: resnet18(num_classes=10),
        "mobilenet_v3_small": lambda: mobilenet_v3_small(num_classes=10),
        "timm": lambda: timm.create_model("mobilenetv3_small_100", num_classes=10),
    }
    return {name: trained(make()) for name, make in made.items()}


@pytest.mark.parametrize("attention", CONSTANT)
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "timm"])
def test_a_constant_gate_changes_nothing(networks, name, attention) -> None:
    """Nor does it in the network of timm that ends in a BatchNorm with a hard swish of its own."""
    dense, model, x = networks[name], copy.deepcopy(networks[name]), pictures()
    names = insert_attention(model, ATTENTIONS[attention], default_places(model), INPUT)
    assert len(names) == {"resnet18": 8, "mobilenet_v3_small": 11, "timm": 12}[name]
    torch.testing.assert_close(logits(model, x), logits(dense, x), rtol=1e-4, atol=1e-5)
    if attention == "half":
        assert torch.equal(logits(model, x), logits(dense, x))


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_what_is_settled_still_learns(attention) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(16), nn.Conv2d(16, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3))
    insert_attention(model, ATTENTIONS[attention], ["0"], (16, 8, 8))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):  # what stands behind a zero has its gradient from the second step on
        optimizer.zero_grad()
        model(torch.randn(8, 16, 8, 8)).square().mean().backward()
        optimizer.step()
    still = [key for key, value in model.named_parameters() if not value.grad.count_nonzero()]
    assert still == []


def test_nam_starts_close_to_what_the_network_was(networks) -> None:
    """The gate is sigmoid(γ x̂ / C) for x̂ of unit variance: logits change by the order of 1/C, with C from 64 to 512,
    of their spread over pictures, of which noise has little."""
    dense, model, x = networks["resnet18"], copy.deepcopy(networks["resnet18"]), pictures(64)
    names = insert_attention(model, NAM, default_places(model), INPUT)
    before, after = logits(dense, x), logits(model, x)
    assert len(names) == 8
    assert (after - before).norm() < 0.03 * (before - before.mean(0)).norm()
    assert (after.argmax(1) == before.argmax(1)).double().mean() >= 0.98


@pytest.mark.parametrize("part", ["channel", "spatial", "both"])
def test_nam_behind_one_batchnorm_changes_it_in_the_order_of_its_share(part) -> None:
    """The root mean square of γ x̂ / 2C relative to x: independent of β and γ in front, and of what comes before."""
    changes = []
    for channels, side in ((16, 8), (64, 16)):
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(channels, momentum=None)
        nn.init.normal_(norm.weight)  # negative ones, too
        nn.init.normal_(norm.bias, std=2)
        x = torch.randn(32, channels, side, side) * 5 + 3
        norm(x)
        before = logits(norm.eval(), x)
        model = nn.Sequential(norm)
        insert_attention(model, lambda c, size: NAM(c, size, part=part), ["0"], (channels, side, side))
        changes.append(((logits(model, x) - before).norm() / before.norm()).item())
    share = {"channel": 16, "spatial": 64, "both": 16}[part]
    assert 0.5 < changes[0] * 2 * share / SETTLED < 2
    assert changes[0] / changes[1] == pytest.approx(4, rel=0.15)


def test_patterns_are_those_of_the_shell() -> None:
    model = resnet18()
    names = insert_attention(model, ATTENTIONS["half"], ["layer[34].*.bn2", "bn1"], INPUT)
    assert names == ("bn1", "layer3.0.bn2", "layer3.1.bn2", "layer4.0.bn2", "layer4.1.bn2")
    assert [name for name, _ in model.layer4[1].bn2.named_children()] == ["norm", "attention"]
    assert isinstance(model.layer1[0].bn2, nn.BatchNorm2d)


def test_spatial_attention_knows_the_size_of_each_map() -> None:
    model = resnet18()
    insert_attention(model, lambda channels, size: NAM(channels, size, part="spatial"), ["layer*.1.bn2"], (3, 72, 40))
    sizes = [module.spatial.size for module in model.modules() if isinstance(module, NAM)]
    assert sizes == [(18, 10), (9, 5), (5, 3), (3, 2)]


@pytest.mark.parametrize("training", [True, False])
def test_modes_and_statistics_stay(networks, training) -> None:
    model = copy.deepcopy(networks["resnet18"]).train(training)
    tracked, mean = model.bn1.num_batches_tracked.clone(), model.bn1.running_mean.clone()
    insert_attention(model, NAM, ["*.bn2"], INPUT)
    assert {module.training for module in model.modules()} == {training}
    assert (model.bn1.num_batches_tracked, *model.bn1.running_mean) == (tracked, *mean)


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["layer1.0.bn4"], "attention.at: 'layer1.0.bn4' matches no BatchNorm2d"),
        (["*.bn2", "layer1.*.conv2"], "attention.at: 'layer1.*.conv2' matches no BatchNorm2d"),
    ],
)
def test_a_pattern_without_a_batchnorm_names_near_ones(patterns, message) -> None:
    with pytest.raises(UserError) as caught:
        insert_attention(resnet18(), NAM, patterns, INPUT)
    assert caught.value.message == message
    assert caught.value.hint.startswith("did you mean 'layer1.")


class _Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.twice, self.never, self.plain = (nn.BatchNorm2d(3, affine=affine) for affine in (True, True, False))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.plain(self.twice(self.twice(x)))
        return out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("twice", "a picture passes twice 2 times"),
        ("never", "a picture passes never 0 times"),
        ("plain", "plain has no γ and β"),
    ],
)
def test_a_place_that_cannot_hold_attention_is_refused(name, message) -> None:
    with pytest.raises(UserError, match=message):
        insert_attention(_Odd(), NAM, [name], INPUT)


def test_it_goes_where_the_network_is() -> None:
    model = resnet18(num_classes=10).double().to("meta")
    insert_attention(model, NAM, ["*.bn2"], INPUT)
    tensors = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    assert {(tensor.device.type, tensor.dtype) for tensor in tensors} == {("meta", torch.float64)}


def test_attention_that_does_not_fit_leaves_the_network_as_it_is() -> None:
    def narrow(channels: int, size: tuple[int, int]) -> NAM:
        if channels > 64:
            raise ValueError("too wide")
        return NAM(channels, size)

    model = resnet18()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="too wide"):
        insert_attention(model, narrow, ["*.bn2"], INPUT)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
