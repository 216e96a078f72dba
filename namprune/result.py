"""What a run leaves behind: frozen records that become result.json and come back from it. Torch-free."""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from namprune.choices import TargetName
from namprune.errors import RunError
from namprune.table import worded

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record")
_BROKEN = "the run is broken; delete its folder"

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

    @property
    def final(self) -> Measurement:
        """The network that the run's weights hold."""
        return self.stages[-1]


def to_json(record: "DataclassInstance") -> str:
    """A record as indented JSON with a closing newline."""
    return json.dumps(dataclasses.asdict(record), indent=2, ensure_ascii=False) + "\n"


def from_json(text: str, *, source: str) -> RunResult:
    """Read a result that `to_json` wrote.

    Raises:
        RunError: not JSON, another version, or a value of the wrong type; `source` names the file.
    """
    tree = _parse(text, source=source)
    version = tree.get("format") if isinstance(tree, dict) else None
    if version != FORMAT:
        raise RunError(
            f"{source}: format {version!r}, this version reads format {FORMAT}",
            hint="read it with the namprune that wrote it, or run it again",
        )
    return _record(RunResult, tree, source=source)


def record_from_json(kind: type[Record], text: str, *, source: str) -> Record:
    """Read any frozen record that `to_json` wrote.

    Raises:
        RunError: not JSON, or a value of the wrong type; `source` names the file.
    """
    return _record(kind, _parse(text, source=source), source=source)


def _parse(text: str, *, source: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{source}: not JSON ({error})", hint=_BROKEN) from error


def _record(kind: type[Record], tree: Any, *, source: str) -> Record:
    try:
        record: Record = _build(kind, tree, kind.__name__)
    except (TypeError, ValueError, OverflowError) as error:
        raise RunError(f"{source}: {error}", hint=_BROKEN) from error
    return record


def _build(kind: Any, value: Any, path: str) -> Any:
    """`value` from JSON as the annotation `kind`; ValueError names the path of what differs."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build_record(kind, value, path)
    if origin is types.UnionType:
        inner = next(a for a in arguments if a is not type(None))
        return None if value is None and type(None) in arguments else _build(inner, value, path)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{path}: {value!r} is not one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        return _build_tuple(arguments, value, path)
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{path}: expected an object, got {type(value).__name__}")
        return {key: _build(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{path}: expected {kind.__name__}, got {value!r}")
    return value


def _build_record(kind: type, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected an object, got {type(value).__name__}")
    hints = typing.get_type_hints(kind)
    if unknown := sorted(value.keys() - hints.keys()):
        raise ValueError(f"{path}.{unknown[0]}: unknown key")
    needed = {field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING}
    if missing := sorted(needed - value.keys()):
        raise ValueError(f"{path}.{missing[0]}: missing")
    return kind(**{key: _build(hints[key], item, f"{path}.{key}") for key, item in value.items()})


def _build_tuple(arguments: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{path}: expected a list, got {type(value).__name__}")
    if arguments[-1] is Ellipsis:
        return tuple(_build(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if len(value) != len(arguments):
        raise ValueError(f"{path}: expected {len(arguments)} values, got {len(value)}")
    return tuple(_build(a, item, f"{path}[{i}]") for i, (a, item) in enumerate(zip(arguments, value, strict=True)))
