"""Recipes with the user's options above them."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtforge.api.recipes import check_nms, load_recipe
from trtforge.errors import ForgeError
from trtforge.options.nms import Nms


@pytest.mark.parametrize("form", ["none", "keep"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("nms-impl", "onnx"),
        ("score", 0.5),
        ("score", 0.0),
        ("max-det", 1),
        ("class-agnostic", True),
    ],
)
def test_options_of_an_nms_that_is_not_put_in(form: str, option: str, value: object) -> None:
    check_nms("onnx", {option: value})
    with pytest.raises(ForgeError, match=f"--{option} has no effect with --nms {form}"):
        check_nms(form, {"iou": None, "class-agnostic": False, option: value})


def test_the_command_line_is_above_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("labels: [a]\nnms: {score: 0.5, iou: 0.6, max_det: 7, class_agnostic: true}\n")
    found = load_recipe(path, nms=Nms(score=0.0), labels=tmp_path / "names.txt")
    assert (found.nms.score, found.nms.iou, found.nms.max_det, found.nms.class_agnostic) == (
        0.0,
        0.6,
        7,
        True,
    )
    assert found.labels == tmp_path / "names.txt"


def test_labels_in_a_recipe_stay_names(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("labels: [a, b]\n")
    assert load_recipe(tmp_path / "r.yaml").labels == ("a", "b")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("score", 1.0),
        ("score", -0.1),
        ("iou", 0.0),
        ("iou", 1.1),
        ("max_det", 0),
        ("max_det", 9999),
    ],
)
def test_values_out_of_range_name_the_option(option: str, value: float) -> None:
    with pytest.raises(ForgeError, match=f"--{option.replace('_', '-')}: input should be"):
        load_recipe(None, nms=Nms(**{option: value}))  # type: ignore[arg-type]
