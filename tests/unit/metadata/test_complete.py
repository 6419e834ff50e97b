"""Recipes stand above what files say, and that above what graphs show."""

from __future__ import annotations

import re

import pytest

from trtforge.metadata import (
    Completed,
    Entry,
    Metadata,
    Normalization,
    by_metadata,
    by_structure,
    complete_nms,
    from_recipe,
    parse,
)
from trtforge.metadata.check import contradictions
from trtforge.metadata.complete import describe
from trtforge.recipe import Nms, Preprocess

STATED = Metadata(
    size=Entry((320, 320), "imgsz"),
    normalization=Entry(Normalization(1.0, (1.0, 2.0, 3.0)), "mean"),
    color=Entry("bgr", "format"),
    letterbox=Entry("none", "head"),
)


def test_the_file_says_what_the_recipe_leaves_open() -> None:
    found = by_metadata(from_recipe(Preprocess()), STATED)
    assert found.preprocess == Preprocess(
        size=(320, 320), scale=1.0, offsets=(1.0, 2.0, 3.0), color="bgr", letterbox="none"
    )
    assert describe(found) == {
        "size": "320x320 (imgsz in the file's metadata)",
        "normalization": "1 * (pixel - 1, 2, 3) (mean in the file's metadata)",
        "color": "BGR (format in the file's metadata)",
        "letterbox": "stretched (head in the file's metadata)",
    }


@pytest.mark.parametrize(
    ("own", "part"),
    [
        (Preprocess(size=(64, 64)), "size"),
        (Preprocess(scale=0.5), "normalization"),
        (Preprocess(scale=1 / 255), "normalization"),
        (Preprocess(color="rgb"), "color"),
        (Preprocess(letterbox="symmetric"), "letterbox"),
    ],
)
def test_the_recipe_stands_above_the_file(own: Preprocess, part: str) -> None:
    found = by_metadata(from_recipe(own), STATED)
    changed = {key: getattr(found.preprocess, key) for key in own.model_fields_set}
    assert changed == own.model_dump(exclude_unset=True)
    assert found.origins[part] == "the recipe"


def test_detectors_by_queries() -> None:
    assert by_structure(Completed(), "anchor-free", 16) == Completed()
    stretched = by_structure(Completed(), "queries", None)
    assert stretched.preprocess == Preprocess(letterbox="none")
    imagenet = by_structure(Completed(), "queries", 14).preprocess
    assert imagenet.std == (0.229, 0.224, 0.225)
    own = by_structure(from_recipe(Preprocess(scale=1.0, letterbox="symmetric")), "queries", 14)
    assert own.preprocess == Preprocess(scale=1.0, letterbox="symmetric")


@pytest.mark.parametrize(
    ("stated", "line"),
    [
        (Metadata(size=Entry((320, 320), "imgsz")), "imgsz .* says 320x320, .* has 64x64"),
        (Metadata(unread=("names",)), "names .* can't be read"),
        (Metadata(channels=Entry(1, "channels")), "channels .* says 1, .* has 3"),
        (Metadata(batch=Entry(4, "batch")), "batch .* says 4, .* has 1"),
        (Metadata(stride=Entry(48, "stride")), "64x64 is no multiple of 48"),
        (Metadata(task=Entry("classify", "task")), "task .* says classify, .* detector's"),
        (Metadata(end2end=Entry(True, "end2end")), "end2end .* says True, .* anchor-free"),
    ],
)
def test_what_the_graph_denies(stated: Metadata, line: str) -> None:
    found = contradictions(stated, (1, 3, 64, 64), (64, 64), "anchor-free")
    assert len(found) == 1
    assert re.search(line, found[0])


def test_what_the_graph_agrees_with() -> None:
    stated = Metadata(
        size=Entry((64, 64), "imgsz"),
        channels=Entry(3, "channels"),
        batch=Entry(1, "batch"),
        stride=Entry(32, "stride"),
        task=Entry("pose", "task"),
        end2end=Entry(False, "end2end"),
    )
    assert contradictions(stated, (1, 3, 64, 64), (64, 64), "anchor-free") == []
    assert contradictions(stated, ("batch", 3, "h", "w"), (64, 64), None) == []
    assert contradictions(stated, None, None, None) == []


def test_ultralytics_takes_the_best_class_of_a_box() -> None:
    stated = parse({"author": "Ultralytics"})
    assert complete_nms(Nms(), stated).best_class is True
    assert complete_nms(Nms(best_class=False), stated).best_class is False
    assert complete_nms(Nms(), parse({"author": "somebody"})).best_class is None
    kept = complete_nms(Nms(score=0.1), stated)
    assert (kept.score, kept.iou) == (0.1, Nms().iou)
