"""What a job does with a run that has its name already."""

import dataclasses

import pytest

from namprune.errors import UserError
from namprune.recipe import dump_recipe
from namprune.result import RunResult, to_json
from namprune.runs import RunFolder, RunStore
from namprune.stages.jobs import Job, make
from namprune.stages.train import train

pytestmark = pytest.mark.slow


@pytest.fixture
def finished(small_recipe, tmp_path) -> tuple[Job, RunResult]:
    recipe = small_recipe("train.epochs=1", "data.limit=100")
    result = train(recipe, store=RunStore(tmp_path), name="cell")
    return Job(name="cell", kind="train", recipe=dump_recipe(recipe), device="cpu", parent=None), result


def test_what_another_comparison_has_finished_meanwhile_is_taken(finished, tmp_path) -> None:
    job, result = finished
    assert make(job, tmp_path) == result


def test_a_run_of_another_recipe_makes_room(finished, tmp_path) -> None:
    job, result = finished
    other = dataclasses.replace(job, recipe=job.recipe.replace("seed: 0", "seed: 1"))
    assert make(other, tmp_path).files["model.safetensors"] != result.files["model.safetensors"]


def test_a_run_that_cannot_be_gone_on_with_here_is_kept(finished, tmp_path) -> None:
    job, _ = finished
    run = RunFolder(tmp_path / "cell")
    run.result_file.unlink()
    start = run.start()
    elsewhere = dataclasses.replace(start.environment, versions=start.environment.versions | {"torch": "2.0.0"})
    run.write(run.start_file, to_json(dataclasses.replace(start, environment=elsewhere)))
    with pytest.raises(UserError, match=r"begun with torch 2\.0\.0"):
        make(job, tmp_path)
    assert run.weights.is_file()
