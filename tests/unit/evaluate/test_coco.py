"""Average precision from our own sums, against pycocotools; and what chance does to a difference."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trtforge.errors import ForgeError
from trtforge.evaluate import average_precision, bootstrap, coco
from trtforge.evaluate.detections import Objects

IMAGES = [f"{number}.jpg" for number in range(40)]
CATEGORIES = (1, 2, 3, 9)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> coco.Truth:
    rng = np.random.default_rng(0)
    annotations = [
        {
            "image_id": image,
            "category_id": int(rng.choice(CATEGORIES[:3])),
            "iscrowd": int(rng.random() < 0.1),
            "bbox": [float(value) for value in rng.random(4) * [400, 400, 100, 100] + [0, 0, 5, 5]],
        }
        for image in range(len(IMAGES))
        for _ in range(rng.integers(0, 8))
    ]
    path = tmp_path_factory.mktemp("coco") / "labels.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": number, "file_name": name} for number, name in enumerate(IMAGES)],
                "annotations": annotations,
                "categories": [{"id": number} for number in CATEGORIES],
            }
        )
    )
    return coco.read(path, IMAGES)


def guesses(truth: coco.Truth, seed: int, jitter: float = 6.0) -> dict[str, Objects]:
    """Three attempts at each object, some of equal score."""
    rng = np.random.default_rng(seed)
    found = {}
    for number, name in enumerate(IMAGES):
        here = [each for each in truth.dataset["annotations"] if each["image_id"] == number] * 3
        boxes = np.array([each["bbox"] for each in here]).reshape(-1, 4) + rng.normal(
            0, jitter, (len(here), 4)
        )
        boxes[:, 2:] = boxes[:, :2] + np.abs(boxes[:, 2:])
        scores = rng.random(len(here)).round(2)
        classes = np.array([truth.categories.index(each["category_id"]) for each in here], np.int64)
        order = np.argsort(-scores)
        found[name] = Objects(boxes[order], scores[order], classes[order])
    return found


def by_pycocotools(truth: coco.Truth, found: dict[str, Objects]) -> tuple[float, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results: list[dict[str, Any]] = [
        {
            "image_id": truth.ids[name],
            "category_id": truth.categories[int(label)],
            "score": float(score),
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
        }
        for name, each in found.items()
        for box, score, label in zip(each.boxes, each.scores, each.classes, strict=True)
    ]
    known = COCO()
    known.dataset = truth.dataset
    with contextlib.redirect_stdout(io.StringIO()):
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


LABELS: dict[str, Any] = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
    "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}],
}
RIGHT = {"image_id": 7, "category_id": 2, "bbox": [10, 20, 30, 40]}


def written(path: Path, *annotations: Any, **more: Any) -> Path:
    path.write_text(json.dumps({**LABELS, "annotations": annotations, **more}))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bbox": [1, 2, 3]}, "bbox .* is not a box"),
        ({"bbox": [1, 2, float("nan"), 4]}, "bbox .* is not a box"),
        ({"bbox": [1, 2, 3, -4]}, "bbox .* is not a box"),
        ({"bbox": None}, "not a COCO annotation"),
        ({"bbox": 3}, "not a COCO annotation"),
        ({"category_id": None}, "not a COCO annotation"),
        ({"category_id": 3}, "category 3"),
        ({"image_id": "seven"}, "not a COCO annotation"),
        ({"image_id": 7.5}, "not a COCO annotation"),
        ({"image_id": float("inf")}, "not a COCO annotation"),
        ({"iscrowd": "x"}, "not a COCO annotation"),
    ],
)
def test_an_annotation_that_can_not_be_right_is_named(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ForgeError, match=rf"labels.json: annotations\[1\]: {words}"):
        coco.read(written(tmp_path / "labels.json", RIGHT, {**RIGHT, **change}), ["a.jpg"])


def test_labels_that_hold_nothing_to_measure(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    with pytest.raises(ForgeError, match="no object"):
        coco.read(written(path), ["a.jpg"])
    with pytest.raises(ForgeError, match="no object"):
        coco.read(written(path, RIGHT), ["b.jpg"])
    with pytest.raises(ForgeError, match="every box") as refused:
        coco.read(written(path, {**RIGHT, "bbox": [0.1, 0.2, 0.3, 0.4]}), ["a.jpg"])
    assert "pixels" in refused.value.hint


def test_ids_as_strings_are_read_as_numbers(tmp_path: Path) -> None:
    objects = Objects(np.array([[10.0, 20, 40, 60]]), np.array([0.9]), np.array([1]))
    annotation = {**RIGHT, "image_id": "7", "category_id": "2"}
    categories = [{"id": "1", "name": "car"}, {"id": "2", "name": "dog"}]
    images = [{"id": "7", "file_name": "a.jpg"}]
    path = written(tmp_path / "labels.json", annotation, images=images, categories=categories)
    truth = coco.read(path, ["a.jpg"])
    assert truth.names == ["car", "dog"]
    assert average_precision.match(
        truth, {"a.jpg": objects}
    ).mean_average_precision() == pytest.approx((1, 1))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_is_what_pycocotools_says(truth: coco.Truth, seed: int) -> None:
    found = guesses(truth, seed)
    assert average_precision.match(truth, found).mean_average_precision() == pytest.approx(
        by_pycocotools(truth, found), abs=1e-9
    )


def test_a_weight_of_two_is_the_image_twice(truth: coco.Truth) -> None:
    matches = average_precision.match(truth, guesses(truth, 1))
    part = coco.subset(truth, IMAGES[:20])
    of_part = average_precision.match(part, {name: guesses(truth, 1)[name] for name in IMAGES[:20]})
    weights = np.where(np.arange(len(IMAGES)) < 20, 2.0, 0.0)
    assert matches.mean_average_precision(weights) == pytest.approx(
        of_part.mean_average_precision(), abs=1e-9
    )


def test_nothing_found_and_nothing_to_find(truth: coco.Truth) -> None:
    nothing = Objects(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    assert average_precision.match(
        truth, dict.fromkeys(IMAGES, nothing)
    ).mean_average_precision() == (0.0, 0.0)
    empty = coco.from_objects(dict.fromkeys(IMAGES, nothing), classes=3)
    assert average_precision.match(empty, guesses(truth, 1)).mean_average_precision() == (0.0, 0.0)


def test_found_objects_as_truth_find_themselves(truth: coco.Truth) -> None:
    found = {name: each.above(0.5) for name, each in guesses(truth, 1, jitter=0.0).items()}
    own = coco.from_objects(found, classes=len(CATEGORIES))
    assert average_precision.match(own, found).mean_average_precision() == pytest.approx((1.0, 1.0))


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    lost = np.random.default_rng(0).normal(2.0, 5.0, 400)
    low, high = bootstrap.interval(lambda counts: float(counts @ lost) / len(lost), len(lost))
    assert low == pytest.approx(lost.mean() - 1.96 * 5 / 20, abs=0.15)
    assert high == pytest.approx(lost.mean() + 1.96 * 5 / 20, abs=0.15)
    assert (low, high) == bootstrap.interval(
        lambda counts: float(counts @ lost) / len(lost), len(lost)
    )
