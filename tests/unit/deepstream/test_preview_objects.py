"""nvinfer's rules, each written out by hand for a few boxes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trtforge.calibration.images import Fit, fit
from trtforge.deepstream.preview.objects import BELOW, Found, cluster, raw_heads, tf_ssd, to_frame
from trtforge.deepstream.preview.settings import NMS, NONE, ClassAttributes, Settings
from trtforge.errors import ForgeError
from trtforge.graph.detection import Detection, Geometry
from trtforge.recipe import Preprocess

SIZE = (100, 200)  # height, width


def found(*rows: tuple[int, float, float, float, float, float]) -> Found:
    """Rows of class, score, left, top, width, height."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Found(table[:, 2:], table[:, 1], table[:, 0].astype(np.int64))


def listed(objects: Found) -> list[tuple[int, float]]:
    return [
        (int(label), round(float(score), 4))
        for label, score in zip(objects.classes, objects.scores, strict=True)
    ]


def settings(**changes: Any) -> Settings:
    plain = Settings(
        Path("m.onnx"),
        None,
        None,
        Preprocess(),
        False,
        "",
        NONE,
        (ClassAttributes(),) * 3,
        frozenset(),
        False,
    )
    return replace(plain, **changes)


# ------------------------------------------------------------------------------------------------
# stock parser


def ssd(boxes: Any, scores: Any, classes: Any) -> dict[str, np.ndarray]:
    return {
        "detection_boxes": np.array(boxes, np.float32),
        "detection_scores": np.array(scores, np.float32),
        "detection_classes": np.array(classes, np.float32),
    }


def test_shares_of_the_input_become_pixels() -> None:
    objects = tf_ssd(ssd([[0.1, 0.2, 0.5, 0.4]], [0.9], [1]), SIZE, np.full(2, 0.5))
    np.testing.assert_allclose(objects.boxes, [[40, 10, 40, 40]], rtol=1e-6)
    assert listed(objects) == [(1, 0.9)]


def test_corners_are_clipped_to_the_last_pixel() -> None:
    objects = tf_ssd(ssd([[-0.5, -1, 2, 2]], [0.9], [0]), SIZE, np.full(1, 0.5))
    np.testing.assert_array_equal(objects.boxes, [[0, 0, 199, 99]])


@pytest.mark.parametrize("box", [[0.5, 0.5, 0.5, 0.9], [0.9, 0.5, 0.5, 0.9], [1.1, 1.1, 1.4, 1.4]])
def test_empty_boxes_are_dropped(box: list[float]) -> None:
    assert listed(tf_ssd(ssd([box], [0.9], [0]), SIZE, np.full(1, 0.5))) == []


def test_each_class_has_its_threshold_and_others_are_dropped() -> None:
    outputs = ssd([[0, 0, 1, 1]] * 5, [0.5, 0.3, 0.3, 0.9, 0.0], [0, 0, 1, 2, 1])
    assert listed(tf_ssd(outputs, SIZE, np.array([0.5, 0.3]))) == [(0, 0.5), (1, 0.3)]


def test_numbers_of_detections() -> None:
    outputs = ssd([[0, 0, 1, 1]] * 3, [0.9] * 3, [0] * 3)
    thresholds = np.full(1, 0.5)
    for count, want in ((2.0, 2), (9.0, 3), (-1.0, 0)):
        assert (
            len(
                tf_ssd(
                    {**outputs, "num_detections": np.array([count], np.float32)}, SIZE, thresholds
                ).scores
            )
            == want
        )
    assert (
        len(tf_ssd({**outputs, "num_detections": np.array([1], np.int32)}, SIZE, thresholds).scores)
        == 3
    )


@pytest.mark.parametrize("name", ["detection_boxes", "detection_scores", "detection_classes"])
def test_an_output_of_another_type_is_not_found(name: str) -> None:
    outputs = ssd([[0, 0, 1, 1]], [0.9], [0])
    for wrong in (
        {**outputs, name: outputs[name].astype(np.int32)},
        {k: v for k, v in outputs.items() if k != name},
    ):
        with pytest.raises(ForgeError, match=name):
            tf_ssd(wrong, SIZE, np.full(1, 0.5))


# ---------------------------------------------------------------------------------------------------
# raw heads


