"""A grid of really trained networks: what is made, what is taken, and what is made again."""

import dataclasses
import subprocess
import sys

import pytest

from namprune.errors import DataError, PruneError, RunError
from namprune.recipe import load_recipe
from namprune.recipe.schema import PruneSection
from namprune.report import collect, summarise
from namprune.report.verdict import sentences
from namprune.result import to_json
from namprune.runs import RunFolder, RunStore
from namprune.stages.compare import compare
from namprune.stages.comparison import Comparison, begun_in
from namprune.stages.grid import cuts, grid

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


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("quickstart", overrides=TINY)


HOLD = """
import sys
from pathlib import Path
from namprune.runs import RunFolder
with RunFolder(Path(sys.argv[1])).claimed():
    print("held", flush=True)
    sys.stdin.read()
"""

CUTS = cuts(PruneSection(recalibrate=1), ratios=(0.5,))


@pytest.fixture(scope="module")
def asked(recipe):
    return Comparison(recipe=recipe, attentions=("nam", "se"), cuts=CUTS, seeds=2)


@pytest.fixture(scope="module")
def full(asked, tmp_path_factory):
    """A finished grid of two attentions, one cut and two seeds; the tests that break it mend it."""
    store = RunStore(tmp_path_factory.mktemp("grid") / "runs")
    return store, compare(asked, store=store)


def table(results, store):
    """What the report says without the clock: rows of a grid, by run."""
    rows = summarise(collect(store, names=[result.name for result in results]))
    return [dataclasses.replace(row, latency=()) for row in rows]


def made(store):
    return {folder.name: folder.result_file.stat().st_mtime_ns for folder in store.folders()}


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
def test_a_second_time_nothing_is_made(full, asked) -> None:
    store, results = full
    before = made(store)
    assert compare(asked, store=store) == results
    assert made(store) == before


@pytest.mark.slow
def test_what_was_cut_short_is_made_again_and_what_hangs_on_the_same_weights_is_taken(full, asked, capfd) -> None:
    store, results = full
    before, report = made(store), table(results, store)
    dense = results[2]
    store.open(dense.name).result_file.unlink()
    again = compare(asked, store=store)
    after = made(store)
    assert {name for name in before if after[name] != before[name]} == {dense.name}
    assert table(again, store) == report
    said = capfd.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in said if line.startswith("[")] == [
        "[3/8] se seed 0 trained",
        "[4/8] se seed 0 pruned p50 nam global",
    ]
    assert not any(line.startswith(("train ", "proof", "warning")) for line in said)
    for folder in store.folders():
        folder.verify()


@pytest.mark.slow
def test_a_cut_from_a_predecessor_of_its_parent_is_made_again(full, asked) -> None:
    # killed after a dense network was made again, otherwise, before its cut was
    store, _ = full
    results = compare(asked, store=store)
    folder = store.open(results[1].name)
    folder.write(folder.start_file, to_json(dataclasses.replace(folder.start(), parent_weights="0" * 64)))
    again = compare(asked, store=store)
    assert again[1].created > results[1].created
    assert [result.name for result, old in zip(again, results, strict=True) if result != old] == [results[1].name]


@pytest.mark.slow
def test_a_run_of_another_name_is_taken_and_an_empty_folder_replaced(recipe, tmp_path, full) -> None:
    from namprune.stages.train import train

    store = RunStore(tmp_path)
    mine = train(recipe, store=store, name="mine")
    (_, cell) = grid(recipe, attentions=("nam",), cuts=CUTS, seeds=1)
    (tmp_path / cell.name).mkdir()
    dense, pruned = compare(Comparison(recipe=recipe, attentions=("nam",), cuts=CUTS), store=store)
    assert dense == mine
    assert (pruned.name, pruned.parent) == (cell.name, "mine")
    assert pruned.stages == full[1][1].stages


@pytest.mark.slow
def test_a_name_that_is_taken_by_other_pictures_is_refused_before_any_work(full, asked) -> None:
    store, results = full
    folder = RunFolder(store.root / results[-1].name)
    own = folder.result_file.read_text()
    folder.write(folder.result_file, own.replace(results[-1].data_digest, "0" * 64))
    before = made(store)
    try:
        with pytest.raises(RunError, match="other pictures"):
            compare(asked, store=store)
        assert made(store) == before
    finally:
        folder.write(folder.result_file, own)


@pytest.mark.slow
def test_a_cell_that_another_process_is_at_work_on_is_left_alone(full, asked) -> None:
    store, results = full
    folder = store.open(results[-1].name)
    kept = folder.result_file.read_bytes()
    folder.result_file.unlink()
    command = [sys.executable, "-c", HOLD, str(folder.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"is at work in process {other.pid}"):
            compare(asked, store=store)
        assert folder.weights.exists()
    folder.write(folder.result_file, kept)


@pytest.mark.slow
def test_what_a_fault_leaves_missing_is_named_and_what_is_done_is_kept(recipe, tmp_path, capfd) -> None:
    store = RunStore(tmp_path / "runs")
    impossible = CUTS[0].model_copy(update={"ratio": 0.3, "keep": ("no such layer",)})
    asked = Comparison(recipe=recipe, attentions=("none",), cuts=(impossible, *CUTS))
    with pytest.raises(PruneError, match="no such layer"):
        compare(asked, store=store)
    assert [folder.state() for folder in store.folders()] == ["finished"]
    missing = "none seed 0 pruned p30 nam global, none seed 0 pruned p50 nam global"
    assert f"2 of 3 runs are missing: {missing}" in capfd.readouterr().err
    assert begun_in(store) == asked


def test_too_few_pictures_for_a_cut_are_refused_before_the_training(recipe, tmp_path) -> None:
    large = recipe.model_copy(update={"finetune": recipe.finetune.model_copy(update={"batch_size": 4096})})
    with pytest.raises(DataError, match=r"finetune\.batch_size"):
        compare(Comparison(recipe=large), store=RunStore(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_controls_end_at_the_macs_of_the_cut_that_they_control(recipe, tmp_path) -> None:
    store = RunStore(tmp_path / "runs")
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"width": 1.0})})
    asked = Comparison(recipe=recipe, attentions=("nam",), cuts=CUTS, controls=True)
    results = compare(asked, store=store)
    dense = {result.name: result for result in results if result.kind == "train"}
    assert [result.attention.partition(" ")[0] for result in dense.values()] == ["nam", "none", "half"]
    shares = {
        result.name: result.final.complexity.macs / dense[result.dense].final.complexity.macs
        for result in results
        if result.kind != "train"
    }
    assert len(shares) == 5 + 1 + 1  # NAM's own, random, L1, uniform and from scratch; plain; constant gate
    (target,) = {result.cut.target_macs for result in results if result.cut}
    assert max(abs(share / target - 1) for share in shares.values()) <= 0.02
    before = made(store)
    assert compare(asked, store=store) == results
    assert made(store) == before
    said = " ".join(sentences(summarise(collect(store))))
    own = "its own network cut by"
    for rival in (f"{own} random global", f"{own} l1 global", f"{own} nam local", "its own shape from scratch"):
        assert f"nam (channel, block) against {rival}: " in said
    assert "against none: " in said
    assert "against half (block): " in said
