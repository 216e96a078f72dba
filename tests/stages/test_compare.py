"""A grid of really trained networks: what is made, what is taken, and what is made again."""

import dataclasses

import pytest

from namprune.errors import DataError, RunError, UserError
from namprune.recipe import load_recipe
from namprune.report import collect, summarise
from namprune.result import to_json
from namprune.runs import RunFolder, RunStore
from namprune.stages.compare import compare, grid

TINY = (
    "data.limit=80",
    "model.width=0.25",
    "train.epochs=1",
    "train.batch_size=32",
    "finetune.epochs=1",
    "finetune.batch_size=32",
    "prune.recalibrate=1",
    "sparsity.on=nam",
    "sparsity.warmup=0",
    "runtime.device=cpu",
)
AXES = {"attentions": ("nam", "se"), "ratios": (0.5,), "criteria": ("nam",), "seeds": 2}


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("quickstart", overrides=TINY)


@pytest.fixture(scope="module")
def full(recipe, tmp_path_factory):
    """A finished grid of two attentions, one cut and two seeds; the tests that break it mend it."""
    store = RunStore(tmp_path_factory.mktemp("grid") / "runs")
    return store, compare(recipe, store=store, **AXES)


def table(results, store):
    """What the report says without the clock: rows of a grid, by run."""
    rows = summarise(collect(store, names=[result.name for result in results]))
    return [dataclasses.replace(row, latency=()) for row in rows]


def made(store):
    return {folder.name: folder.result_file.stat().st_mtime_ns for folder in store.folders()}


def test_the_grid_is_attention_by_seed_and_of_each_ratio_by_criterion(recipe) -> None:
    cells = grid(recipe, attentions=("nam", "none"), ratios=(0.3, 0.125), criteria=("nam", "l1"), seeds=2)
    assert [cell.label for cell in cells[:6]] == [
        "nam seed 0 trained",
        "nam seed 0 pruned 0.3 nam",
        "nam seed 0 pruned 0.3 l1",
        "nam seed 0 pruned 0.125 nam",
        "nam seed 0 pruned 0.125 l1",
        "none seed 0 trained",
    ]
    assert len(cells) == len({cell.name for cell in cells}) == 2 * 2 * (1 + 2 * 2)
    dense, cut = cells[0], cells[3]
    assert (dense.name, dense.recipe) == (f"resnet20-nam-{dense.digest[:8]}-s0", recipe)
    assert (cut.name, cut.parent) == (f"{dense.name}-p12.5-nam", dense.name)
    assert (cut.recipe.prune.ratio, cut.recipe.prune.scope) == (0.125, recipe.prune.scope)
    assert [cell.recipe.seed for cell in cells] == [0] * 10 + [1] * 10
    assert {(cell.recipe.attention.name, cell.recipe.sparsity.on) for cell in cells} == {
        ("nam", "nam"),
        ("none", "all"),
    }


def test_the_longest_name_is_a_name_of_a_run(recipe, store) -> None:
    last = recipe.model_copy(update={"seed": 2**31 - 1})
    longest = last.model_copy(update={"model": recipe.model.model_copy(update={"name": "mobilenetv2"})})
    axes = {"attentions": ("ulsam",), "ratios": (1 / 3,), "criteria": ("random",)}
    for cell in grid(longest, seeds=1, **axes):
        store.unused(cell.name)
    with pytest.raises(UserError, match="2147483647"):
        grid(longest, seeds=2, **axes)


@pytest.mark.slow
def test_every_cell_is_a_run_cut_from_its_own_parent(full) -> None:
    store, results = full
    assert [(result.kind, result.attention.split()[0], result.seed) for result in results] == [
        (kind, attention, seed) for seed in (0, 1) for attention in ("nam", "se") for kind in ("train", "prune")
    ]
    assert [result.parent for result in results[1::2]] == [result.name for result in results[::2]]
    assert {folder.name for folder in store.folders()} == {result.name for result in results}
    assert [row.seeds for row in table(results, store)] == [(0, 1)] * 4


@pytest.mark.slow
def test_a_second_time_nothing_is_made(full, recipe) -> None:
    store, results = full
    before = made(store)
    assert compare(recipe, store=store, **AXES) == results
    assert made(store) == before


@pytest.mark.slow
def test_what_was_cut_short_is_made_again_and_what_hangs_on_it(full, recipe, capfd) -> None:
    store, results = full
    before, report = made(store), table(results, store)
    dense, pruned = results[2], results[3]
    store.open(dense.name).result_file.unlink()
    again = compare(recipe, store=store, **AXES)
    after = made(store)
    assert {name for name in before if after[name] != before[name]} == {dense.name, pruned.name}
    assert table(again, store) == report
    said = capfd.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in said if line.startswith("[")] == [
        "[3/8] se seed 0 trained",
        "[4/8] se seed 0 pruned 0.5 nam",
    ]
    assert not any(line.startswith(("train ", "proof", "warning")) for line in said)
    for folder in store.folders():
        folder.verify()


@pytest.mark.slow
def test_a_cut_from_a_predecessor_of_its_parent_is_made_again(full, recipe) -> None:
    # killed after a dense network was made again, before its cut was
    store, _ = full
    results = compare(recipe, store=store, **AXES)
    folder = store.open(results[1].name)
    older = dataclasses.replace(folder.result(), created="2020-01-01T00:00:00.000000+00:00")
    folder.write(folder.result_file, to_json(older))
    again = compare(recipe, store=store, **AXES)
    assert again[1].created > again[0].created
    assert [result.name for result, old in zip(again, results, strict=True) if result != old] == [results[1].name]


@pytest.mark.slow
def test_a_run_of_another_name_is_taken_and_an_empty_folder_replaced(recipe, tmp_path, full) -> None:
    from namprune.stages.train import train

    store = RunStore(tmp_path)
    mine = train(recipe, store=store, name="mine")
    axes = AXES | {"attentions": ("nam",), "seeds": 1}
    (_, cell) = grid(recipe, **axes)
    (tmp_path / cell.name).mkdir()
    dense, pruned = compare(recipe, store=store, **axes)
    assert dense == mine
    assert (pruned.name, pruned.parent) == (cell.name, "mine")
    assert pruned.stages == full[1][1].stages


@pytest.mark.slow
def test_a_name_that_is_taken_by_other_pictures_is_refused_before_any_work(full, recipe) -> None:
    store, results = full
    folder = RunFolder(store.root / results[-1].name)
    own = folder.result_file.read_text()
    folder.write(folder.result_file, own.replace(results[-1].data_digest, "0" * 64))
    before = made(store)
    try:
        with pytest.raises(RunError, match="other pictures"):
            compare(recipe, store=store, **AXES)
        assert made(store) == before
    finally:
        folder.write(folder.result_file, own)


def test_too_few_pictures_for_a_cut_are_refused_before_the_training(recipe, tmp_path) -> None:
    large = recipe.model_copy(update={"finetune": recipe.finetune.model_copy(update={"batch_size": 4096})})
    with pytest.raises(DataError, match=r"finetune\.batch_size"):
        compare(large, store=RunStore(tmp_path / "runs"), **AXES)
    assert not (tmp_path / "runs").exists()
