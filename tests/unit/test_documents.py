"""YAML and JSON from outside: bounded, and every error with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtforge import documents
from trtforge.documents import DocumentError, load_json, load_yaml
from trtforge.errors import ForgeError


@pytest.mark.parametrize("loader", ["C", "Python"])
@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("a:\n  b: " + "[" * 6000 + "]" * 6000, "nested too deeply", 2),
        ("a: " + "{a: " * 6000, "nested too deeply", 1),
        ("- " * 6000 + "a", "nested too deeply", 1),
        ("\n".join(f"{' ' * level}a:" for level in range(100)), "nested too deeply", 33),
        ("a: 1\nb: &b [x]\nc: *b\n", "has YAML aliases: write each value out", 3),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "the key 'c' twice", 4),
        ("a: 2026-02-30", "a date or number that does not exist", None),
        ("a: 1\nb: }\n", "", 2),
    ],
)
def test_yaml_that_is_refused(
    monkeypatch: pytest.MonkeyPatch, loader: str, text: str, reason: str, line: int | None
) -> None:
    import yaml

    if loader == "Python":
        monkeypatch.setattr(documents, "loader", lambda: yaml.SafeLoader)
    with pytest.raises(DocumentError) as caught:
        load_yaml(text)
    assert reason in caught.value.reason
    assert line is None or caught.value.line == line


def test_yaml_keeps_the_lines_of_keys_and_items() -> None:
    document = load_yaml("a: 1\nb:\n- x\n- {c: 2}\n")
    assert document.content == {"a": 1, "b": ["x", {"c": 2}]}
    assert document.lines == {
        ("a",): 1, ("b",): 2, ("b", 0): 3, ("b", 1): 4, ("b", 1, "c"): 4
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        ("{", "not JSON"),
        ("1" * 5000, "not JSON"),
    ],
)
def test_json_that_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DocumentError) as caught:
        load_json(text)
    assert reason in caught.value.reason


def test_json() -> None:
    assert load_json('{"a": [1, null]}') == {"a": [1, None]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 100_000, "table.json: not a table: nested too deeply"),
        (b"\xff", "table.json: not a table: not UTF-8 text"),
        (b'{"a": 1, "a": 2}', "table.json: not a table: has the key 'a' twice"),
        (b" " * 2000, "table.json: larger than 0 MiB, so not a table"),
    ],
)
def test_a_json_file_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    monkeypatch.setattr(documents, "MAX_JSON_BYTES", 500_000 if len(content) > 9999 else 1000)
    path = tmp_path / "table.json"
    path.write_bytes(content)
    with pytest.raises(ForgeError) as caught:
        documents.read_json(path, "table", "make one")
    assert caught.value.problem == f"{tmp_path}/{reason}"


def test_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text('{"a": 1, "a": 2}', "utf-8")
    assert documents.read_json(path, "file of labels", "", repeats=True) == {"a": 2}
    with pytest.raises(ForgeError, match="no such file"):
        documents.read_json(tmp_path / "none.json", "file of labels", "")
