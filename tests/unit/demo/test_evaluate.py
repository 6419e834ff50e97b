"""The independent evaluation: letterbox geometry, suppression, and a perfect detector scores 1."""

import json
import sys
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")

DEMO = Path(__file__).resolve().parents[3] / "recipes" / "demo"
sys.path.insert(0, str(DEMO))

import evaluate  # noqa: E402


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), (1.0, 0, 80)),
        ((480, 640), (1.0, 80, 0)),
        ((640, 640), (1.0, 0, 0)),
        ((1280, 720), (0.5, 0, 140)),
    ],
)
def test_letterbox_pads_both_sides_with_black(size, expected):
    canvas, scale, left, top = evaluate.letterbox(Image.new("RGB", size, (200, 10, 30)))
    assert (scale, left, top) == expected
    inside = canvas[top : 640 - top, left : 640 - left]
    assert (inside == (200, 10, 30)).all()
    assert int(canvas.sum()) == int(inside.sum())  # nothing but black outside


def test_suppress_keeps_the_best_of_overlapping_boxes():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], float)
    assert evaluate.suppress(boxes, np.array([0.5, 0.9, 0.1])) == [1, 2]


def test_perfect_detections_score_one(tmp_path):
    pytest.importorskip("pycocotools")
    labels = {
        "images": [{"id": 0, "file_name": "a.png", "width": 1280, "height": 720}],
        "annotations": [
            {
                "id": 1,
                "image_id": 0,
                "category_id": 0,
                "bbox": [100, 60, 80, 40],
                "area": 3200,
                "iscrowd": 0,
            },
            {
                "id": 2,
                "image_id": 0,
                "category_id": 1,
                "bbox": [600, 300, 20, 90],
                "area": 1800,
                "iscrowd": 0,
            },
        ],
        "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    Image.new("RGB", (1280, 720)).save(tmp_path / "a.png")
    output = np.zeros((1, 6, 8400), np.float32)
    for column, a in enumerate(labels["annotations"]):
        x, y, w, h = a["bbox"]
        output[0, :4, column] = (x + w / 2) / 2, (y + h / 2) / 2 + 140, w / 2, h / 2
        output[0, 4 + a["category_id"], column] = 0.9
    assert evaluate.evaluate(lambda images: output, tmp_path) == pytest.approx((1.0, 1.0))
