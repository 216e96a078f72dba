"""Reading YAML: what words mean, where keys stand, what is refused."""

import time

import pytest

from namprune.recipe.tree import MAX_BYTES, MAX_DEPTH, TreeError, read_tree

ALIAS_BOMB = b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (level, level, b", ".join([b"*a%d" % (level - 1)] * 9)) for level in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-12", -12),
        ("010", 10),
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        (".5e-3", 0.0005),
        ("+2.", 2.0),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        (".inf", ".inf"),
        ("e5", "e5"),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("null", None),
        ("~", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("cuda:0", "cuda:0"),
        ("[60, 1e2, a]", [60, 100.0, "a"]),
        ("{on: all, true: 1, 2: b}", {"on": "all", "true": 1, "2": "b"}),
        ("on:", {"on": None}),
        ("a: # comment\n  b: 1", {"a": {"b": 1}}),
    ],
)
def test_words_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    read = read_tree(text.encode()).value
    assert read == value
    assert type(read) is type(value)


def test_every_key_and_item_has_its_line() -> None:
    tree = read_tree(b"# top\na:\n  b: 1\n  c:\n    - x\n    - y\n\nd: {e: 2}\n")
    assert tree.lines == {
        (): 2,
        ("a",): 2,
        ("a", "b"): 3,
        ("a", "c"): 4,
        ("a", "c", 0): 5,
        ("a", "c", 1): 6,
        ("d",): 8,
        ("d", "e"): 8,
    }


@pytest.mark.parametrize(
    ("raw", "line", "message"),
    [
        (b"", 1, "empty"),
        (b"# nothing\n\n", 1, "empty"),
        (b"a: 1\nb: &x 2", 2, "anchors"),
        (b"a: 1\nb: *x", 2, "anchors"),
        (b"a:\n  <<: *x", 2, "anchors"),
        (b"&x a: 1", 1, "key must be"),
        (b"a: 1\nb: !!python/object:os.system 2", 2, "tags"),
        (b"a: !!str 2", 1, "tags"),
        (b"a: 1\nb: ! 2", 2, "tags"),
        (b"!!map {a: 1}", 1, "tags"),
        (b"a: 1\nb: 2\na: 3", 3, "'a' appears twice"),
        (b"a:\n  b: 1\n  'b': 2", 3, "'b' appears twice"),
        (b"? [a, b]\n: 1", 1, "key must be"),
        (b"a: 1\n---\nb: 2", 2, "second document"),
        (b"a: 1\nb: \xff", 2, "0xff is not UTF-8"),
        ("a: 1".encode("utf-16"), 1, "not UTF-8"),
        (b"a: 1\nb: \x00", 2, "U+0000"),
        (b"a: 1\nb: [1", 2, "not YAML"),
        (b"a: 1\n\tb: 1", 2, "not YAML"),
        (b"%YAML 2.0\n---\na: 1", 1, "not YAML"),
        (b'a: 1\nb: "\\U99999999"', 2, "not YAML"),
        (b"a: " + b"x" * MAX_BYTES, 1, "larger than 64 KB"),
        (b"a: [" + b"1," * 5000 + b"]", 1, "more than 4000 values"),
        (b"a:\n " + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, 2, "deeper than 20"),
        (ALIAS_BOMB, 1, "anchors"),
        (b"[" * 20_000, 1, "deeper than 20"),
        (b"{a: " * 10_000, 1, "deeper than 20"),
        (b"- " * 20_000, 1, "deeper than 20"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_refused_with_its_line_and_at_once(raw: bytes, line: int, message: str) -> None:
    begin = time.process_time()  # of the processor: a loaded machine is no fault
    with pytest.raises(TreeError) as caught:
        read_tree(raw)
    assert time.process_time() - begin < 1
    assert caught.value.line == line
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_nesting_up_to_the_limit_is_read() -> None:
    value = read_tree(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH).value
    for _ in range(MAX_DEPTH - 1):
        (value,) = value
    assert value == []
