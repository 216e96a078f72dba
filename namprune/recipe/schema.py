"""What a recipe says: frozen pydantic models, one per section, each key with its meaning and its range."""

import math
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from namprune.choices import (
    BottleneckRule,
    CriterionName,
    FactorSet,
    PenaltyForm,
    Precision,
    Scope,
    TargetName,
    TrackerName,
)
from namprune.recipe.attention import AttentionSection, NAMSection, NoAttention
from namprune.recipe.data import DataSection
from namprune.recipe.fit import FinetuneSection, TrainSection
from namprune.recipe.model import ModelSection, NamedModel, PythonModel
from namprune.recipe.section import NonNegative, Section
from namprune.recipe.units import LatencyTarget, RoundTo, SizeTarget


class SparsitySection(Section):
    """Penalty on the scale factors while the dense network trains."""

    l1_gamma: NonNegative = 0.0
    """Strength on the channel factors γ."""
    l1_lambda: NonNegative = 0.0
    """Strength on the pixel factors λ of spatial NAM."""
    on: FactorSet = "all"
    """Which γ are penalized: those of NAM, those of plain BN, or all."""
    form: PenaltyForm = "l1"
    """How γ is pushed: all alike, small ones harder (`reweighted`), or large ones hardly (`polarized`)."""
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Only this share of the γ is penalized, the lowest of their layers: what is meant to be cut."""
    warmup: NonNegative = 0.0
    """Epochs over which the strength rises linearly from zero."""
    remove_every: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Epochs of training after which channels whose factors are near zero are removed, again and again, down to
    `prune.floor` and not in `prune.keep`; `prune.ratios` do not apply. 0 = never."""


AIMS = ("ratio", *get_args(TargetName))
"""The keys of `prune` that say how much goes: exactly one of them is set."""


class PruneSection(Section):
    """What is removed."""

    ratio: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the channels to remove; 0.3 where nothing else says how much."""
    target_macs: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the multiply-accumulates to keep, met to 2 %; in the place of `ratio`, as are those that follow."""
    target_params: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the parameters to keep, met to 2 %."""
    target_latency: LatencyTarget | None = None
    """Time of a forward pass in float32, such as `5ms`, or share of that before the cut, such as `0.6`: measured on
    this device at `latency_batch` and met to 5 %."""
    target_size: SizeTarget | None = None
    """Size of the file of weights, such as `2MB`, `800kB` or `1.5MiB`, met to 2 %."""
    max_drop: Annotated[float, Field(gt=0, le=100)] | None = None
    """Points of validation accuracy that the cut may cost, recalibrated and not fine-tuned; found by bisection."""
    latency_batch: Annotated[int, Field(ge=1, le=65_536)] = 64
    """Pictures per forward pass of `target_latency`."""
    criterion: CriterionName = "nam"
    """What ranks the channels."""
    score_batches: Annotated[int, Field(ge=1, le=10_000)] = 16
    """Training batches that `taylor` and `obd` take their gradients from, one epoch at most."""
    scope: Scope = "global"
    """`global`: one ranking over all layers; `local`: the same share of each; `sensitivity`: what costs the same points
    of validation accuracy in each, measured by cutting it alone (see `namprune sensitivity`)."""
    ratios: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    """Shares of the channels of some layers, apart from the others, such as `{"stages.2.*": 0.7}`: shell patterns of
    the names of layers, which mean the channels that these give, not those that they read; the first match holds."""
    keep: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Layers whose channels all stay, by patterns as in `ratios`, such as `["stem*"]`."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 1
    """Cuts that the removal is spread over, each followed by its share of `finetune.epochs`."""
    floor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of its channels that every layer keeps at least."""
    round_to: RoundTo = 1
    """Widths that change become multiples of this, rounded up; `auto` is what the device is fast at: 16 on a CPU, 8 on
    CUDA."""
    bottlenecks: BottleneckRule = "auto"
    """Hidden layers of SE, CBAM and BAM: `shrink` with their channels (at least 4 wide), `keep`, or `auto`: shrink
    where more than 5 % of the network's parameters are around them."""
    compensate: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Training batches that measure what the removed channels delivered on average, which biases and BN statistics
    then take up; 0 = none. Recalibration overwrites it but for biases."""
    recalibrate: Annotated[int, Field(ge=0, le=10_000)] = 32
    """Training batches that re-estimate the BN statistics after removal; 0 = none."""

    @model_validator(mode="before")
    @classmethod
    def _one_aim(cls, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        match [key for key in AIMS if tree.get(key) is not None]:
            case []:
                return tree | {"ratio": 0.3}
            case [_]:
                return tree
            case given:
                raise ValueError(f"{' and '.join(given)} exclude each other: give one")

    @model_validator(mode="after")
    def _one_cut_by_drop(self) -> Self:
        if self.steps > 1 and self.max_drop is not None:
            raise ValueError("max_drop is found for one cut: it excludes steps above 1")
        return self

    @property
    def apart(self) -> bool:
        """Whether some layers have shares of their own, which those that say how much goes are not of."""
        return bool(self.ratios or self.keep)

    @property
    def tag(self) -> str:
        """How much goes, as part of a run's name: `p30` of the channels removed, `m50` of the MACs kept, and so on."""
        shares = {"p": self.ratio, "m": self.target_macs, "params": self.target_params}
        texts = {"latency": self.target_latency, "size": self.target_size, "drop": self.max_drop}
        named = [f"{word}{100 * share:g}" for word, share in shares.items() if share is not None]
        named += [f"{word}{value}".replace(" ", "") for word, value in texts.items() if value is not None]
        return named[0]


