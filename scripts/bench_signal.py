"""What each criterion says of trained networks: validation accuracy right after a cut, recalibrated, fine-tuned.

python scripts/bench_signal.py RUNS_FOLDER DATA OUT.jsonl RUN... [--keep 0.5,0.3] [--criteria NAME,...] [--finetune]

Every criterion cuts the same networks to the same MACs (2 %); `--finetune` trains what is left as the run's recipe
says. Beside namprune's criteria stand
candidates that are not (`CANDIDATES` below) and, for networks without attention, torch-pruning's own pruner (`tp-*`).
A line per cut is appended to OUT.jsonl; cuts that it has already are not made again. Prints the table over runs.
"""

import argparse
import copy
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable
from itertools import islice, product
from pathlib import Path

import torch
import torch_pruning as tp
from torch import Tensor, nn

from namprune.attention import NAM
from namprune.checkpoint import load_network
from namprune.data import Data, build_data
from namprune.measure import accuracy, complexity
from namprune.pruning import IMPORTANCES, ChannelGroup, prune_model, recalibrate
from namprune.pruning.importance import needs_batches
from namprune.recipe import Recipe, load_recipe
from namprune.runs import RunFolder, RunStore
from namprune.training import fit

BATCH, RECALIBRATE = 128, 16


def _per_norm(group: ChannelGroup, score: Callable[[nn.Module], Tensor]) -> list[Tensor]:
    """A score per channel of the group from each of its BatchNorms; in these networks they match one to one."""
    return [score(norm.module)[norm.positions] for norm in group.norms]


def _n(values: Tensor) -> Tensor:
    return values / values.mean().clamp_min(0.01)


def bn_mean(group: ChannelGroup) -> Tensor:
    """Criterion `bn` with the mean over a group's BatchNorms in the place of the maximum."""
    return torch.stack(_per_norm(group, lambda bn: _n(bn.weight.detach().abs()))).mean(0)


def nam_alone(group: ChannelGroup) -> Tensor:
    """NAM's factors alone where there are any."""
    gates = [gate.module.channel.gamma for gate in group.attentions if isinstance(gate.module, NAM)]
    if not gates:
        return torch.stack(_per_norm(group, lambda bn: _n(bn.weight.detach().abs()))).amax(0)
    return torch.stack([_n(gamma.detach().abs()) for gamma in gates]).amax(0)


def _energy(bn: nn.Module, *, rectified: bool) -> Tensor:
    """E[x²], or E[relu(x)²], of a BatchNorm's output x ~ N(β, γ²)."""
    gamma, beta = bn.weight.detach().abs().clamp_min(1e-12), bn.bias.detach()
    if not rectified:
        return gamma.square() + beta.square()
    t = beta / gamma
    density = torch.exp(-t.square() / 2) / math.sqrt(2 * math.pi)
    return ((gamma.square() + beta.square()) * torch.special.ndtr(t) + beta * gamma * density).clamp_min(0)


def _energies(group: ChannelGroup) -> Tensor:
    """Of what the channel carries: the sum over the branches that meet in it; after ReLU where there is one branch."""
    return torch.stack(_per_norm(group, lambda bn: _energy(bn, rectified=len(group.norms) == 1))).sum(0)


def energy(group: ChannelGroup) -> Tensor:
    """Root of the expected energy of the channel, per layer normalized."""
    return _n(_energies(group).sqrt())


def _readers(group: ChannelGroup) -> list[Tensor]:
    """Squared norms of the weights that read each channel, per reading layer."""
    found = []
    for member in group.readers:
        columns = member.module.weight.detach().transpose(0, 1).flatten(1).square().sum(1)
        found.append(group.per_channel(member, columns, reduce="sum"))
    return found


def bn_readers(group: ChannelGroup) -> Tensor:
    """Criterion `bn` times the norm of the weights that read the channel."""
    gamma = torch.stack(_per_norm(group, lambda bn: _n(bn.weight.detach().abs()))).amax(0)
    return gamma * torch.stack([_n(one.sqrt()) for one in _readers(group)]).amax(0)


def contribution(group: ChannelGroup) -> Tensor:
    """Largest share that the channel has in the expected energy of what a reading layer computes."""
    carried = _energies(group)
    return torch.stack([carried * one / (carried * one).sum().clamp_min(1e-12) for one in _readers(group)]).amax(0)


def contribution_n(group: ChannelGroup) -> Tensor:
    """The root of it, per layer normalized, as all scale-factor criteria are."""
    return _n(contribution(group).sqrt())


CANDIDATES = {f.__name__: f for f in (bn_mean, nam_alone, energy, bn_readers, contribution, contribution_n)}
THEIRS: dict[str, tuple[Callable[[], object], bool]] = {
    "tp-bn-global": (tp.importance.BNScaleImportance, True),
    "tp-bn-local": (tp.importance.BNScaleImportance, False),
    "tp-l2-global": (lambda: tp.importance.GroupMagnitudeImportance(p=2), True),
    "tp-l2-local": (lambda: tp.importance.GroupMagnitudeImportance(p=2), False),
}


