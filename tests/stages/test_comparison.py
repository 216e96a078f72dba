"""What a comparison was asked to be, as it comes back from its file."""

import json

import pytest

from namprune.errors import RunError, UserError
from namprune.recipe import load_recipe, shipped_recipes
from namprune.runs import RunStore
from namprune.stages.comparison import FILE, Comparison, begin, begun_in, check_equal, has_begun
from namprune.stages.grid import cuts


@pytest.mark.parametrize("name", [recipe.name for recipe in shipped_recipes()])
def test_what_was_begun_comes_back_equal(tmp_path, name) -> None:
    store = RunStore(tmp_path / "runs")
    recipe = load_recipe(name, overrides=["prune.ratios={b: 0.5, a: 0.1}", "prune.round_to=auto"])
    every = cuts(recipe.prune, ratios=(0.3, 0.5), target_macs=(0.25,), criteria=("nam", "l1"))
    asked = Comparison(recipe=recipe, attentions=("nam", "none"), cuts=every, seeds=3, controls=True)
    begin(Comparison(recipe=recipe), store)
    begin(asked, store)
    assert begun_in(store) == asked
    assert [*begun_in(store).recipe.prune.ratios] == ["b", "a"]
    assert has_begun(asked, store)
    assert not has_begun(Comparison(recipe=recipe), store)


def test_nothing_begun_is_said(tmp_path) -> None:
    with pytest.raises(RunError, match="no comparison was begun in"):
        begun_in(RunStore(tmp_path))
    assert not has_begun(Comparison(recipe=load_recipe("quickstart")), RunStore(tmp_path))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"seed": 3}, "seed: Extra inputs"),
        ({"seeds": "3"}, "seeds: Input should be a valid integer"),
        ({"seeds": 0}, "seeds: Input should be greater"),
        ({"attentions": ["nam", "sse"]}, "attentions.1: Input should be"),
        ({"attentions": []}, "attentions: Tuple should have at least 1"),
        ({"cuts": [{"ratio": 2.0}]}, "cuts.0.ratio: Input should be less"),
        ({"recipe": {}}, "recipe.data: Field required"),
        (None, "JSON"),
    ],
)
def test_a_file_that_says_something_else_is_refused_in_one_line(tmp_path, change, fault) -> None:
    store = RunStore(tmp_path)
    begin(Comparison(recipe=load_recipe("quickstart")), store)
    file = tmp_path / FILE
    tree = json.loads(file.read_text())
    file.write_text(json.dumps(tree | change) if change else "{")
    with pytest.raises(RunError, match=fault) as caught:
        begun_in(store)
    assert str(file) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"recipe": load_recipe("quickstart", overrides=["train.epochs=3"])}, r"recipe\.train\.epochs is 32 .*, not 3"),
        ({"seeds": 2}, "seeds is 1 .*, not 2"),
        ({"controls": True}, "controls is False .*, not True"),
        ({"attentions": ("nam",)}, r"attentions is \['nam', 'se', 'cbam', 'sa', 'none'\] .*, not \['nam'\]"),
        ({"cuts": cuts(load_recipe("quickstart").prune, ratios=(0.5, 0.7))}, r"cuts\.1\.ratio is None .*, not 0\.7"),
    ],
)
def test_the_first_difference_is_named(changes, difference) -> None:
    prune = load_recipe("quickstart").prune
    begun = Comparison(recipe=load_recipe("quickstart"), cuts=cuts(prune, ratios=(0.5,)))
    check_equal(begun, begun, RunStore("runs"))
    with pytest.raises(UserError, match=difference):
        check_equal(begun, begun.model_copy(update=changes), RunStore("runs"))