def test_raw_heads_clip_and_score() -> None:
    detection = Detection("objectness", ("o",), (2,), Geometry(), 3, 2, SIZE, "")
    rows = np.array(
        [[50, 50, 20, 10, 0.5, 0.8, 0.9], [0, 0, 20, 20, 1, 0.4, 0], [50, 50, -4, 3, 1, 1, 1]],
        np.float32,
    )
    objects = raw_heads({"o": rows}, detection, SIZE, np.array([0.4, 0.5]))
    assert listed(objects) == [(0, 0.4), (0, 0.4)]
    np.testing.assert_array_equal(objects.boxes, [[40, 45, 20, 10], [0, 0, 10, 10]])


# --------------------------------------------------------------------------------------------------
# clustering


def test_nms_is_by_class_and_keeps_the_limit_itself() -> None:
    half = (0, 0.8, 0, 0, 10, 5)  # IoU 0.5 with the first
    objects = found((0, 0.9, 0, 0, 10, 10), half, (1, 0.7, 0, 0, 10, 10))
    assert listed(cluster(objects, [ClassAttributes(iou=0.5)] * 2, NMS)) == [
        (0, 0.9),
        (0, 0.8),
        (1, 0.7),
    ]
    assert listed(cluster(objects, [ClassAttributes(iou=0.49)] * 2, NMS)) == [(0, 0.9), (1, 0.7)]


def test_a_box_that_was_suppressed_suppresses_none() -> None:
    objects = found((0, 0.7, 8, 0, 10, 10), (0, 0.9, 0, 0, 10, 10), (0, 0.8, 4, 0, 10, 10))
    assert listed(cluster(objects, [ClassAttributes(iou=0.3)], NMS)) == [(0, 0.9), (0, 0.7)]