def cut_by_theirs(model: nn.Module, shape: tuple[int, int, int], name: str, keep: float) -> nn.Module:
    """torch-pruning's BasePruner, its ratio searched for the MACs."""
    importance, everywhere = THEIRS[name]
    dense, best = complexity(model, shape).macs, (math.inf, model)
    low, high = 0.0, 1.0
    for _ in range(10):
        trial, ratio = copy.deepcopy(model), (low + high) / 2
        tp.pruner.BasePruner(
            trial,
            torch.zeros(1, *shape),
            importance=importance(),
            global_pruning=everywhere,
            pruning_ratio=ratio,
            ignored_layers=[trial.classifier],
        ).step()
        share = complexity(trial, shape).macs / dense
        best = min(best, (abs(share / keep - 1), trial), key=lambda pair: pair[0])
        low, high = (ratio, high) if share > keep else (low, ratio)
    return best[1]


def measure(
    model: nn.Module, data: Data, shape: tuple[int, int, int], name: str, keep: float, recipe: Recipe, finetune: bool
) -> dict:
    """One cut of a network, which may be changed."""
    seed = recipe.seed
    dense, started = complexity(model, shape).macs, time.perf_counter()
    if name in THEIRS:
        model = cut_by_theirs(model, shape, name, keep)
    else:
        criterion = CANDIDATES.get(name, name)
        batches = islice(data.train.shuffled(batch_size=BATCH, seed=seed, epoch=1), RECALIBRATE)
        needs = {"batches": batches} if needs_batches(criterion) else {}
        example = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
        model = prune_model(model, example, target_macs=keep, criterion=criterion, seed=seed, **needs).model
    seconds = time.perf_counter() - started
    raw = accuracy(model, data.val.ordered(batch_size=500), precision="bf16").top1
    recalibrate(model, data.train.shuffled(batch_size=BATCH, seed=seed, epoch=0), limit=RECALIBRATE)
    repaired = accuracy(model, data.val.ordered(batch_size=500), precision="bf16").top1
    share = complexity(model, shape).macs / dense
    found = {"macs": round(share, 4), "cut": raw, "recalibrated": repaired, "seconds": round(seconds, 2)}
    if finetune:
        found["finetuned"] = fit(model, data, recipe, phase="finetune")[-1].val.top1
    return found


def table(records: Iterable[dict], out: list[str]) -> None:
    """Mean and standard deviation over the runs of one kind, which differ in the seed at the end of their name."""
    groups: dict[tuple, list[dict]] = {}
    for record in records:
        kind = record["run"].rpartition("-s")[0]
        groups.setdefault((kind, record["keep"], record["criterion"]), []).append(record)
    out.append("| runs | MACs kept | criterion | n | dense | cut | recalibrated | fine-tuned |")
    out.append("|---|---:|---|---:|---:|---:|---:|---:|")
    for (kind, keep, name), group in sorted(
        groups.items(), key=lambda item: (item[0][:2], -_mean(item[1], "recalibrated"))
    ):
        cells = [_cell(group, key) for key in ("dense", "cut", "recalibrated", "finetuned")]
        out.append(f"| {kind} | {keep:g} | {name} | {len(group)} | {' | '.join(cells)} |")


def _mean(group: list[dict], key: str) -> float:
    return statistics.fmean(record[key] for record in group)


def _cell(group: list[dict], key: str) -> str:
    values = [100 * record[key] for record in group if key in record]
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--keep", default="0.5,0.3")
    parser.add_argument("--criteria", default=",".join((*IMPORTANCES, *CANDIDATES, *THEIRS)))
    parser.add_argument("--finetune", action="store_true")
    args = parser.parse_args()
    records = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(record["run"], record["keep"], record["criterion"], "finetuned" in record) for record in records}
    datas: dict[str, Data] = {}
    for run, keep, name in product(args.names, map(float, args.keep.split(",")), args.criteria.split(",")):
        folder: RunFolder = RunStore(args.runs).open(run)
        recipe, result = load_recipe(str(folder.recipe), overrides=[f"data.root={args.data}"]), folder.result()
        if (run, keep, name, args.finetune) in done or (name in THEIRS and recipe.attention.name != "none"):
            continue
        data = datas.setdefault(result.data_digest, build_data(recipe.data, device=torch.device("cpu")))
        model = load_network(recipe, folder.weights, classes=len(result.classes), input_shape=result.input_shape)
        found = measure(
            model.to(memory_format=torch.channels_last), data, result.input_shape, name, keep, recipe, args.finetune
        )
        record = {"run": run, "keep": keep, "criterion": name, "dense": result.final.val.top1, **found}
        records.append(record)
        with args.out.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(record, flush=True)
    latest = {(record["run"], record["keep"], record["criterion"]): record for record in records}
    lines: list[str] = []
    table(latest.values(), lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
