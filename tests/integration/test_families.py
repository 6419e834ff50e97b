"""Every family: recognised, decoded and patched, against NumPy from the image on."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from tests.families import FAMILIES, QUERIES, Family, Reference
from tests.models import CLASSES, SIDE, images, run
from trtforge.errors import ForgeError
from trtforge.graph.detection import Detection, corners_of, decode, looks_like, recognise
from trtforge.graph.nms import OUTPUTS, STOCK_PARSER, NmsForm, NmsOptions, apply
from trtforge.graph.nms.exchange import exchange_plugin
from trtforge.recipe import Decode

OPTIONS = NmsOptions(score=0.3, iou=0.4, max_det=60)


@cache
def reference(name: str, batch: int) -> Reference:
    return FAMILIES[name].decode(images(batch).astype(np.float64))


def graph_of(name: str, batch: Any = "batch") -> gs.Graph:
    return gs.import_onnx(FAMILIES[name].build(batch))


def told(family: Family) -> tuple[str | None, Decode | None]:
    return (
        (None, None)
        if family.figures is None
        else (family.form, Decode.model_validate(family.figures))
    )


def detection_of(name: str, graph: gs.Graph) -> Detection:
    found = recognise(graph, *told(FAMILIES[name]))
    assert found is not None
    return found


# --------------------------------------------------------------------------------------- the
# reference's NMS


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:4], other[2:4])
    common = float(np.prod(np.maximum(high - low, 0)))
    return common / (
        float(np.prod(one[2:4] - one[:2])) + float(np.prod(other[2:4] - other[:2])) - common
    )


def turned_overlap(one: np.ndarray, other: np.ndarray) -> float:
    """1 minus the Hellinger distance of two Gaussians with the boxes' covariances, by linear
    algebra.
    """

    def gaussian(box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turn = np.array([[np.cos(box[4]), -np.sin(box[4])], [np.sin(box[4]), np.cos(box[4])]])
        return (box[:2] + box[2:4]) / 2, turn @ np.diag((box[2:4] - box[:2]) ** 2 / 12) @ turn.T

    (at, spread), (there, other_spread) = gaussian(one), gaussian(other)
    both, apart = (spread + other_spread) / 2, at - there
    bhattacharyya = apart @ np.linalg.solve(both, apart) / 8 + 0.5 * np.log(
        np.linalg.det(both) / np.sqrt(np.linalg.det(spread) * np.linalg.det(other_spread))
    )
    return float(1 - np.sqrt(1 - np.exp(-bhattacharyya)))


def suppressed(
    boxes: np.ndarray, scores: np.ndarray, options: NmsOptions, suppress: bool, best: bool
) -> list[Any]:
    """(score, class, box) of one image, best first.

    A turned box that another hid still hides others, as in Ultralytics' own suppression; an upright
    one does not.
    """
    pairs = [(float(scores[i, c]), c, i) for i in range(len(boxes)) for c in range(scores.shape[1])]
    if best or options.class_agnostic:
        pairs = [(float(scores[i].max()), int(scores[i].argmax()), i) for i in range(len(boxes))]
    turned = boxes.shape[1] == 5
    measure = turned_overlap if turned else overlap
    kept: list[Any] = []
    above: list[Any] = []
    for score, label, i in sorted(pairs, reverse=True):
        if score <= options.score or len(kept) == options.max_det:
            break
        better = above if turned else kept
        rivals = [k for k in better if options.class_agnostic or k[1] == label] if suppress else []
        above.append((score, label, i))
        if all(measure(boxes[i], boxes[k[2]]) <= options.iou for k in rivals):
            kept.append((score, label, i))
    return kept


def check(got: dict[str, np.ndarray], name: str, batch: int, options: NmsOptions) -> list[int]:
    """Every image's detections are the reference's, in order; how many there are."""
    family, (boxes, scores, extras) = FAMILIES[name], reference(name, batch)
    turned = np.concatenate([boxes, extras["angle"]], -1) if "angle" in extras else boxes
    if family.form == "ranked":  # the model gives no more
        options = NmsOptions(
            options.score, options.iou, min(options.max_det, QUERIES), options.class_agnostic
        )
    counts = []
    for image in range(batch):
        best = family.best or (bool(options.best_class) and family.form != "ranked")
        want = suppressed(turned[image], scores[image], options, family.suppress, best)
        count, rows = len(want), [i for _, _, i in want]
        counts.append(count)
        assert got["num_detections"][image].tolist() == [count]
        np.testing.assert_allclose(
            got["detection_scores"][image, :count], [w[0] for w in want], atol=1e-5
        )
        assert got["detection_classes"][image, :count].tolist() == [w[1] for w in want]
        np.testing.assert_allclose(
            got["detection_boxes"][image, :count], boxes[image, rows], rtol=1e-4, atol=2e-3
        )
        for extra in family.extra:
            values = got[f"detection_{extra}"][image]
            np.testing.assert_allclose(
                values[:count], extras[extra][image, rows], rtol=1e-4, atol=2e-3
            )
            assert not values[count:].any()
        assert not any(got[each][image, count:].any() for each in OUTPUTS[1:])
    return counts


# -----------------------------------------------------------------------------------------------
# recognised


@pytest.mark.parametrize(
    "name", [name for name, family in FAMILIES.items() if family.figures is None]
)
def test_the_graph_shows_it(name: str) -> None:
    found = recognise(graph_of(name))
    assert found is not None
    assert (found.form, found.sure, found.classes, found.size) == (
        FAMILIES[name].form,
        "certain",
        CLASSES,
        (SIDE, SIDE),
    )
    assert tuple(extra.name for extra in found.extras) == FAMILIES[name].extra
    assert found.suppress == FAMILIES[name].suppress


@pytest.mark.parametrize(
    "name", [name for name, family in FAMILIES.items() if family.figures is not None]
)
def test_the_recipe_has_to_say_it(name: str) -> None:
    """Without its word nothing is patched, and the error says what was seen and what decides."""
    graph = graph_of(name)
    assert recognise(graph) is None
    with pytest.raises(ForgeError) as caught:
        apply(graph, "onnx", OPTIONS)
    assert caught.value.code == 2
    if name != "yolov6 raw":  # plain distances without bins look like nothing in particular
        assert any(found.form == FAMILIES[name].form for found in looks_like(graph))
        assert "not certain enough" in caught.value.problem
    assert "recipe" in caught.value.hint
    found = detection_of(name, graph)
    assert (found.form, found.sure, found.classes) == (FAMILIES[name].form, "told", CLASSES)


@pytest.mark.parametrize("name", FAMILIES)
def test_decoded_boxes_and_scores(name: str) -> None:
    graph = graph_of(name)
    found = detection_of(name, graph)
    decoded = decode(graph, found)
    graph.outputs = [corners_of(graph, decoded), decoded.scores]
    got = list(run(graph.cleanup().toposort(), {"image": images(2)}).values())
    if FAMILIES[name].form == "ranked":
        return  # selected already: the patched forms compare it
    boxes, scores, _ = reference(name, 2)
    assert got[0].shape == boxes.shape
    # Levels and anchors may come in any order.
    order = [np.lexsort(each.T) for each in np.round(boxes, 2)]
    for image, rows in enumerate(order):
        mine = np.lexsort(np.round(got[0][image].astype(np.float64), 2).T)
        np.testing.assert_allclose(got[0][image, mine].sum(), boxes[image, rows].sum(), rtol=1e-4)
        np.testing.assert_allclose(
            np.sort(got[1][image], None), np.sort(scores[image], None), atol=1e-5
        )


# --------------------------------------------------------------------------------------------------
# patched


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", FAMILIES)
def test_standard_form_equals_the_reference(name: str, batch: int) -> None:
    graph = graph_of(name)
    facts = apply(graph, "onnx", OPTIONS, "auto", *told(FAMILIES[name]))
    assert (facts["impl"], facts["classes"]) == ("onnx", CLASSES)
    counts = check(run(graph, {"image": images(batch)}), name, batch, OPTIONS)
    assert max(counts) > 2  # or the test shows nothing


@pytest.mark.parametrize("name", ["yolov5", "yolov8-seg", "yolov8-obb", "rtdetr", "detr", "ssd"])
def test_suppressed_across_classes(name: str) -> None:
    options = NmsOptions(score=0.3, iou=0.4, max_det=10, class_agnostic=True)
    graph = graph_of(name)
    apply(graph, "onnx", options, "auto", *told(FAMILIES[name]))
    check(run(graph, {"image": images(2)}), name, 2, options)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, "onnx") for name in ("yolov5", "yolov8-seg", "yolov8-obb", "rtdetr", "ssd")),
        *((name, "efficientnms") for name in ("yolov5", "ssd", "yolov10")),
    ],
)
def test_a_box_counts_under_its_best_class_only(name: str, form: NmsForm) -> None:
    """Of YOLOv10's ranked rows each has one class already."""
    options = NmsOptions(score=0.3, iou=0.4, max_det=10, best_class=True)
    graph = graph_of(name)
    apply(graph, form, options, "auto", *told(FAMILIES[name]))
    exchange_plugin(graph)
    check(run(graph, {"image": images(2)}), name, 2, options)


