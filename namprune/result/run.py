"""What a run leaves behind: frozen records that become result.json."""

from dataclasses import dataclass
from typing import Literal

from namprune.choices import TargetName
from namprune.errors import RunError
from namprune.result.reading import parse, record
from namprune.table import percent, quantity, worded

FORMAT = 1
"""Version of result.json. A reader refuses what it does not know."""

Kind = Literal["train", "prune", "scratch"]
"""`scratch`: the widths of a pruned run, trained from fresh weights."""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Of one network on one split. `top1` and `top5` are shares in [0, 1], `loss` the mean cross-entropy."""

    top1: float
    top5: float
    loss: float
    images: int


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds of one forward pass of `batch` pictures: median and inter-quartile range over `blocks` blocks."""

    batch: int
    median: float
    iqr: float
    blocks: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A run's network and, where channels were lost, the dense one before it, timed in turns in one process."""

    network: Latency
    dense: Latency | None


@dataclass(frozen=True, kw_only=True)
class Complexity:
    """Cost of one picture. `macs`: multiply-accumulates by thop with our rules; `macs_aten`: convolutions and
    matrix products alone, counted by PyTorch's dispatcher as a cross-check; `bytes`: of the weights."""

    macs: int
    macs_aten: int
    params: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A network at a stage of a run, as `trained` or `step 1/3`; `test` is read at the last: it selects nothing."""

    stage: str
    complexity: Complexity
    val: Accuracy
    test: Accuracy | None = None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where a run was made."""

    device: str
    threads: int
    python: str
    versions: dict[str, str]
    devices: int = 1
    """How many of them, each with a process and its threads, shared every batch."""


@dataclass(frozen=True, kw_only=True)
class GammaSpread:
    """Distribution of |γ| over the penalized factors: a flat one carries no signal."""

    mean: float
    top_decile: float
    bottom_decile: float
    near_zero: float
    """Share of the factors below 1 % of the largest."""


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch of training or fine-tuning, as written to metrics.jsonl."""

    phase: Literal["train", "finetune"]
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    val: Accuracy
    lr: float
    seconds: float
    images_per_second: float
    gamma: GammaSpread | None
    skipped: int = 0
    """Steps that were left out, because the loss or a gradient was no finite number."""
    collapsed: tuple[str, ...] = ()
    """Layers all of whose γ are near zero."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a cut had to reach, and what it does: predicted exactly, or measured when it was planned."""

    key: TargetName
    asked: float
    reached: float
    unit: str
    """As `table.worded` takes it."""

    @property
    def words(self) -> str:
        """What was asked for: `0.4x parameters`, `5.00 ms`, `2.00 MB`, `0.5 points`."""
        return worded(self.asked, self.unit)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What `prune` was asked for, what it did, and the proof."""

    ratio: float
    """Share of the channels that was to go: asked for, or found for a target."""
    target_macs: float | None = None
    """Share of the MACs that was to stay."""
    target: Target | None = None
    """What else was to be reached."""
    steps: int = 1
    every: int = 0
    """Cuts that it was spread over; or the epochs between those of what was near zero, which training made."""
    apart: bool = False
    """Whether some layers had shares of their own."""
    criterion: str
    scope: str
    round_to: int
    channels_before: int
    channels_after: int
    near_zero: float
    """Share of all channels whose factors were near zero before the cut."""
    near_zero_removed: float
    """The same of the channels that went."""
    proof: float
    """Largest difference between the masked and the pruned network's logits, relative to the largest logit."""
    skipped: dict[str, str]
    """Layers that were left alone, and why."""

    @property
    def aim(self) -> str:
        """What was asked for, in words: `0.5` of the channels removed, `0.26x MACs` kept, or another target."""
        if self.every:
            return f"near zero every {self.every} epochs"
        share = f"{self.ratio:g}" if self.target_macs is None else f"{self.target_macs:g}x MACs"
        aim = self.target.words if self.target else share
        return aim + f" in {self.steps} steps" * (self.steps > 1) + ", layers apart" * self.apart


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """All that is needed to read a run's numbers in a year."""

    format: int = FORMAT
    name: str
    kind: Kind
    created: str
    """Time of completion, ISO 8601 in UTC."""
    parent: str | None
    """The run that was pruned; of `scratch`, the pruned run whose widths it has."""
    dense: str | None
    """The unpruned ancestor; of `scratch`, that of its parent."""
    dense_weights: str | None = None
    """SHA-256 of its weights: another run that took its name later is not it."""
    model: str
    attention: str
    data: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    """Channels, height, width."""
    seed: int
    recipe_digest: str
    """SHA-256 of what the recipe says of the experiment: equal for its repetitions with other seeds."""
    data_digest: str
    files: dict[str, str]
    """SHA-256 of the run's own files."""
    environment: Environment
    stages: tuple[Measurement, ...]
    cut: Cut | None = None
    """Of `scratch`, that of its parent."""
    latency: tuple[Timing, ...] = ()
    """By batch size."""
    epochs: int
    seconds: float
    images_per_second: float

    def __repr__(self) -> str:
        """In a line: name, kind, and what the network has come to."""
        last, cost = self.final, self.final.complexity
        top1 = f"test top-1 {percent(last.test.top1)}" if last.test else f"validation top-1 {percent(last.val.top1)}"
        costs = f"{quantity(cost.macs)} MACs, {quantity(cost.params)} parameters"
        return f"RunResult({self.name!r}, {self.kind}: {top1} %, {costs})"

    @property
    def final(self) -> Measurement:
        """The network that the run's weights hold."""
        return self.stages[-1]


def from_json(text: str, *, source: str) -> RunResult:
    """Read a result that `to_json` wrote.

    Raises:
        RunError: not JSON, another version, or a value of the wrong type; `source` names the file.
    """
    tree = parse(text, source=source)
    version = tree.get("format") if isinstance(tree, dict) else None
    if version != FORMAT:
        raise RunError(
            f"{source}: format {version!r}, this version reads format {FORMAT}",
            hint="read it with the namprune that wrote it, or run it again",
        )
    return record(RunResult, tree, source=source)
