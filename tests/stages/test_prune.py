import shutil

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from namprune.data import build_data
from namprune.errors import DataError, PruneError, RunError, UserError
from namprune.measure import accuracy, complexity
from namprune.pruning import ChannelGraph, PruningPlan, compensate, compose
from namprune.recipe import load_recipe
from namprune.runs import RunStore
from namprune.stages.evaluate import evaluate
from namprune.stages.network import check_fits, open_network
from namprune.stages.prune import plan, prune


def own_recipe(run, *overrides):
    return load_recipe(str(run.recipe), overrides=overrides)


@pytest.fixture(scope="module")
def pruned(store):
    result = prune(store.open("dense"), own_recipe(store.open("dense"), "prune.ratio=0.4"), store=store)
    return store.open(result.name)


def test_every_stage_is_measured_and_test_is_read_at_the_end(store, pruned) -> None:
    result = pruned.result()
    assert [stage.stage for stage in result.stages] == ["trained", "pruned", "recalibrated", "finetuned"]
    assert [stage.test is not None for stage in result.stages] == [True, False, False, True]
    assert result.stages[0] == store.open("dense").result().final
    assert (result.parent, result.dense, result.name) == ("dense", "dense", "dense-p40")
    assert [(timing.network.batch, timing.dense is None) for timing in result.latency] == [(1, False), (64, False)]
    assert result.cut is not None
    assert result.cut.proof < 1e-7
    assert result.cut.skipped == {"classifier": "its channels are the network's output"}


def test_every_stage_is_told(pruned) -> None:
    events, result = EventAccumulator(str(pruned.path)).Reload(), pruned.result()
    for stage in result.stages[1:]:
        (accuracy,), (macs,) = events.Scalars(f"{stage.stage}/val_top1"), events.Scalars(f"{stage.stage}/macs")
        assert (accuracy.value, macs.value) == (pytest.approx(stage.val.top1), stage.complexity.macs)
        assert accuracy.step == (1 if stage.stage == "finetuned" else 0)  # epochs that were done
    assert events.Scalars("final/test_top1")[0].value == pytest.approx(result.final.test.top1)


def test_the_network_has_the_widths_and_the_cost_of_the_plan(pruned) -> None:
    made = PruningPlan.from_json(pruned.plan.read_text(), source="plan.json")
    model, result = open_network(pruned, own_recipe(pruned))
    assert complexity(model, (1, 8, 8)) == result.final.complexity
    assert result.final.complexity.macs == made.macs_after
    assert made.channels_after == made.channels_before - int(0.4 * made.channels_before + 0.5)
    for cut in made.groups:
        assert model.get_submodule(cut.root).out_channels == len(cut.kept)


def test_evaluate_repeats_the_accuracy_of_the_result(pruned) -> None:
    final = pruned.result().final
    assert evaluate(pruned, own_recipe(pruned), split="test") == final.test
    assert evaluate(pruned, own_recipe(pruned), split="val") == final.val


def test_a_dry_run_plans_the_same_and_writes_nothing(store, pruned) -> None:
    before = sorted(path.name for path in store.root.iterdir())
    planned = plan(store.open("dense"), own_recipe(store.open("dense"), "prune.ratio=0.4"))
    assert planned == PruningPlan.from_json(pruned.plan.read_text(), source="plan.json")
    assert sorted(path.name for path in store.root.iterdir()) == before


def test_a_criterion_that_looks_at_pictures_sees_the_same_in_a_dry_run(store) -> None:
    run = store.open("dense")
    asked = ("prune.criterion=taylor", "prune.score_batches=2", "finetune.epochs=0", "prune.recalibrate=0")
    made = store.open(prune(run, own_recipe(run, *asked), store=store, name="taylor").name)
    planned = plan(run, own_recipe(run, *asked))
    assert planned == PruningPlan.from_json(made.plan.read_text(), source="plan.json")
    assert made.result().cut.criterion == planned.criterion == "taylor"
    fewer = plan(run, own_recipe(run, *asked, "prune.score_batches=1"))
    assert [cut.scores for cut in fewer.groups] != [cut.scores for cut in planned.groups]


def test_only_a_criterion_that_looks_at_pictures_reads_them(store) -> None:
    run = store.open("dense")
    with pytest.raises(DataError, match=r"finetune\.batch_size: 512 is more than"):
        plan(run, own_recipe(run, "prune.criterion=obd", "finetune.batch_size=512"))
    plan(run, own_recipe(run, "prune.criterion=lamp", "finetune.batch_size=512"))