@pytest.mark.parametrize(
    "name", [name for name, family in FAMILIES.items() if "angle" not in family.extra]
)
def test_stock_parser_form_holds_the_same(name: str) -> None:
    graph = graph_of(name)
    facts = apply(graph, "deepstream", OPTIONS, "onnx", *told(FAMILIES[name]))
    assert (facts["impl"], facts["parser"]) == ("onnx", STOCK_PARSER)
    got = run(graph, {"image": images(2)})
    assert got["detection_classes"].dtype == np.float32
    check(
        {**got, "detection_boxes": got["detection_boxes"][..., [1, 0, 3, 2]] * SIDE},
        name,
        2,
        OPTIONS,
    )


@pytest.mark.parametrize("form", ["efficientnms", "deepstream"])
@pytest.mark.parametrize(
    "name", [n for n, family in FAMILIES.items() if family.suppress and not family.extra]
)
def test_plugin_form_runs_with_the_plugin_exchanged(name: str, form: Any) -> None:
    """The plugin can't run here: standard operators take its place, fed by what it is fed, with its
    attributes.
    """
    graph = graph_of(name)
    facts = apply(graph, form, OPTIONS, "auto", *told(FAMILIES[name]))
    assert facts["impl"] == "plugin"
    plugin = next(node for node in graph.nodes if node.op == "EfficientNMS_TRT")
    assert (plugin.attrs["score_threshold"], plugin.attrs["max_output_boxes"]) == (
        OPTIONS.score,
        OPTIONS.max_det,
    )
    exchanged = gs.import_onnx(gs.export_onnx(graph))
    apply(exchanged, "onnx", OPTIONS)
    check(run(exchanged, {"image": images(2)}), name, 2, OPTIONS)


