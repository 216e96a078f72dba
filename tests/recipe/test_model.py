"""Sections of networks: told apart by their source, named in reports and runs, and their faults."""

import json

import pytest

from namprune.errors import RecipeError
from namprune.recipe import Recipe, dump_recipe, parse_recipe, recipe_digest, recipe_schema
from namprune.recipe.model import NamedModel, PythonModel, TimmModel, TorchvisionModel
from namprune.recipe.variant import with_attention

REST = "data: {name: digits}\ntrain: {epochs: 1}\nfinetune: {epochs: 0}\n"


def recipe(model: str, attention: str = "{name: none}", overrides: tuple[str, ...] = ()) -> Recipe:
    return parse_recipe(f"model: {model}\nattention: {attention}\n{REST}", source="x", overrides=overrides)


def fault(model: str, attention: str = "{name: none}", overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(RecipeError) as caught:
        recipe(model, attention, overrides)
    (line,) = caught.value.faults
    return line


@pytest.mark.parametrize(
    ("text", "section", "label", "stem"),
    [
        ("{name: resnet18}", NamedModel(name="resnet18"), "resnet18", "resnet18"),
        ("{source: namprune, name: resnet18}", NamedModel(name="resnet18"), "resnet18", "resnet18"),
        (
            "{source: torchvision, name: mobilenet_v3_large, weights: DEFAULT}",
            TorchvisionModel(source="torchvision", name="mobilenet_v3_large", weights="DEFAULT"),
            "mobilenet_v3_large (torchvision)",
            "mobilenet_v3_large",
        ),
        (
            "{source: timm, name: swin_base_patch4_window7_224}",
            TimmModel(source="timm", name="swin_base_patch4_window7_224"),
            "swin_base_patch4_window7_224 (timm)",
            "swin_base_patch4_window7_224",
        ),
        (
            "{source: python, target: '_my.net:build', weights: a/b.pth}",
            PythonModel(source="python", target="_my.net:build", weights="a/b.pth"),
            "_my.net:build (python)",
            "my.net-build",
        ),
        ("{source: python, target: 'ö:ä'}", PythonModel(source="python", target="ö:ä"), "ö:ä (python)", "network"),
    ],
)
def test_a_section_is_read_written_and_named(text, section, label, stem) -> None:
    read = recipe(text)
    assert read.model == section
    assert (read.model.label, read.model.stem_name) == (label, stem)
    assert parse_recipe(dump_recipe(read), source="again") == read


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("{name: resnet21}", "model.name: 'resnet21' is not one of mobilenetv2, resnet20, resnet32"),
        ("{source: torchvison, name: resnet18}", "model.source: 'torchvison' is not one of namprune, torchvision, "),
        ("{source: [1]}", "model.source: [1] is not one of namprune, torchvision, timm, python"),
        ("{source: torchvision}", "model.name: missing"),
        ("{source: torchvision, name: a, width: 2}", "model.width: unknown key; known here: source, name, weights"),
        ("{source: timm, name: a, pretrained: x}", "model.pretrained: unknown key; did you mean 'weights'?"),
        ("{source: timm, name: 3}", "model.name: expected text, got 3"),
        ("{source: python}", "model.target: missing"),
        ("{source: python, target: net}", "model.target: expected package.module:callable, got 'net'"),
        ("{source: python, target: 'a-b:c'}", "model.target: expected package.module:callable, got 'a-b:c'"),
        ("{source: python, target: 'a:b()'}", "model.target: expected package.module:callable, got 'a:b()'"),
        ("{source: python, target: 'a..b:c'}", "model.target: expected package.module:callable, got 'a..b:c'"),
        ("resnet18", "model: expected a section of keys, got 'resnet18'"),
    ],
)
def test_faults_name_the_key(model, line) -> None:
    assert fault(model).startswith(f"x:1: {line}")


@pytest.mark.parametrize("given", ["layer*.*.bn2", ["layer*.*.bn2"]])
def test_one_pattern_or_several_say_where_attention_goes(given) -> None:
    read = recipe("{source: torchvision, name: resnet18}", json.dumps({"name": "nam", "at": given}))
    assert read.attention.at == ("layer*.*.bn2",)
    assert with_attention(read, "se").attention.at == ("layer*.*.bn2",)
    assert with_attention(read, "none").attention.name == "none"
    assert parse_recipe(dump_recipe(read), source="again") == read


def test_each_kind_of_network_has_its_own_word_for_the_place() -> None:
    line = fault("{name: resnet18}", "{name: nam, at: bn1}")
    assert line == "x:2: attention.at is for networks of another source; here attention.placement says where"
    line = fault("{source: timm, name: resnet18}", "{name: se, placement: interior}")
    assert line.startswith("x:2: attention.placement is for this package's own networks; of resnet18 (timm) ")
    recipe("{source: timm, name: resnet18}", "{name: bam}")  # whose default is another placement


def test_another_source_starts_without_the_options_of_the_old() -> None:
    own = "{name: resnet18, width: 2, stem: imagenet}"
    read = recipe(own, overrides=("model.source=torchvision", "model.name=resnet34"))
    assert read.model == TorchvisionModel(source="torchvision", name="resnet34")
    assert recipe(own, overrides=("model.source=namprune",)) == recipe(own)


def test_network_weights_and_places_are_part_of_the_experiment() -> None:
    networks = [
        recipe("{name: resnet18}", "{name: nam}"),
        recipe("{source: torchvision, name: resnet18}", "{name: nam}"),
        recipe("{source: timm, name: resnet18}", "{name: nam}"),
        recipe("{source: torchvision, name: resnet18, weights: DEFAULT}", "{name: nam}"),
        recipe("{source: torchvision, name: resnet18}", "{name: nam, at: bn1}"),
    ]
    assert len({recipe_digest(one, kind="train") for one in networks}) == len(networks)


def test_an_editor_finds_the_keys_of_each_source() -> None:
    schema = json.loads(recipe_schema())
    mapping = schema["properties"]["model"]["discriminator"]["mapping"]
    keys = {source: {*schema["$defs"][ref.rpartition("/")[2]]["properties"]} for source, ref in mapping.items()}
    assert keys == {
        "namprune": {"source", "name", "width", "stem"},
        "torchvision": {"source", "name", "weights"},
        "timm": {"source", "name", "weights"},
        "python": {"source", "target", "weights"},
    }