class RuntimeSection(Section):
    """Where and how fast. Says nothing about what is computed, but for rounding."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,2})?)$")] = "auto"
    """`auto` takes CUDA where there is one."""
    precision: Precision = "auto"
    """`auto` is bf16 autocast on CUDA and fp32 elsewhere."""
    channels_last: bool = True
    """Whether pictures and weights lie with their channels innermost, which convolutions are faster with."""
    compile: Literal[False, True, "auto"] = False
    """Whether the training step runs through torch.compile; `auto` tries both before training and keeps the faster."""
    deterministic: bool = False
    """Only algorithms that repeat to the bit on one device: a CPU needs none, on CUDA it costs speed."""
    save_every: NonNegative = 60.0
    """Seconds between two checkpoints while a network trains: the most that a killed run loses."""
    track: TrackerName | None = None
    """What else than TensorBoard is told of the run. `mlflow` keeps it in `mlflow.db` beside the runs, or wherever
    MLFLOW_TRACKING_URI says; `pip install 'namprune[mlflow]'`."""

    @model_validator(mode="after")
    def _choice_repeats(self) -> Self:
        if self.deterministic and self.compile == "auto":
            raise ValueError("deterministic excludes compile: auto, which takes what is faster at the moment")
        return self


class Recipe(Section):
    """One experiment: data, network, training, removal, fine-tuning."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of weights, order and augmentation. The held-out split does not depend on it."""
    data: DataSection
    model: Annotated[ModelSection, Field(discriminator="source")]
    attention: Annotated[AttentionSection, Field(discriminator="name")] = NoAttention()
    train: TrainSection
    sparsity: SparsitySection = SparsitySection()
    prune: PruneSection = PruneSection()
    finetune: FinetuneSection
    runtime: RuntimeSection = RuntimeSection()

    @model_validator(mode="before")
    @classmethod
    def _finetune_epochs(cls, tree: Any) -> Any:
        """A trial with few epochs of training is not followed by fine-tuning for hundreds."""
        match tree:
            case {"train": {"epochs": int(epochs)}, "finetune": dict(finetune)} if "epochs" not in finetune:
                return tree | {"finetune": {**finetune, "epochs": math.ceil(epochs / 5)}}
        return tree

    @model_validator(mode="before")
    @classmethod
    def _source_may_be_left_out(cls, tree: Any) -> Any:
        match tree:
            case {"model": dict(model)} if "source" not in model:
                return tree | {"model": {"source": "namprune", **model}}
        return tree

    @model_validator(mode="after")
    def _attention_has_a_place(self) -> Self:
        """`placement` is what our own networks were made for, `at` finds places in those of others."""
        section = self.attention
        if isinstance(section, NoAttention):
            return self
        if isinstance(self.model, NamedModel):
            if section.at:
                raise ValueError("attention.at is for networks of another source; here attention.placement says where")
        elif section.placement != type(section).model_fields["placement"].default:
            raise ValueError(
                f"attention.placement is for this package's own networks; of {self.model.label} attention.at says "
                "behind which BatchNorms attention goes"
            )
        return self

    @model_validator(mode="after")
    def _untrained_has_weights(self) -> Self:
        if self.train.epochs == 0 and not isinstance(self.model, PythonModel):
            weights = None if isinstance(self.model, NamedModel) else self.model.weights
            if weights is None:
                raise ValueError(
                    f"train.epochs: 0 takes a network as its weights are, and {self.model.label} has none: set "
                    "model.weights (of torchvision, timm or python), or raise train.epochs"
                )
        return self

    @model_validator(mode="after")
    def _every_step_is_finetuned(self) -> Self:
        steps, section = self.prune.steps, self.finetune
        if 0 < section.epochs < steps:
            raise ValueError(
                f"prune.steps: {steps} cuts need an epoch of fine-tuning each: raise finetune.epochs from "
                f"{section.epochs}, or set it to 0"
            )
        if 0 < section.epochs // steps < section.warmup:
            raise ValueError(
                f"finetune.warmup: {section.warmup:g} epochs are more than each of prune.steps: {steps} has, "
                f"{section.epochs // steps}"
            )
        return self

    @model_validator(mode="after")
    def _penalty_has_a_target(self) -> Self:
        nam = self.attention if isinstance(self.attention, NAMSection) else None
        if self.sparsity.l1_gamma > 0 and self.sparsity.on == "nam" and (nam is None or nam.part == "spatial"):
            raise ValueError("sparsity.on: nam needs attention nam with a channel part")
        if self.sparsity.l1_lambda > 0 and (nam is None or nam.part == "channel"):
            raise ValueError("sparsity.l1_lambda needs attention nam with a spatial part")
        return self
