"""The search, on curves whose answer is known; the rest of tune runs in tests/integration."""

from __future__ import annotations

from fnmatch import fnmatchcase
from xml.etree import ElementTree as ET

import pytest

from trtforge.evaluate.variant import escape_pattern
from trtforge.recipe import Recipe, load
from trtforge.reporting import svg
from trtforge.tuning import Trial, Tuned, _smallest, fragment
from trtforge.tuning import picture as tune_picture


@pytest.mark.parametrize("most", [0, 1, 5, 40])
def test_the_least_number_is_found_from_anywhere_below(most: int) -> None:
    for answer in range(most + 1):
        for start in range(answer + 1):
            assert _smallest(lambda number, answer=answer: number >= answer, start, most) == answer  # type: ignore[misc]


def test_few_measurements_far_from_the_end() -> None:
    seen: list[int] = []
    assert _smallest(lambda number: seen.append(number) or number >= 3, 0, 1000) == 3  # type: ignore[func-returns-value]
    assert max(seen) < 10


def test_none_holds() -> None:
    assert _smallest(lambda number: False, 0, 7) == 7


@pytest.mark.parametrize("name", ["a.b", "a[0]", "a*b", "a?b", "[", "]", "a]b["])
def test_a_pattern_for_one_name(name: str) -> None:
    assert fnmatchcase(name, escape_pattern(name))
    assert not fnmatchcase(name + "x", escape_pattern(name))


def test_the_fragment_is_a_recipe(tmp_path: object) -> None:
    from pathlib import Path

    base = Recipe.model_validate(
        {"preprocess": {"color": "bgr", "scale": 1.0}, "precision": {"keep": ["stem.*"]}}
    )
    path = Path(str(tmp_path)) / "tuned.yaml"
    path.write_text(fragment(base, Tuned("mAP", keep=["a[0]", "b"]), "how"))
    read = load(path)
    assert set(read.precision.keep) == {"stem.*", escape_pattern("a[0]"), "b"}
    assert read.preprocess == base.preprocess


def test_the_picture_shows_every_trial_the_front_and_the_budget() -> None:
    tuned = Tuned(
        "mAP50-95",
        keep=["a", "b"],
        share=0.9,
        drop=0.2,
        interval=(-0.1, 0.5),
        trials=[Trial(0, 1.0, 0.8), Trial(1, 0.97, 0.9), Trial(2, 0.9, 0.2), Trial(4, 0.5, 0.1)],
        judged=[Trial(1, 0.97, 0.7), Trial(2, 0.9, 0.2)],
    )
    root = ET.fromstring(tune_picture.render(tuned, 0.3, "<script>.onnx"))
    shapes = {
        kind: list(root.iter(f"{{{svg.NAMESPACE}}}{kind}"))
        for kind in ("circle", "polyline", "text")
    }
    dots = [each for each in shapes["circle"] if "dot" in each.get("class", "")]
    assert len(dots) == 6
    front, budget = (
        next(each for each in shapes["polyline"] if kind in each.get("class", ""))
        for kind in ("front", "mark")
    )
    assert len(front.get("points", "").split()) == 3  # one operator float is worse than none
    level = {corner.split(",")[1] for corner in budget.get("points", "").split()}
    lost = {each[0].text: float(each.get("cy", "")) for each in dots}
    assert len(level) == 1
    below = [title for title, y in lost.items() if y > float(min(level))]
    assert {title.rsplit(": ")[1] for title in map(str, below)} == {
        f"{drop} points lost" for drop in ("0.80", "0.90", "0.70")
    }
    said = [each.text for each in shapes["text"]]
    assert {"budget: 0.3 points", "chosen", "<script>.onnx: mixed precision"} <= set(said)


def test_a_picture_of_one_trial() -> None:
    tuned = Tuned("top-1", share=1.0, trials=[Trial(0, 1.0, 0.0)], judged=[Trial(0, 1.0, 0.0)])
    ET.fromstring(tune_picture.render(tuned, 0.0, "m.onnx"))
