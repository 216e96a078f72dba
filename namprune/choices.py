"""The names that a recipe may use. Torch-free: a wrong name is refused without loading it.

Each `Literal` equals the keys of the registry that implements it; `tests/test_architecture.py` holds them together.
"""

from typing import Literal

ModelName = Literal[
    "mobilenetv2",
    "resnet20",
    "resnet32",
    "resnet56",
    "resnet110",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
]
"""Networks in `namprune.models.MODELS`."""

Stem = Literal["cifar", "imagenet"]
"""First layers: full resolution for small pictures, or downsampled at once for large ones."""

AttentionName = Literal["none", "nam", "se", "cbam", "bam", "sa", "ulsam", "eca", "half"]
"""Attention modules in `namprune.attention.ATTENTIONS`, and none."""

Placement = Literal["block", "interior", "both", "stage", "replace"]
"""`block`: after the last BN of a block, before the residual add. `interior`: on the channels inside it. `both`.
`stage`: on the residual stream before each downsampling. `replace`: in the place of one stride-1 equal-width block
in each of two late stages."""

DataName = Literal["digits", "cifar10", "cifar100", "imagefolder"]
"""Data sets in `namprune.data.DATASETS`."""

Crop = Literal["pad", "resized"]
"""What is shown of a training picture: its centre, moved at random, or a part of random size and shape."""

Augment = Literal["none", "randaugment"]
"""What else is done to training pictures."""

OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["constant", "step", "cosine", "onecycle"]
Precision = Literal["auto", "fp32", "bf16"]

NonFinitePolicy = Literal["stop", "skip", "rollback"]
"""What a loss or gradient that is no finite number does, which never reaches the weights: it ends the training, the
step is left out, or the epoch begins again with half of the learning rate."""

FactorSet = Literal["nam", "bn", "all"]
"""Scale factors that the penalty acts on."""

PenaltyForm = Literal["l1", "reweighted", "polarized"]
"""How the penalty pushes: all factors alike, small ones harder, or hardly those above the mean."""

CriterionName = Literal["nam", "bn", "l1", "l2", "fpgm", "lamp", "taylor", "obd", "random"]
"""Channel importances in `namprune.pruning.IMPORTANCES`."""

BottleneckRule = Literal["auto", "shrink", "keep"]
"""Of the hidden layers of SE, CBAM and BAM: `shrink` them with their channels, `keep` them, or what pays (`auto`)."""

Scope = Literal["global", "local", "sensitivity"]
"""`global`: one ranking over all layers. `local`: the same share of every layer. `sensitivity`: one ranking by the
accuracy that the network was measured to lose with a channel and those of its group that rank below it."""

TargetName = Literal["target_macs", "target_params", "target_latency", "target_size", "max_drop"]
"""What a cut can be asked to reach, in the place of a share of the channels."""

BackendName = Literal["local", "ray"]
"""Where the runs of a comparison are made: in this process, or on a cluster."""

TrackerName = Literal["mlflow"]
"""What a run can be told to beside TensorBoard, in `namprune.tracking.TRACKERS`."""
