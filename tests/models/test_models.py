"""Every entry of the registry."""

import pytest
import torch
from torch import nn

from namprune.attention import NAM, build_attention
from namprune.measure import complexity
from namprune.models import MODELS, AttentionPlan, build_model
from namprune.recipe.attention import NAMSection
from namprune.recipe.data import DataSection
from namprune.recipe.fit import FinetuneSection, TrainSection
from namprune.recipe.model import NamedModel
from namprune.recipe.schema import Recipe

# Parameters and MACs for 32x32 pictures and ten classes. The ResNets of the CIFAR paper have the 2,752 parameters
# of two projections more than with padded shortcuts (269,722 and so on), ResNet-18 to -101 are the widely used
# CIFAR forms (11,173,962 and so on).
COSTS = {
    "mobilenetv2": (2_236_682, 87_976_448),
    "resnet20": (272_474, 40_813_184),
    "resnet32": (466_906, 69_124_736),
    "resnet56": (855_770, 125_747_840),
    "resnet110": (1_730_714, 253_149_824),
    "resnet18": (11_173_962, 555_422_720),
    "resnet34": (21_282_122, 1_159_402_496),
    "resnet50": (23_520_842, 1_297_829_888),
    "resnet101": (42_512_970, 2_509_983_744),
}


def nam(**options) -> AttentionPlan:
    section = NAMSection(name="nam", **options)
    return AttentionPlan(build_attention(section), section.placement)


def recipe(*, seed: int = 0, attention: NAMSection | None = None, **model) -> Recipe:
    changes = {"attention": attention} if attention else {}
    return Recipe(
        seed=seed,
        data=DataSection(name="digits"),
        model=NamedModel(name="resnet20", **model),
        train=TrainSection(epochs=1),
        finetune=FinetuneSection(epochs=0),
        **changes,
    )


@pytest.mark.parametrize("name", MODELS)
def test_parameters_and_macs(name) -> None:
    cost = complexity(MODELS[name](input_shape=(3, 32, 32), classes=10), (3, 32, 32))
    assert (cost.params, cost.macs) == COSTS[name]
    assert cost.macs_aten == cost.macs


@pytest.mark.parametrize(
    ("name", "params", "macs"), [("resnet50", 23_705_252, 1_298_014_208), ("mobilenetv2", 2_351_972, 88_091_648)]
)
def test_cifar100_forms(name, params, macs) -> None:
    cost = complexity(MODELS[name](input_shape=(3, 32, 32), classes=100), (3, 32, 32))
    assert (cost.params, cost.macs) == (params, macs)


def test_resnet50_with_nam_has_the_parameters_of_the_published_code() -> None:
    model = MODELS["resnet50"](input_shape=(3, 32, 32), classes=100, attention=nam())
    gates = 2 * (3 * 256 + 4 * 512 + 6 * 1024 + 3 * 2048)  # γ and β of each block
    assert sum(parameter.numel() for parameter in model.parameters()) == 23_705_252 + gates == 23_735_460


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("name", MODELS)
def test_spatial_attention_fits_every_feature_map(name, stem) -> None:
    """A wrong size raises in the forward pass; height, width and their halves are odd in places."""
    shape = (1, 33, 46) if stem == "imagenet" else (1, 9, 14)
    plan = nam(part="both", placement="both")
    model = MODELS[name](input_shape=shape, classes=3, width=0.125, stem=stem, attention=plan)
    with torch.inference_mode():
        logits = model(torch.randn(2, *shape))
    assert logits.shape == (2, 3)
    assert logits.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_learns(name) -> None:
    model = MODELS[name](input_shape=(1, 8, 8), classes=3, width=0.125, attention=nam(placement="both"))
    model(torch.randn(4, 1, 8, 8)).square().sum().backward()
    still = [key for key, parameter in model.named_parameters() if not parameter.grad.count_nonzero()]
    assert still == []


@pytest.mark.parametrize(("placement", "count"), [("block", 9), ("interior", 9), ("both", 18)])
def test_recipe_s_attention_arrives(placement, count) -> None:
    section = NAMSection(name="nam", placement=placement, part="spatial")
    model = build_model(recipe(attention=section), classes=10, input_shape=(1, 8, 12))
    gates = [module for module in model.modules() if isinstance(module, NAM)]
    assert len(gates) == count
    assert {gate.spatial.size for gate in gates} == {(8, 12), (4, 6), (2, 3)}


def test_recipe_s_width_stem_and_shape_arrive() -> None:
    model = build_model(recipe(width=0.5, stem="imagenet"), classes=7, input_shape=(1, 64, 64))
    assert model.stem[0].weight.shape == (8, 1, 7, 7)
    assert model.classifier.weight.shape == (7, 32)


def test_weights_depend_on_the_seed_alone() -> None:
    shape = {"classes": 10, "input_shape": (1, 8, 8)}
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build_model(recipe(seed=3), **shape)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again, other = build_model(recipe(seed=3), **shape), build_model(recipe(seed=4), **shape)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not torch.equal(first.stem[0].weight, other.stem[0].weight)


def test_convolutions_start_with_the_variance_of_their_fan_out() -> None:
    model = build_model(recipe(width=2.0), classes=10, input_shape=(3, 8, 8))
    conv = model.stages[2][1].conv1
    assert isinstance(conv, nn.Conv2d)
    expected = (2 / (128 * 9)) ** 0.5
    assert conv.weight.std().item() == pytest.approx(expected, rel=0.02)  # 147,456 draws
