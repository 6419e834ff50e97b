"""The search, on curves whose answer is known; the rest of tune runs in tests/integration."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from trtforge.evaluate.variant import literal
from trtforge.recipe import Recipe, load
from trtforge.tune import Tuned, _least, fragment


@pytest.mark.parametrize("most", [0, 1, 5, 40])
def test_the_least_number_is_found_from_anywhere_below(most: int) -> None:
    for answer in range(most + 1):
        for start in range(answer + 1):
            assert _least(lambda number, answer=answer: number >= answer, start, most) == answer  # type: ignore[misc]


def test_few_measurements_far_from_the_end() -> None:
    seen: list[int] = []
    assert _least(lambda number: seen.append(number) or number >= 3, 0, 1000) == 3  # type: ignore[func-returns-value]
    assert max(seen) < 10


def test_none_holds() -> None:
    assert _least(lambda number: False, 0, 7) == 7


@pytest.mark.parametrize("name", ["a.b", "a[0]", "a*b", "a?b", "[", "]", "a]b["])
def test_a_pattern_for_one_name(name: str) -> None:
    assert fnmatchcase(name, literal(name))
    assert not fnmatchcase(name + "x", literal(name))


def test_the_fragment_is_a_recipe(tmp_path: object) -> None:
    from pathlib import Path

    base = Recipe.model_validate({"preprocess": {"color": "bgr", "scale": 1.0}, "precision": {"keep": ["stem.*"]}})
    path = Path(str(tmp_path)) / "tuned.yaml"
    path.write_text(fragment(base, Tuned("mAP", keep=["a[0]", "b"]), "how"))
    read = load(path)
    assert set(read.precision.keep) == {"stem.*", literal("a[0]"), "b"}
    assert read.preprocess == base.preprocess