@pytest.mark.parametrize("name", [n for n, family in FAMILIES.items() if not family.suppress])
def test_nothing_to_suppress_needs_no_plugin(name: str) -> None:
    graph = graph_of(name)
    assert apply(graph, "efficientnms", OPTIONS, "auto", *told(FAMILIES[name]))["impl"] == "onnx"
    check(run(graph, {"image": images(2)}), name, 2, OPTIONS)


@pytest.mark.parametrize("name", ["yolov8-seg", "yolov8-pose", "retinaface"])
@pytest.mark.parametrize(("form", "impl"), [("efficientnms", "auto"), ("deepstream", "plugin")])
def test_the_plugin_would_lose_what_belongs_to_a_box(name: str, form: Any, impl: Any) -> None:
    with pytest.raises(ForgeError, match="can't follow") as caught:
        apply(graph_of(name), form, OPTIONS, impl, *told(FAMILIES[name]))
    assert "--nms-impl onnx" in caught.value.hint
    assert (
        apply(graph_of(name), "deepstream", OPTIONS, "auto", *told(FAMILIES[name]))["impl"]
        == "onnx"
    )


def test_prototypes_stay_beside_the_coefficients() -> None:
    graph = graph_of("yolov8-seg")
    facts = apply(graph, "onnx", OPTIONS)
    assert [each["name"] for each in facts["outputs"]][4:5] == ["detection_coefficients"]
    assert len(facts["outputs"]) == 6
    assert len(facts["dropped"]) == 1


def test_turned_boxes_are_not_for_the_stock_parser() -> None:
    with pytest.raises(ForgeError, match="turned") as caught:
        apply(graph_of("yolov8-obb"), "deepstream", OPTIONS)
    assert "--nms onnx" in caught.value.hint
