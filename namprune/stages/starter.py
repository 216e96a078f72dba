"""A recipe to begin with, for a folder of pictures, a network from elsewhere, or both."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from namprune.data.folder import FORMATS, list_splits
from namprune.errors import UserError
from namprune.models import build_model
from namprune.models.families import default_places
from namprune.recipe import Recipe
from namprune.recipe.starter import commented
from namprune.sparsity import build_penalty, gamma_spread
from namprune.training import penalty_travel

SAMPLE = 64
"""Pictures whose size is looked at: only their headers are read."""

SMALL = 64
"""Pixels of a side below which a network must not downsample at once."""

STEPS = 5000
"""Of training, where 30 to 200 epochs have as many."""

TRAVEL = 1.5
"""B of `sparsity.travel` that the penalty is chosen for, by what a factor needs to reach zero."""

HARSHEST = 0.01
"""Of the penalties: a stronger one, which few steps would need, begins to outweigh the loss."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What there is to train on."""

    root: str
    images: int
    """Of training, without those held out."""
    classes: int
    side: int
    """Typical length of the shorter side in pixels."""
    both: bool
    """Whether there are both val/ and test/."""


UNKNOWN = Pictures(root="path/to/pictures", images=10_000, classes=10, side=224, both=False)
"""What is taken for granted where no folder is given."""


FOREIGN = {
    "model.source": "torchvision, timm, or python with target: package.module:function",
    "model.name": "the library's name for it",
    "model.weights": "what it starts from: DEFAULT, its publisher's, or a safetensors or PyTorch file",
    "attention.name": "behind the last BatchNorm of each block, where it starts as a gate that changes little; or none",
}
"""Reasons of a network from elsewhere."""

ELSEWHERE = "nam ranks channels by its factors, too: attention.at says behind which BatchNorms it goes"
"""Why there is none in a network whose blocks are not known."""


def starter(*, data: str | None, model: Mapping[str, str] | None) -> str:
    """The text of a recipe with comments, made to fit the pictures of folder `data` and the section `model`.

    Raises:
        DataError: the folder does not hold pictures by class.
        UserError: there is no such network or file of weights, or it does not take such pictures.
    """
    found = _look(data) if data is not None else UNKNOWN
    trained = bool(model and "weights" in model)
    tree, reasons = _pictures(found, least=SMALL if trained else 8), _reasons(found, known=data is not None)
    tree["model"] = dict(model) if model else _own_network(tree["data"]["image_size"])
    tree |= _training(found, trained=trained)
    if model:
        reasons |= FOREIGN
    if model is None or _has_places(_built(tree, found)):
        tree["attention"] = {"name": "nam", "part": "channel"}
    else:
        tree["attention"], reasons["attention.name"] = {"name": "none"}, ELSEWHERE
    _choose_penalty(tree, reasons, found)
    label = Recipe.model_validate(tree).model.label
    return commented(_ordered(tree), title=f"{label} on your own pictures: a start, to be changed", reasons=reasons)


def _has_places(model: nn.Module) -> bool:
    """Whether it is known where attention goes."""
    try:
        return bool(default_places(model))
    except UserError:
        return False


def _choose_penalty(tree: dict[str, Any], reasons: dict[str, str], found: Pictures) -> None:
    """As strong as it takes to bring factors to zero from where they start; without factors no penalty and no nam."""
    spread = gamma_spread(build_penalty(_built(tree, found), l1_gamma=1.0, l1_lambda=0.0).gammas)
    if spread is None:
        del tree["sparsity"]
        tree["prune"]["criterion"] = "l1"
        reasons["prune.criterion"] = "what ranks the channels: l1, l2, fpgm, lamp, taylor; nam and bn need BatchNorm"
        reasons["attention.name"] = "none: there is no BatchNorm that it could go behind"
        return
    section = tree["sparsity"]
    known = tree["model"].get("weights") != "DEFAULT"
    start = spread.top_decile if known else 1.0  # in front of a gate that halves it is twice what it would be
    strength = TRAVEL * start / penalty_travel(Recipe.model_validate(tree), images=found.images)
    section["l1_gamma"] = float(f"{min(strength, HARSHEST):.1e}")
    reached = penalty_travel(Recipe.model_validate(tree), images=found.images)
    needs = f"zeros need more than {start:.1f}" if known else "zeros need more than factors start at, as training tells"
    needs += ": more pictures or epochs" * (reached < start)
    reasons["sparsity.l1_gamma"] = (
        f"can move a factor by B = sum of lr * l1_gamma / (1 - momentum) = {reached:.1f}; {needs}"
    )


def _look(data: str) -> Pictures:
    """A folder by its listing, and by the sizes that a few of its pictures tell without being decoded."""
    splits, classes = list_splits(Path(data))
    files = splits["train"].files
    sides = [min(size) for file in files[:: math.ceil(len(files) / SAMPLE)] if (size := _size(file))]
    both = len(splits) == 3
    return Pictures(
        root=data,
        images=len(files) if both else round(0.9 * len(files)),
        classes=len(classes),
        side=round(statistics.median(sides)) if sides else UNKNOWN.side,
        both=both,
    )


