import copy
from functools import partial

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.attention import ATTENTIONS, NAM
from namprune.export import folded
from namprune.models import MODELS, AttentionPlan
from namprune.pruning import prune_model

INPUT = (3, 8, 8)


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


def errors(model: nn.Module, shape: tuple[int, int, int]) -> tuple[float, float, float]:
    """Of the folded network in float64 and in float32, and of the network itself in float32; over the largest logit."""
    exact = copy.deepcopy(model).double()
    x = torch.randn(4, *shape)
    with torch.no_grad():
        expected = exact(x.double())
        found = folded(exact, shape)(x.double()), folded(model, shape)(x).double(), model(x).double()
    return tuple(float((one - expected).abs().max() / expected.abs().max()) for one in found)


def assert_folded(model: nn.Module, shape: tuple[int, int, int]) -> None:
    exact, single, own = errors(model, shape)
    assert exact < 1e-12
    assert single < 5 * own + 1e-6  # no further from the truth than float32 itself


@pytest.mark.parametrize("name", ATTENTIONS)
def test_every_attention_folds(name, lived_in) -> None:
    factory = partial(ATTENTIONS[name], part="both") if name == "nam" else ATTENTIONS[name]
    model = lived_in(
        MODELS["resnet20"](input_shape=INPUT, classes=4, width=0.5, attention=AttentionPlan(factory, "both"))
    )
    assert_folded(model, INPUT)
    left = folded(model, INPUT)
    assert norms(left) == (36 if name == "ulsam" else 0)  # its depthwise layer is none of torch's
    assert not any(isinstance(module, NAM) for module in left.modules())


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "densenet121", "shufflenet_v2_x1_0"])
def test_foreign_networks_fold(name, lived_in) -> None:
    shape = (3, 32, 32)
    model = lived_in(torchvision.models.get_model(name, weights=None, num_classes=4), shape)
    assert_folded(model, shape)
    assert norms(folded(model, shape)) == (62 if name == "densenet121" else 0)  # in front of its convolutions


def test_a_pruned_network_folds(lived_in) -> None:
    plan = AttentionPlan(partial(NAM, part="both"), "both")
    model = lived_in(MODELS["mobilenetv2"](input_shape=INPUT, classes=4, width=0.5, attention=plan))
    pruned = prune_model(model, torch.randn(2, *INPUT), ratio=0.5, criterion="nam").model.eval()
    assert_folded(pruned, INPUT)
    assert norms(folded(pruned, INPUT)) == 0


def test_the_network_itself_stays(lived_in) -> None:
    model = lived_in(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), NAM(4, (6, 6)))).train()
    before = copy.deepcopy(model.state_dict())
    left = folded(model, INPUT)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not left.training
    assert list(map(type, left)) == [nn.Conv2d, nn.Identity, nn.Sequential]
    assert not any(parameter.requires_grad for parameter in left.parameters())


class Acting(nn.BatchNorm2d):
    """As timm has it: a BatchNorm and what comes after it in one."""

    def forward(self, x):
        return F.relu(super().forward(x))


class Net(nn.Module):
    """A convolution and a BatchNorm, put together by `path`."""

    def __init__(self, path, norm=nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = norm(3)
        self.path = path

    def forward(self, x):
        return self.path(self, x)


def plain(net, x):
    return net.norm(net.conv(x))


def read_twice(net, x):
    y = net.conv(x)
    return net.norm(y) + y


def read_through_a_view(net, x):
    y = net.conv(x)
    return net.norm(y) + y[:, :1]


def also_given_out(net, x):
    y = net.conv(x)
    return net.norm(y), y


def run_twice(net, x):
    return net.norm(net.conv(net.conv(x)))


def norm_run_twice(net, x):
    return net.norm(net.norm(net.conv(x)))


def changed_between(net, x):
    return net.norm(net.conv(x).relu_())


@pytest.mark.parametrize(
    "path", [read_twice, read_through_a_view, also_given_out, run_twice, norm_run_twice, changed_between]
)
def test_what_cannot_be_folded_stays(path, lived_in) -> None:
    model = lived_in(Net(plain)).double()
    model.path = path
    x = torch.randn(2, *INPUT).double()
    left = folded(model, INPUT)
    assert type(left.norm) is nn.BatchNorm2d
    torch.testing.assert_close(left(x), model(x))


def test_a_norm_that_does_more_stays(lived_in) -> None:
    model = lived_in(Net(plain, Acting)).double()
    x = torch.randn(2, *INPUT).double()
    torch.testing.assert_close(folded(model, INPUT)(x), model(x))


def test_linear_layers_fold_where_features_are_what_is_normalized(lived_in) -> None:
    rows = lived_in(nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.BatchNorm1d(5))).double()
    maps = lived_in(nn.Sequential(nn.Flatten(2), nn.Linear(64, 3), nn.BatchNorm1d(3))).double()
    x = torch.randn(2, *INPUT).double()
    for model, norm in ((rows, nn.Identity), (maps, nn.BatchNorm1d)):
        left = folded(model, INPUT)
        assert type(left[2]) is norm
        torch.testing.assert_close(left(x), model(x))
