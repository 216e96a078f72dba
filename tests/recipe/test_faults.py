"""Faults: all at once, each with place, key path, human words and the nearest right name."""

import json
import re
import time

import pytest

from namprune.errors import RecipeError
from namprune.recipe import parse_recipe, recipe_schema
from namprune.recipe.faults import SYNONYMS

GOOD = """\
data:
  name: digits
model:
  name: resnet20
attention:
  name: nam
train:
  epochs: 3
finetune:
  epochs: 1
"""

BAD = """\
model:
  name: resnet21
  width: 9
data: {name: digits, pad: 1.5, root: [a]}
attention:
  name: nam
  part: chanel
  x: 1
train:
  num_epochs: 3
  lr: x
  momentum: -1
  milestones: [0,
    a]
  nesterov: yes
finetune:
sparsity: nam
prune:
  ratio: 1.7
  floor: 0
runtime:
  device: gpu
  compile: atuo
sede: 1
"""

BAD_LINES = """\
2: model.name: 'resnet21' is not one of mobilenetv2, resnet20, resnet32, resnet56, resnet110, resnet18, \
resnet34, resnet50, resnet101; did you mean 'resnet20'?
3: model.width: must be at most 4.0, got 9
4: data.pad: expected a whole number, got 1.5
4: data.root: expected text, got ["a"]
7: attention.part: 'chanel' is not one of channel, spatial, both; did you mean 'channel'?
8: attention.x: unknown key; known here: name, placement, at, part, scale, detach
9: train.epochs: missing
10: train.num_epochs: unknown key; did you mean 'epochs'?
11: train.lr: expected a number, got 'x'
12: train.momentum: must be at least 0.0, got -1
13: train.milestones[0]: must be at least 1, got 0
14: train.milestones[1]: expected a whole number, got 'a'
15: train.nesterov: expected true or false, got 'yes'
16: finetune: expected a section of keys, got null
17: sparsity: expected a section of keys, got 'nam'
19: prune.ratio: must be below 1.0, got 1.7
20: prune.floor: must be above 0.0, got 0
22: runtime.device: expected auto, cpu, mps, cuda or cuda:<number>, got 'gpu'
23: runtime.compile: 'atuo' is not one of false, true, auto; did you mean 'auto'?
24: sede: unknown key; did you mean 'seed'?
"""


def faults_of(text: str) -> tuple[str, ...]:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, source="x.yaml")
    return caught.value.faults


def test_all_faults_at_once_in_the_order_of_the_file() -> None:
    assert faults_of(BAD) == tuple(f"x.yaml:{line}" for line in BAD_LINES.splitlines())


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("  name: nam\n", "  part: both\n", "5: attention.name: missing"),
        (
            "  name: nam\n",
            "  name: [1]\n",
            "6: attention.name: [1] is not one of none, nam, se, cbam, bam, sa, ulsam, eca, half",
        ),
        (
            "  name: nam\n",
            "  name: nan\n",
            "6: attention.name: 'nan' is not one of none, nam, se, cbam, bam, sa, ulsam, eca, half; "
            "did you mean 'nam'?",
        ),
        ("  name: nam\n", "  name: none\n  part: both\n", "7: attention.part: unknown key; known here: name"),
        ("attention:\n  name: nam\n", "attention: nam\n", "5: attention: expected a section of keys, got 'nam'"),
        ("  name: digits\n", "  name: digits\n  val_fraction: 1e999\n", "3: data.val_fraction: expected a finite"),
        ("finetune:\n  epochs: 1\n", "", "1: finetune: missing"),
        ("  epochs: 3\n", "  epochs: 3\n  warmup: 4\n", "7: train: warmup (4 epochs) is longer than the training"),
        ("  epochs: 3\n", "  epochs: 3\n  milestones: 3\n", "9: train.milestones: expected a list, got 3"),
        (
            "  name: digits\n",
            "  name: digits\n  image_size: 32\n",
            "1: data: image_size applies to imagefolder only",
        ),
        (
            "  name: digits\n",
            "  name: digits\n  augment: randaugment\n",
            "1: data: augment applies to imagefolder only",
        ),
        ("  name: digits\n", "  name: digits\n  crop_scale: 0.5\n", "1: data: crop_scale belongs to crop: resized"),
        (
            "data:\n",
            "sparsity: {l1_lambda: 1}\ndata:\n",
            "1: sparsity.l1_lambda needs attention nam with a spatial",
        ),
        (
            "  epochs: 1\n",
            "  epochs: 1\nprune:\n  steps: 2\n",
            "12: prune.steps: 2 cuts need an epoch of fine-tuning each: raise finetune.epochs from 1, or",
        ),
        (
            "  epochs: 1\n",
            "  epochs: 4\n  warmup: 3\nprune: {steps: 2}\n",
            "11: finetune.warmup: 3 epochs are more than each of prune.steps: 2 has, 2",
        ),
        ("data:\n", "prune: {steps: 2, max_drop: 1}\ndata:\n", "1: prune: max_drop is found for one cut"),
        ("data:\n", "prune: {ratios: {a*: 1.5}}\ndata:\n", "1: prune.ratios.a*: must be below 1.0, got 1.5"),
        ("data:\n", "prune: {ratios: [a]}\ndata:\n", '1: prune.ratios: expected keys with values, got ["a"]'),
    ],
)
def test_one_fault(old: str, new: str, fault: str) -> None:
    (line,) = faults_of(GOOD.replace(old, new, 1))
    assert line.startswith(f"x.yaml:{fault}")


@pytest.mark.parametrize(
    ("section", "wrong", "right"),
    [
        ("train", "learning_rate", "lr"),
        ("train", "Learning-Rate", "lr"),
        ("train", "bs", "batch_size"),
        ("train", "batchsize", "batch_size"),
        ("train", "wd", "weight_decay"),
        ("train", "gamma", "decay"),
        ("data", "path", "root"),
        ("model", "arch", "name"),
    ],
)
def test_the_field_s_other_words_lead_to_ours(section: str, wrong: str, right: str) -> None:
    (line,) = faults_of(GOOD.replace(f"{section}:\n", f"{section}:\n  {wrong}: 1\n"))
    assert line.endswith(f"{section}.{wrong}: unknown key; did you mean '{right}'?")


def test_every_synonym_leads_to_a_key_that_exists() -> None:
    schema = json.loads(recipe_schema())
    keys = set(schema["properties"]).union(*(part["properties"] for part in schema["$defs"].values()))
    assert {name for names in SYNONYMS.values() for name in names} <= keys


def test_the_wording_for_patterns_fits_the_only_pattern() -> None:
    assert re.findall(r'"pattern": "(.*)"', recipe_schema()) == [r"^(auto|cpu|mps|cuda(:\\d{1,2})?)$"]


def test_thousands_of_faults_and_long_words_are_explained_at_once() -> None:
    begin = time.perf_counter()
    assert len(faults_of("".join(f"epoch{n}: 1\n" for n in range(3900)))) == 3900 + 4
    (line,) = faults_of(GOOD + "a\\b\t" + "e" * 900 + ": 1\n")
    assert time.perf_counter() - begin < 2
    assert len(line) < 250


def test_a_value_stays_on_one_short_printable_line() -> None:
    (line,) = faults_of(GOOD.replace("digits", '"\\e[31m\\n\\ud800' + "z" * 9000 + '"'))
    assert line.isprintable()
    assert len(line) < 250
