"""The pages that say how to extend namprune: their examples run, and do what the page says of them."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import namprune
from namprune.cli import main
from namprune.pruning.apply import PROOF_TOLERANCE
from namprune.runs import RunStore

PAGES = Path(namprune.__file__).parents[1] / "docs" / "extend"

RunExamples = Callable[..., dict[str, Any]]


def text_of(page: str) -> str:
    """Of a page."""
    return (PAGES / page).read_text(encoding="utf-8")


def test_attention(run_examples: RunExamples) -> None:
    page = run_examples(text_of("attention.md"))
    gates = [module for module in page["pruned"].model.modules() if isinstance(module, page["GCT"])]
    assert len(gates) == 9
    assert min(float(gate.gamma.detach().abs().max()) for gate in gates) > 0  # they have learned, and gate
    assert page["pruned"].proof <= PROOF_TOLERANCE
    assert page["pruned"].plan.channels_after == pytest.approx(page["pruned"].plan.channels_before / 2, abs=1)
    assert isinstance(page["mine"][1].attention, page["GCT"])


def test_an_attention_that_forgets_what_is_gone_is_refused(run_examples: RunExamples) -> None:
    class Forgetful(run_examples(text_of("attention.md"))["GCT"]):  # as the page says: C is the number that is left
        def prune(self, keep: torch.Tensor) -> None:
            super().prune(keep)
            self.unpruned = len(keep)

    mine = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 4, 3))
    namprune.insert_attention(mine, Forgetful, ["1"], (1, 8, 8))
    torch.nn.init.ones_(mine[1].attention.gamma)
    with pytest.raises(namprune.NampruneError, match="this cut would change the network"):
        namprune.prune_model(mine, torch.randn(4, 1, 8, 8), ratio=0.5, criterion="bn")


def test_criterion(run_examples: RunExamples) -> None:
    page = run_examples(text_of("criterion.md"))
    group = namprune.ChannelGroup("n", 4, ())
    assert page["root_mean_square"](group) is None
    plan = namprune.prune_model(page["network"], page["pictures"], ratio=0.3, criterion=page["root_mean_square"]).plan
    assert plan.criterion == "root_mean_square"
    assert plan.groups != page["pruned"].plan.groups  # of bn, which does not look at the shift
    cut = next(cut for cut in plan.groups if cut.root.endswith("conv1"))  # inside a block: one BatchNorm
    norm = page["network"].get_submodule(cut.root.replace("conv1", "bn1"))
    second = torch.stack([norm.weight, norm.bias]).norm(dim=0).detach()
    torch.testing.assert_close(torch.tensor(cut.scores), second / second.mean())


def test_data(run_examples: RunExamples, tmp_path: Path) -> None:
    page = run_examples(text_of("data.md"))
    data = page["data"]
    sizes = [len(split) for split in (data.train, data.val, data.test)]
    assert sum(sizes) == 1797
    assert sizes[2] / 1797 == pytest.approx(0.2, abs=0.01)
    again = page["build_npz"](tmp_path / "scans.npz", device=torch.device("cpu"))
    assert again.digest == data.digest
    assert namprune.accuracy(page["pruned"].model, data.test.ordered(batch_size=256)).top1 > 0.5


@pytest.mark.slow
def test_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module, recipe, console = re.findall(r"^```\w+\n(.*?)^```", text_of("model.md"), re.DOTALL | re.MULTILINE)
    Path("my_net.py").write_text(module, encoding="utf-8")
    Path("my.yaml").write_text(recipe, encoding="utf-8")
    for line in console.splitlines():
        monkeypatch.setattr(sys, "argv", line.split())
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    sys.modules.pop("my_net")
    dense, pruned = (run.result() for run in RunStore(Path("runs")).folders())
    assert (pruned.parent, pruned.attention) == ("mine", "nam (channel, blocks.*.bn2)")
    assert pruned.final.complexity.params < 0.8 * dense.final.complexity.params
