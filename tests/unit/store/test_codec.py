"""Records into JSON, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from trtforge import recipe as recipes
from trtforge.recipe import Recipe
from trtforge.store import OMIT_NONE, from_json, to_json


@dataclass(frozen=True)
class Inner:
    shape: tuple[int | str, ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str = ""
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    figures: dict[str, float] = field(default_factory=dict)
    shown: int | None = None
    hidden: int | None = field(default=None, metadata=OMIT_NONE)


FULL = Outer("x", Inner((1, "batch")), (Inner(), Inner((3,))), {"a": 0.5}, 1, 2)


def test_what_is_written_is_read() -> None:
    assert from_json(Outer, json.loads(json.dumps(to_json(FULL)))) == FULL
    assert from_json(Outer, {}) == Outer()


def test_fields_keep_their_order_and_some_are_left_out() -> None:
    assert list(to_json(FULL)) == ["name", "inner", "many", "figures", "shown", "hidden"]
    assert list(to_json(Outer())) == ["name", "inner", "many", "figures", "shown"]


def test_unknown_keys_are_ignored() -> None:
    assert from_json(Outer, {"name": "x", "new": 1}) == Outer("x")


@pytest.mark.parametrize("content", [{"many": 3}, {"inner": "x"}, [], None, {"shown": "many"}])
def test_content_of_another_form_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="Outer"):
        from_json(Outer, content)


def test_values_without_a_form_are_refused() -> None:
    with pytest.raises(TypeError, match="object has no form in JSON"):
        to_json(Outer(figures={"a": object()}))  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="no form in JSON"):
        to_json(3)


@pytest.mark.parametrize("name", recipes.names())
def test_models_are_written_as_pydantic_writes_them(name: str) -> None:
    recipe = recipes.load(recipes.find(name))
    assert to_json(recipe) == recipe.model_dump(mode="json")
    assert from_json(Recipe, to_json(recipe)) == recipe


def test_paths_are_text() -> None:
    @dataclass(frozen=True)
    class Place:
        path: Path = Path("a/b")

    assert to_json(Place()) == {"path": "a/b"}
