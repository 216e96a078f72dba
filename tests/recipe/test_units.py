import pytest

from namprune.errors import RecipeError
from namprune.recipe import dump_recipe, load_recipe, parse_recipe
from namprune.recipe.units import bytes_of, latency_of


@pytest.mark.parametrize(
    ("text", "value"),
    [("5ms", (0.005, "seconds")), ("0.25 s", (0.25, "seconds")), ("0.6", (0.6, "share")), (".5", (0.5, "share"))],
)
def test_a_latency_is_a_time_or_a_share(text, value) -> None:
    assert latency_of(text) == (pytest.approx(value[0]), value[1])


@pytest.mark.parametrize(
    ("text", "size"),
    [("2MB", 2_000_000), ("800 kB", 800_000), ("1.5MiB", 1_572_864), ("77", 77), ("1GiB", 2**30), ("1e3", None)],
)
def test_a_size_has_a_decimal_or_binary_unit(text, size) -> None:
    if size is None:
        with pytest.raises(ValueError, match="expected a size"):
            bytes_of(text)
    else:
        assert bytes_of(text) == size


@pytest.mark.parametrize(
    ("override", "tag"),
    [
        ("target_latency=5ms", "latency5ms"),
        ("target_latency=0.6", "latency0.6"),
        ("target_size=2 MB", "size2MB"),
        ("target_params=0.4", "params40"),
        ("max_drop=0.5", "drop0.5"),
    ],
)
def test_each_takes_the_place_of_the_ratio_and_comes_back(override, tag) -> None:
    recipe = load_recipe("quickstart", overrides=[f"prune.{override}"])
    assert (recipe.prune.ratio, recipe.prune.tag) == (None, tag)
    assert parse_recipe(dump_recipe(recipe), source="again") == recipe


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("target_latency=5 parsecs", "expected a time such as 5ms"),
        ("target_latency=1.5", "expected a time such as 5ms"),
        ("target_latency=[5]", "expected a quantity"),
        ("target_size=0", "expected a size such as 2MB"),
        ("target_size=true", "expected a quantity"),
        ("round_to=8.5", "expected auto or a whole number from 1 to 256, got 8.5"),
        ("round_to=wide", "expected auto or a whole number from 1 to 256, got 'wide'"),
        ("max_drop=0", "must be above 0"),
    ],
)
def test_what_is_no_quantity_is_refused_in_one_line(override, fault) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("quickstart", overrides=[f"prune.{override}"])
    (line,) = caught.value.faults
    assert fault in line


@pytest.mark.parametrize(("written", "read"), [("auto", "auto"), ("8", 8), ('"8"', 8)])
def test_a_divisor_is_a_number_or_auto(written, read) -> None:
    assert load_recipe("quickstart", overrides=[f"prune.round_to={written}"]).prune.round_to == read