def _size(file: Path) -> tuple[int, int] | None:
    """Width and height; None of what is no picture, which training names."""
    try:
        with Image.open(file, formats=FORMATS) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _pictures(found: Pictures, *, least: int) -> dict[str, Any]:
    """`least` pixels of a side; smaller pictures are enlarged."""
    side = max(least, min(224, found.side // 32 * 32) if found.side >= 32 else found.side)
    shown: dict[str, Any] = {"crop": "resized", "crop_scale": 0.25} if side >= SMALL else {"pad": side // 8}
    held = {} if found.both else {"val_fraction": 0.1}
    data = {"name": "imagefolder", "root": found.root, **held, "image_size": side, **shown, "flip": True}
    return {"seed": 0, "data": data}


def _own_network(side: int) -> dict[str, str]:
    return {"name": "resnet18", "stem": "imagenet"} if side >= SMALL else {"name": "resnet20", "stem": "cifar"}


def _training(found: Pictures, *, trained: bool) -> dict[str, Any]:
    """How long and how fast: so many steps that the penalty need not be harsh, and slower ones from weights."""
    batch = next((size for size in (64, 32, 16) if found.images >= 16 * size), max(2, min(16, found.images // 2)))
    epochs = min(200, max(30, math.ceil(STEPS * batch / max(1, found.images))))
    lr = float(f"{(0.02 if trained else 0.05) * math.sqrt(batch / 64):.1g}")
    common = {"batch_size": batch, "schedule": "cosine", "weight_decay": 1e-4}
    return {
        "train": {"epochs": epochs, "lr": lr, "warmup": math.ceil(epochs / 20), **common, "label_smoothing": 0.1},
        "sparsity": {"l1_gamma": 1.0, "warmup": epochs // 10, "on": "all"},
        "prune": {"ratio": 0.3, "criterion": "nam", "scope": "global", "round_to": 8},
        "finetune": {"epochs": math.ceil(epochs / 5), "lr": float(f"{lr / 10:.1g}"), **common},
    }


def _ordered(tree: Mapping[str, Any]) -> dict[str, Any]:
    """In the order of the schema."""
    return {name: tree[name] for name in Recipe.model_fields if name in tree}


def _built(tree: Mapping[str, Any], found: Pictures) -> nn.Module:
    """The network, seen to take such pictures; with its weights if they are a file: its publisher's are not fetched."""
    recipe = Recipe.model_validate(tree)
    weights: str | None = getattr(recipe.model, "weights", None)
    if weights not in (None, "DEFAULT") and not Path(str(weights)).is_file():
        raise UserError(f"--weights {weights}: no such file", hint="or --weights DEFAULT for its publisher's")
    side = recipe.data.image_size or UNKNOWN.side
    return build_model(
        recipe, classes=found.classes, input_shape=(3, side, side), pretrained=weights not in (None, "DEFAULT")
    )


def _reasons(found: Pictures, *, known: bool) -> dict[str, str]:
    """Why each value is as it is, where the schema's word for the key does not say it."""
    there = f"{found.images:,} pictures of {found.classes} classes to train on" if known else "the folder with train/"
    place = "" if Path(found.root).is_absolute() else "; relative to where namprune is started"
    typical = f" (these pictures have {found.side} or so)" if known else ""
    return {
        "seed": "of weights, order and augmentation",
        "data": "what is looked at",
        "data.name": "a folder train/ with a folder per class, and val/ or test/ beside it",
        "data.root": f"{there}{place}",
        "data.val_fraction": "share of train/ held out for every choice, because only one of val/ and test/ is there",
        "data.image_size": f"pixels of the shorter side{typical}; half as many are about four times as fast",
        "data.crop": "a random part of each picture at a random scale; pad moves the whole picture a little instead",
        "data.crop_scale": "at least this share of a picture is shown; more where small parts do not tell the class",
        "data.flip": "false where left and right differ in meaning: text, signs, X-rays",
        "model": "what is trained and pruned",
        "model.name": "of this package; `namprune init --model` takes those of torchvision and timm, with weights",
        "model.stem": "imagenet downsamples by 4 at once, cifar keeps the resolution of small pictures",
        "attention": "none, or nam, se, cbam, bam, sa, ulsam, eca",
        "attention.name": "nam weighs channels by factors of normalization, which rank them when it comes to pruning",
        "train.epochs": "passes over the training pictures: fewer for a first trial, and then more l1_gamma",
        "train.batch_size": "pictures per step; halve it, and lr with it, when the memory does not suffice",
        "train.lr": "peak learning rate; less where the network starts from weights, more with larger batches",
        "train.label_smoothing": "share of each label that is spread over all classes",
        "prune.ratio": "share of the channels to remove; or target_macs, target_latency, target_size, max_drop",
        "prune.criterion": "what ranks the channels: factors of NAM and BatchNorm; or bn, l1, l2, fpgm, lamp, taylor",
        "prune.scope": "one ranking over all layers; local takes the same share of each, sensitivity measures first",
        "prune.round_to": "widths become multiples of this, which kernels are made for",
        "finetune.lr": "a tenth of the peak: repairs the cut without leaving the minimum",
    }