def test_nms_agrees_with_onnxruntime() -> None:
    """Two implementations of one rule, on random boxes: ONNX Runtime's operator compares strictly,
    too.
    """
    import onnxruntime as ort
    from onnx import TensorProto, helper

    rng = np.random.default_rng(4)
    low = rng.uniform(0, 80, (300, 2)).astype(np.float32)
    boxes = np.concatenate([low, rng.uniform(5, 40, (300, 2)).astype(np.float32)], 1)
    scores = rng.permutation(np.linspace(0.1, 0.9, 300)).astype(np.float32)
    limits = [
        helper.make_tensor(*each)
        for each in (("k", 7, [], [300]), ("i", 1, [], [0.4]), ("s", 1, [], [0.2]))
    ]
    node = helper.make_node("NonMaxSuppression", ["b", "c", "k", "i", "s"], ["o"])
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "bc"]
    graph = helper.make_graph(
        [node], "g", inputs, [helper.make_tensor_value_info("o", 7, [None, 3])], limits
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    kept = session.run(None, {"b": corners[None], "c": scores[None, None]})[0][:, 2]
    ours = cluster(
        Found(boxes, scores, np.zeros(300, np.int64)), [ClassAttributes(0.2, iou=0.4)], NMS
    )
    assert 20 < len(kept) < 250
    np.testing.assert_array_equal(ours.scores, scores[kept])


def test_thresholds_of_clustering() -> None:
    apart = [
        (0, score, 20.0 * number, 0, 10, 10) for number, score in enumerate((0.5, 0.3, 0.9, 0.29))
    ]
    attributes = ClassAttributes(pre_cluster=0.3, post_cluster=0.5)
    # A score equal to the threshold is dropped.
    assert listed(cluster(found(*apart), [attributes], NMS)) == [(0, 0.9)]
    # Without clustering, the order of the boxes stays.
    assert listed(cluster(found(*apart), [attributes], NONE)) == [(0, 0.5), (0, 0.3), (0, 0.9)]


@pytest.mark.parametrize("mode", [NMS, NONE])
def test_topk_is_by_class(mode: int) -> None:
    objects = found(
        *[
            (label, score, 20 * number, 0, 10, 10)
            for number, (label, score) in enumerate(
                [(1, 0.5), (0, 0.3), (1, 0.6), (0, 0.4), (1, 0.7)]
            )
        ]
    )
    classes = [ClassAttributes(), ClassAttributes(topk=2)]
    want = [(0, 0.4), (0, 0.3)] if mode == NMS else [(0, 0.3), (0, 0.4)]
    assert listed(cluster(objects, classes, mode)) == [*want, (1, 0.7), (1, 0.6)]
    assert listed(cluster(objects, [ClassAttributes(topk=0)] * 2, mode)) == []


def test_classes_that_are_not_configured_are_dropped() -> None:
    assert listed(
        cluster(found((3, 0.9, 0, 0, 5, 5), (1, 0.9, 0, 0, 5, 5)), [ClassAttributes()] * 2, NONE)
    ) == [(1, 0.9)]
    assert listed(cluster(found(), [ClassAttributes()], NMS)) == []


# -------------------------------------------------------------------------------------------------------
# frame

WIDE = fit(50, 200, SIZE, "symmetric")  # a frame of 200x50 with 25 rows of bars above and below


def test_pixels_of_the_frame() -> None:
    place = Fit(height=50, width=100, top=0, left=50)
    shown, dropped = to_frame(found((0, 0.9, 60, 10, 20, 15)), place, (200, 400), settings())
    np.testing.assert_allclose(shown.boxes, [[40, 40, 80, 60]])
    assert not dropped


def test_a_box_over_the_top_is_moved_down_with_its_height() -> None:
    shown, _ = to_frame(found((0, 0.9, -3, 20, 30, 15)), WIDE, (50, 200), settings())
    np.testing.assert_allclose(shown.boxes, [[0, 0, 30, 15]])


def test_a_box_that_reaches_below_the_frame_is_dropped_or_cut() -> None:
    objects = found((0, 0.9, 10, 60, 30, 16), (0, 0.8, 10, 60, 30, 15))
    shown, dropped = to_frame(objects, WIDE, (50, 200), settings())
    assert listed(shown) == [(0, 0.8)]
    assert dropped == {BELOW: 1}
    shown, dropped = to_frame(objects, WIDE, (50, 200), settings(crop=True))
    assert not dropped
    np.testing.assert_allclose(shown.boxes, [[10, 35, 30, 15]] * 2)


def test_a_box_beyond_the_right_edge_stays_or_is_cut() -> None:
    objects = found((0, 0.9, 190, 30, 30, 15))
    for crop, want in ((False, 30), (True, 10)):
        shown, _ = to_frame(objects, WIDE, (50, 200), settings(crop=crop))
        assert shown.boxes[0, 2] == want


def test_offsets_of_a_region() -> None:
    classes = (ClassAttributes(roi_top=10, roi_bottom=5),) * 3
    objects = found((0, 0.9, 0, 30, 10, 10), (1, 0.8, 0, 40, 10, 10), (2, 0.7, 0, 40, 10, 31))
    shown, dropped = to_frame(objects, WIDE, (50, 200), settings(classes=classes))
    assert listed(shown) == [(1, 0.8)]
    assert sum(dropped.values()) == 2
    shown, _ = to_frame(objects, WIDE, (50, 200), settings(classes=classes, crop=True))
    np.testing.assert_allclose(shown.boxes[:, 1], [10, 15, 15])
    np.testing.assert_allclose(shown.boxes[:, 3], [10, 10, 30])


def test_sizes_and_hidden_classes() -> None:
    classes = (
        ClassAttributes(min_width=5, min_height=6),
        ClassAttributes(max_width=20, max_height=10),
    )
    objects = found(
        (0, 0.9, 0, 30, 4, 10),
        (0, 0.8, 0, 30, 10, 5),
        (0, 0.7, 0, 30, 5, 6),
        (1, 0.6, 0, 30, 21, 5),
        (1, 0.5, 0, 30, 5, 11),
        (1, 0.4, 0, 30, 20, 10),
    )
    shown, dropped = to_frame(objects, WIDE, (50, 200), settings(classes=classes))
    assert listed(shown) == [(0, 0.7), (1, 0.4)]
    assert sorted(dropped.values()) == [2, 2]
    shown, dropped = to_frame(
        objects, WIDE, (50, 200), settings(classes=classes, hidden=frozenset({0}))
    )
    assert listed(shown) == [(1, 0.4)]
    assert sorted(dropped.values()) == [2, 3]
