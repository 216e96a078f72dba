"""How another project uses namprune, for mypy --strict alone: `tests/test_api.py` has it checked.

A line with an `ignore` is a mistake that must be seen: where it is not, mypy says that the `ignore` is unused.
"""

from pathlib import Path
from typing import assert_type

import torch
from torch import Tensor, nn

import namprune
from namprune.result import Accuracy, Complexity, EpochRecord, RunResult
from namprune.runs import RunFolder


class Gate(namprune.Attention):
    """An attention of the project's own."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:  # noqa: ARG002
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.scale)

    def attend(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x * self.scale[:, None, None]

    def prune(self, keep: Tensor) -> None:
        """Keep these."""
        self.scale = nn.Parameter(self.scale[keep])

    def macs(self, x: Tensor) -> int:
        """The product."""
        return x.numel()


def importance(group: namprune.ChannelGroup) -> Tensor | None:
    """A criterion of the project's own."""
    return torch.ones(group.size)


def in_memory(model: nn.Module, pictures: Tensor, labels: Tensor) -> None:
    """Of networks in memory."""
    assert_type(namprune.__version__, str)
    assert_type(namprune.insert_attention(model, Gate, ["*.bn2"], (3, 32, 32)), tuple[str, ...])
    namprune.insert_attention(model, namprune.NAM, ["*.bn2"], (3, 32, 32))
    pruned = namprune.prune_model(model, pictures, ratio=0.3, criterion=importance)
    assert_type(pruned, namprune.PrunedModel)
    assert_type(pruned.model, nn.Module)
    assert_type(pruned.plan.apply(model), float)
    assert_type(namprune.PruningPlan.from_json(pruned.plan.to_json(), source="plan.json"), namprune.PruningPlan)
    assert_type(namprune.recalibrate(pruned.model, [(pictures, labels)], limit=1), int)
    assert_type(namprune.accuracy(model, [(pictures, labels)]), Accuracy)
    assert_type(namprune.complexity(model, (3, 32, 32)), Complexity)
    namprune.prune_model(model, pictures, target=namprune.params_share(0.4))
    namprune.prune_model(model, pictures, ratio=0.3, criterion="best")  # type: ignore[arg-type]
    namprune.prune_model(model, pictures, 0.3)  # type: ignore[call-arg]
    namprune.load(Path("runs/a"))  # type: ignore[arg-type]


def in_runs(store: namprune.RunStore) -> None:
    """Of recipes and runs."""
    recipe = namprune.load_recipe("quickstart", overrides=["train.epochs=1"])
    assert_type(recipe, namprune.Recipe)
    assert_type(recipe.prune.ratio, float | None)
    data = namprune.build_data(recipe.data, device=torch.device("cpu"))
    assert_type(data, namprune.Data)
    model = namprune.build_model(recipe, classes=len(data.classes), input_shape=data.input_shape)
    assert_type(namprune.fit(model, data, recipe), list[EpochRecord])
    result = namprune.train(recipe, store=store)
    assert_type(result, RunResult)
    run = store.open(result.name)
    assert_type(run, RunFolder)
    assert_type(namprune.prune(run, recipe, store=store), RunResult)
    assert_type(namprune.load(run), nn.Module)
    assert_type(namprune.to_markdown(namprune.Report.of(namprune.collect(store))), str)
    try:
        namprune.train(recipe)  # type: ignore[call-arg]
    except namprune.UserError as error:
        assert_type(error.hint, str | None)
