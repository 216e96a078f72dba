"""Run folders: named safely, made whole, found again."""

import os
from pathlib import Path

import pytest

from namprune.errors import RunError
from namprune.runs import RunStore

HOSTILE = [
    "", ".", "..", "../x", "/abs", "a/b", "a/../../b", "a\\b", "~", "~root", "a\0b", "%2e%2e", "CON", "con.txt",
    "nul", "COM1", "lpt9", "a" * 65, "a..b", "a.", "a ", " a", "-a", ".a", "_a", ";rm", "a;rm -rf", "a\n", "a\tb",
    "a|b", "$x", "\u202eabc", "é", "a\u0301", "a*", "a?", "a:b", "C:", "`x`", "<b>", "[red]",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_and_writes_nothing(store: RunStore, name: str) -> None:
    for action in (lambda: store.create(name, recipe=""), lambda: store.open(name)):
        with pytest.raises(RunError) as caught:
            action()
        assert caught.value.hint
    assert list(store.root.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "resnet20-nam_0.3", "9", "con1", "a" * 64])
def test_a_plain_name_is_taken(store: RunStore, name: str) -> None:
    folder = store.create(name, recipe="seed: 1\n")
    assert folder.path == store.root / name
    assert folder.recipe.read_text() == "seed: 1\n"
    assert os.listdir(folder.path) == ["recipe.yaml"]  # noqa: PTH208 - hidden litter would show here, too


def test_a_taken_name_is_refused_and_the_run_kept(store: RunStore) -> None:
    store.create("a", recipe="first")
    with pytest.raises(RunError, match="already exists") as caught:
        store.create("a", recipe="second")
    assert "a-2" in (caught.value.hint or "")
    assert (store.root / "a" / "recipe.yaml").read_text() == "first"


def test_a_failed_create_leaves_no_folder(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        store.create("a", recipe="")
    assert list(store.root.iterdir()) == []


def test_a_root_that_is_a_file_is_the_users_fault(store: RunStore) -> None:
    store.root.write_text("")
    with pytest.raises(RunError, match="cannot write"):
        store.create("a", recipe="")


def test_a_link_out_of_the_root_is_refused(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    store.root.mkdir()
    (store.root / "a").symlink_to(tmp_path / "elsewhere")
    for action in (lambda: store.create("a", recipe=""), lambda: store.open("a")):
        with pytest.raises(RunError, match="leads out"):
            action()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_free_names_count_up_and_stay_short(store: RunStore) -> None:
    assert store.free_name("a") == "a"
    store.create("a", recipe="")
    store.create("a-2", recipe="")
    assert store.free_name("a") == "a-3"
    store.create("b" * 64, recipe="")
    assert store.free_name("b" * 64) == "b" * 62 + "-2"
    assert store.free_name("b" * 64 + "-p30") == "b" * 62 + "-2"
    assert store.unused("a-3") == "a-3"


def test_a_missing_run_names_its_neighbours(store: RunStore, save, make_result) -> None:
    save(make_result("resnet20"))
    with pytest.raises(RunError, match="no run 'resnet2'") as caught:
        store.open("resnet2")
    assert "resnet20" in (caught.value.hint or "")


def test_the_newest_is_the_last_completed_of_its_kind(store: RunStore, save, make_result, make_pruned) -> None:
    with pytest.raises(RunError, match="no finished train run") as caught:
        store.newest()
    assert "namprune train" in (caught.value.hint or "")
    first = make_result("z", created="2026-01-01T10:00:00+00:00")
    save(first)
    save(make_result("a", created="2026-01-01T11:00:00+00:00"))
    save(make_pruned("p", parent=first, created="2026-01-01T12:00:00+00:00"))
    store.create("unfinished", recipe="")
    broken = save(make_result("broken", created="2026-01-02T00:00:00+00:00"))
    broken.weights.unlink()
    assert store.newest().name == "a"
    assert store.newest(kind="prune").name == "p"
    assert [folder.name for folder in store.folders()] == ["a", "broken", "p", "unfinished", "z"]


def test_folders_that_are_no_runs_are_not_listed(store: RunStore) -> None:
    assert store.folders() == ()
    (store.root / "notes").mkdir(parents=True)
    (store.root / "file.txt").write_text("")
    assert store.folders() == ()


def test_a_failed_start_leaves_no_folder(store: RunStore, make_start, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, done = Path.replace, []

    def second_fails(path: Path, target: Path) -> Path:
        if done:
            raise OSError(122, "Disk quota exceeded")
        done.append(target.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", second_fails)
    with pytest.raises(RunError, match="quota"):
        store.create("a", recipe="", start=make_start("train"))
    assert done == ["start.json"]  # the recipe, which makes the folder a run, comes after it
    assert list(store.root.iterdir()) == []


def test_the_newest_unfinished_was_begun_last_and_nobody_is_at_work_on_it(
    store: RunStore, make_start, save, make_result
):
    with pytest.raises(RunError, match="no unfinished train run"):
        store.newest_unfinished(kinds=["train"])
    save(make_result("finished"))
    store.create("no-start", recipe="")
    for age, (name, kind) in enumerate([("z", "train"), ("a", "train"), ("p", "prune"), ("last", "train")]):
        folder = store.create(name, recipe="", start=make_start(kind))
        os.utime(folder.start_file, ns=(0, 10**18 + age))
    assert store.newest_unfinished(kinds=["prune"]).name == "p"
    with folder.claimed():
        assert folder.state() == "running"
        assert store.newest_unfinished(kinds=["train"]).name == "a"
    assert store.newest_unfinished(kinds=["prune", "train"]).name == "last"
    with (
        store.create("s", recipe="", start=make_start("scratch")).claimed(),
        pytest.raises(RunError, match="at work: s"),
    ):
        store.newest_unfinished(kinds=["scratch"])


def test_only_an_unfinished_run_of_the_kind_is_gone_on_with(store: RunStore, make_start, save, make_result) -> None:
    store.create("a", recipe="", start=make_start("prune"))
    assert store.open_unfinished("a", kinds=["prune"]).name == "a"
    save(make_result("done"))
    store.create("old", recipe="")
    for name, fault in (("a", "prune run, not a train"), ("done", "finished"), ("old", "start.json"), ("b", "no run")):
        with pytest.raises(RunError, match=fault) as caught:
            store.open_unfinished(name, kinds=["train", "scratch"])
        if name == "a":
            assert caught.value.hint == f"`namprune prune --resume a --runs {store.root}` goes on with it"
