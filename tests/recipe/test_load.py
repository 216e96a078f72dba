"""Sources and overrides: files, shipped names, `--set`."""

import subprocess
import sys
from pathlib import Path

import pytest

from namprune.errors import RecipeError
from namprune.recipe import dump_recipe, load_recipe, parse_recipe
from namprune.recipe.attention import NAMSection, NoAttention
from namprune.recipe.fit import DistillSection

TEXT = """\
data: {name: digits}
model: {name: resnet20}
attention:
  name: nam
  part: both
train:
  epochs: 3
  lr: 1e-4
sparsity:
  on: nam
finetune: {epochs: 1}
"""


def test_importing_recipes_loads_no_torch() -> None:
    code = "import sys, namprune.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_numbers_and_the_key_on_are_read() -> None:
    recipe = parse_recipe(TEXT, source="x")
    assert recipe.train.lr == 1e-4
    assert recipe.sparsity.on == "nam"


def test_a_file_is_read_and_named_in_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(TEXT)
    Path("quickstart").write_text(TEXT.replace("epochs: 3", "epochs: 4"))
    assert load_recipe("mine.yaml") == load_recipe(str(tmp_path / "mine.yaml")) == parse_recipe(TEXT, source="x")
    assert load_recipe("quickstart").train.epochs == 4  # a file that exists comes before a shipped name
    Path("mine.yaml").write_text(TEXT.replace("lr:", "eta:"))
    with pytest.raises(RecipeError, match=r"^mine\.yaml:8: train\.eta: unknown key; did you mean 'lr'\?$"):
        load_recipe("mine.yaml")


