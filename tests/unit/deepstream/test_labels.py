"""Names of classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtforge.deepstream.format.labels import COCO, labels
from trtforge.errors import ForgeError
from trtforge.metadata import Entry


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "names.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_cocos_names_for_80_classes() -> None:
    names, where = labels(None, 80)
    assert len(names) == len(set(names)) == len(COCO) == 80
    assert (names[0], names[9], names[-1]) == ("person", "traffic light", "toothbrush")
    assert "COCO" in where


@pytest.mark.parametrize("classes", [1, 20, 79, 81])
def test_numbers_for_other_counts(classes: int) -> None:
    names, where = labels(None, classes)
    assert names == [f"class{index}" for index in range(classes)]
    assert "--labels" in where


def test_nothing_for_an_unknown_count() -> None:
    assert labels(None, None)[0] == []


def test_names_of_the_recipe() -> None:
    assert labels(("cat", "dog"), 2) == (["cat", "dog"], "the recipe's")


@pytest.mark.parametrize("classes", [2, None])
def test_a_file(tmp_path: Path, classes: int | None) -> None:
    assert labels(written(tmp_path, "cat\ndog\n"), classes) == (["cat", "dog"], "names.txt")


@pytest.mark.parametrize(
    "text", ["cat\r\ndog\r\n", "cat\n\n  dog  \n\n", "cat\ndog", "\n\ncat\ndog"]
)
def test_line_ends_blanks_and_empty_lines(tmp_path: Path, text: str) -> None:
    assert labels(written(tmp_path, text), 2)[0] == ["cat", "dog"]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert labels(written(tmp_path, b"\xef\xbb\xbfcat\ndog\n"), 2)[0] == ["cat", "dog"]


def test_other_alphabets(tmp_path: Path) -> None:
    assert labels(written(tmp_path, "кот\n犬\n"), 2)[0] == ["кот", "犬"]


@pytest.mark.parametrize("classes", [1, 3])
def test_another_number_of_classes(tmp_path: Path, classes: int) -> None:
    with pytest.raises(ForgeError, match=rf"names\.txt: 2 labels for {classes} classes"):
        labels(written(tmp_path, "cat\ndog\n"), classes)


def test_another_number_of_names_in_the_recipe() -> None:
    with pytest.raises(ForgeError, match=r"^1 labels for 2 classes"):
        labels(("cat",), 2)


@pytest.mark.parametrize("missing", ["none.txt", "."])
def test_missing(tmp_path: Path, missing: str) -> None:
    with pytest.raises(ForgeError, match="no such file of labels"):
        labels(tmp_path / missing, 2)


def test_no_text(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="not UTF-8"):
        labels(written(tmp_path, b"\xff\xfec\x00"), 1)


def test_too_large(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="larger than 1 MiB"):
        labels(written(tmp_path, "x\n" * (1 << 19) + "y\n"), None)


def test_too_large_where_a_letter_is_cut(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match="larger than 1 MiB"):
        labels(written(tmp_path, "犬" * (1 << 19)), None)


def test_a_semicolon_is_refused_or_gone(tmp_path: Path) -> None:
    """nvinfer reads a label up to the first semicolon."""
    try:
        names = labels(written(tmp_path, "cat;pet\ndog\n"), 2)[0]
    except ForgeError:
        return
    assert not any(";" in name for name in names)


def test_names_that_the_file_states() -> None:
    stated = Entry(("anvil", "barrel"), "names")
    assert labels(None, 2, stated) == (["anvil", "barrel"], "names in the file's metadata")
    assert labels(None, None, stated)[0] == ["anvil", "barrel"]
    assert labels(("cat", "dog"), 2, stated)[0] == ["cat", "dog"]
    assert "names" in labels(("cat", "dog"), 2, stated)[1]


def test_names_of_another_number_are_not_used() -> None:
    names, origin = labels(None, 3, Entry(("anvil", "barrel"), "names"))
    assert names == ["class0", "class1", "class2"]
    assert "has 2 names for 3 classes" in origin
    names, origin = labels(None, 80, Entry(("anvil", "barrel"), "names"))
    assert names[0] == "person"
    assert "has 2 names for 80 classes" in origin


@pytest.mark.parametrize(("classes", "person"), [(90, 0), (91, 1)])
def test_cocos_names_by_their_ids(classes: int, person: int) -> None:
    names, where = labels(None, classes)
    assert len(names) == classes
    assert names[person : person + 2] == ["person", "bicycle"]
    assert (names[17 + person], names[-1]) == ("dog", "toothbrush")
    assert "ids" in where