def test_a_pruned_run_is_pruned_again_and_the_plans_compose(store, pruned) -> None:
    recipe = own_recipe(pruned, "prune.ratio=0.3", "finetune.epochs=0", "prune.recalibrate=0")
    twice = store.open(prune(pruned, recipe, store=store, name="twice").name)
    result = twice.result()
    assert (result.parent, result.dense, result.epochs) == (pruned.name, "dense", 0)
    assert result.stages[-1].stage == "pruned"
    assert result.stages[-1].test is not None
    first, second = (PruningPlan.from_json(run.plan.read_text(), source="plan.json") for run in (pruned, twice))
    dense, _ = open_network(store.open("dense"), own_recipe(store.open("dense")))
    compose(first, second).apply(dense, pictures=torch.rand(2, 1, 8, 8))
    model, _ = open_network(twice, own_recipe(twice))
    assert {name: t.shape for name, t in dense.state_dict().items()} == {
        name: t.shape for name, t in model.state_dict().items()
    }
    ChannelGraph(model, (1, 8, 8))  # and could be pruned once more


def test_without_the_ancestor_latency_is_measured_alone(store, pruned, tmp_path, capsys) -> None:
    shutil.copytree(pruned.path, tmp_path / pruned.name)
    alone = RunStore(tmp_path)
    recipe = own_recipe(pruned, "prune.ratio=0.3", "finetune.epochs=0", "prune.recalibrate=0")
    result = prune(alone.open(pruned.name), recipe, store=alone, name="twice")
    assert [timing.dense for timing in result.latency] == [None, None]
    assert "no run 'dense' in" in capsys.readouterr().err


def test_a_tampered_run_is_refused(store, tmp_path) -> None:
    shutil.copytree(store.root / "dense", tmp_path / "dense")
    run = RunStore(tmp_path).open("dense")
    weights = bytearray(run.weights.read_bytes())
    weights[-1] ^= 1
    run.weights.write_bytes(weights)
    with pytest.raises(RunError, match=r"model\.safetensors"):
        prune(run, own_recipe(run), store=RunStore(tmp_path))
    assert [folder.name for folder in RunStore(tmp_path).folders()] == ["dense"]


def test_other_pictures_are_refused(store, tmp_path) -> None:
    from PIL import Image

    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for index in range(20):
                Image.new("RGB", (8, 8), (index, 0, 0)).save(folder / f"{index}.png")
    run = store.open("dense")
    recipe = own_recipe(run, "data.name=imagefolder", f"data.root={tmp_path}", "data.image_size=8")
    with pytest.raises(UserError, match=r"data\.\w+: run 'dense' was made with"):
        prune(run, recipe, store=store)
    with pytest.raises(DataError, match="2 classes"):
        check_fits(build_data(recipe.data, device=torch.device("cpu")), run.result())


def test_another_split_of_the_same_pictures_is_refused(store) -> None:
    run = store.open("dense")
    section = own_recipe(run, "data.val_fraction=0.3").data
    with pytest.raises(DataError, match="another split"):
        check_fits(build_data(section, device=torch.device("cpu")), run.result())


@pytest.mark.parametrize("override", ["model.stem=imagenet", "attention.scale=mean", "seed=7", "train.epochs=1"])
def test_a_finished_network_keeps_its_recipe(store, override) -> None:
    run = store.open("dense")
    with pytest.raises(UserError, match=override.split(".")[0].split("=")[0]):
        plan(run, own_recipe(run, override))


def test_a_ratio_too_small_for_a_channel_is_refused(store) -> None:
    with pytest.raises(PruneError, match="removes no channel"):
        plan(store.open("dense"), own_recipe(store.open("dense"), "prune.ratio=0.001"))


def test_a_cut_is_compensated(store, pruned) -> None:
    parent = store.open("dense")
    recipe = own_recipe(parent, "prune.ratio=0.4", "prune.compensate=2", "prune.recalibrate=0", "finetune.epochs=0")
    result = prune(parent, recipe, store=store, name="compensated")
    data = build_data(recipe.data, device=torch.device("cpu"))
    model, _ = open_network(parent, recipe)
    planned, graph = plan(parent, recipe), ChannelGraph(model, data.input_shape)
    batches = data.train.shuffled(batch_size=recipe.finetune.batch_size, seed=recipe.seed, epoch=0)
    assert compensate(graph, planned, batches, limit=2) == ()
    planned.apply(model, graph=graph)
    assert [stage.stage for stage in result.stages] == ["trained", "pruned"]
    assert result.final.val.loss == pytest.approx(accuracy(model, data.val.ordered(batch_size=64)).loss, rel=1e-5)
    assert result.final.val.loss != pytest.approx(pruned.result().stages[1].val.loss, rel=1e-4)


def test_the_parent_teaches(store, pruned) -> None:
    parent = store.open("dense")
    options = ("prune.ratio=0.4", "finetune.distill.weight=0.9")
    result = prune(parent, own_recipe(parent, *options), store=store, name="taught")
    plain = pruned.result()
    assert result.stages[:3] == plain.stages[:3]
    assert result.final.complexity == plain.final.complexity
    assert result.files["plan.json"] == plain.files["plan.json"]
    assert result.files["model.safetensors"] != plain.files["model.safetensors"]