def test_a_folder_does_not_hide_a_shipped_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()
    assert load_recipe("quickstart", overrides=["train.epochs=7"]).train.epochs == 7


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("resnet65", "'resnet65' is neither a file nor a shipped recipe; did you mean 'resnet56'?"),
        ("", "'' is neither a file nor a shipped recipe"),
        ("x" * 5000, "is neither a file nor a shipped recipe"),
        ("quickstart.yaml", "quickstart.yaml: no such file"),
        ("sub/quickstart", "sub/quickstart: no such file"),
        ("folder.yaml", "folder.yaml: is not a file"),
        ("/dev/zero", "/dev/zero: is not a file"),
        (f"{'x' * 5000}.yaml", "File name too long"),
        ("huge.yaml", "huge.yaml:1: larger than 64 KB"),
        ("latin.yaml", "latin.yaml:1: byte 0xfc is not UTF-8"),
        ("list.yaml", "list.yaml:2: expected sections such as `data:` and `model:`"),
    ],
    ids=lambda value: value[-24:],
)
def test_a_source_that_is_no_recipe(source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.yaml").mkdir()
    Path("huge.yaml").write_text("# é" * 40_000)
    Path("latin.yaml").write_bytes("data: für".encode("latin-1"))
    Path("list.yaml").write_text("\n- data\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(source)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("nothing")
    assert "quickstart" in str(caught.value.hint)


def test_overrides_go_through_the_same_reader_in_order() -> None:
    recipe = parse_recipe(
        TEXT,
        source="x",
        overrides=[
            "train.lr=1e-3",
            "train.schedule=step",
            "train.milestones=[1, 2]",
            "data.root=a=b",
            "data.limit=50",
            "data.limit=null",
            "runtime.device=cuda:0",  # a section that the file does not have
            "prune={ratio: 0.5, scope: local}",
            "prune.ratio=.25",
        ],
    )
    assert recipe.train.lr == 1e-3
    assert recipe.train.milestones == (1, 2)
    assert recipe.data.root == "a=b"
    assert recipe.data.limit is None
    assert recipe.runtime.device == "cuda:0"
    assert (recipe.prune.ratio, recipe.prune.scope) == (0.25, "local")


def test_patterns_of_layers_can_be_set_and_are_written_as_they_were() -> None:
    overrides = ['prune.ratios={"stages.2.*": 0.7, "*": .1}', "prune.keep=[stem*]"]
    recipe = parse_recipe(TEXT, source="x", overrides=overrides)
    assert recipe.prune.keep == ("stem*",)
    again = parse_recipe(dump_recipe(recipe), source="x")
    assert again == recipe
    assert list(again.prune.ratios.items()) == [("stages.2.*", 0.7), ("*", 0.1)]


@pytest.mark.parametrize(
    ("overrides", "attention"),
    [
        (["attention.name=none", "sparsity.on=all"], NoAttention()),
        (["attention.name=nam"], NAMSection(name="nam", part="both")),
        (["attention.scale=mean"], NAMSection(name="nam", part="both", scale="mean")),
        (["attention={name: nam, scale: mean}"], NAMSection(name="nam", scale="mean")),
    ],
)
def test_another_attention_starts_without_the_options_of_the_old(
    overrides: list[str], attention: NAMSection | NoAttention
) -> None:
    assert parse_recipe(TEXT, source="x", overrides=overrides).attention == attention


def test_an_attention_keeps_the_options_that_are_set_with_it() -> None:
    text = TEXT.replace("  name: nam\n  part: both\n", "  name: none\n")
    recipe = parse_recipe(text, source="x", overrides=["attention.part=spatial", "attention.name=nam"])
    assert recipe.attention == NAMSection(name="nam", part="spatial")


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("train.epochs=x", "train.epochs: expected a whole number, got 'x'"),
        ("train.epochs.a=1", "unknown key train.epochs.a: train.epochs holds a value, not keys"),
        ("finetune.distill.weight=2", "finetune.distill.weight: must be at most 1.0, got 2"),
        ("train.num_epochs=3", "train.num_epochs: unknown key; did you mean 'epochs'?"),
        ("trian.epochs=3", "trian: unknown key; did you mean 'train'?"),
        ("train=3", "train: expected a section of keys, got 3"),
        ("train={epochs: -1}", "train.epochs: must be at least 0, got -1"),
        (
            "attention.name=nan",
            "attention.name: 'nan' is not one of none, nam, se, cbam, bam, sa, ulsam, eca, half; did you mean 'nam'?",
        ),
        ("train.epochs", "expected key.path=value, for example train.epochs=3"),
        ("=3", "expected key.path=value, for example train.epochs=3"),
        ("train..epochs=3", "expected key.path=value, for example train.epochs=3"),
        ("data.root" + ".a" * 5000 + "=3", "expected key.path=value, for example train.epochs=3"),
        ("train.epochs=", "train.epochs has no value; null unsets a key that may be unset"),
        ("train.milestones=[1", "not YAML: expected ',' or ']', but got '<stream end>'"),
        ("train.epochs=&a 3", "anchors (&) and aliases (*) are not allowed: write the value out"),
        ("data.root=\udcff", "byte 0xed is not UTF-8"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_fault_of_an_override_names_the_override(override: str, fault: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(TEXT, source="x.yaml", overrides=[override])
    (line,) = caught.value.faults
    assert line.startswith(f"--set {override[:10]}" if override.isprintable() else "--set data.root=?")
    assert line.endswith(f": {fault}")


def test_only_fine_tuning_has_a_teacher() -> None:
    distill = parse_recipe(TEXT, source="x", overrides=["finetune.distill.temperature=2"]).finetune.distill
    assert distill == DistillSection(temperature=2)
    with pytest.raises(RecipeError, match=r"train\.distill: unknown key"):
        parse_recipe(TEXT, source="x", overrides=["train.distill.temperature=2"])


def test_faults_of_overrides_and_file_come_together() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(TEXT.replace("lr:", "rl:"), source="x", overrides=["nothing", "train.epochs=-1"])
    assert [fault.split(": ")[0] for fault in caught.value.faults] == [
        "--set nothing",
        "x:8",
        "--set train.epochs=-1",
    ]


@pytest.mark.parametrize(
    ("overrides", "ratio", "target_macs"),
    [
        ((), 0.5, None),
        (("prune.target_macs=0.4",), None, 0.4),
        (("prune.target_macs=0.4", "prune.criterion=bn"), None, 0.4),
        (("prune.ratio=0.2",), 0.2, None),
        (("prune.ratio=null",), 0.3, None),
    ],
)
def test_how_much_goes_is_said_by_the_last_word(
    overrides: tuple[str, ...], ratio: float | None, target_macs: float | None
) -> None:
    section = load_recipe("quickstart", overrides=overrides).prune
    assert (section.ratio, section.target_macs) == (ratio, target_macs)
    again = parse_recipe(dump_recipe(load_recipe("quickstart", overrides=overrides)), source="again")
    assert again.prune == section


def test_two_words_of_how_much_goes_are_refused() -> None:
    with pytest.raises(RecipeError, match="ratio and target_macs exclude each other"):
        load_recipe("quickstart", overrides=["prune.ratio=0.4", "prune.target_macs=0.4"])
