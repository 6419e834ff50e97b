"""Every form of NMS against a NumPy reference that shares nothing with it but the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from tests.models import (
    CELLS,
    CLASSES,
    SIDE,
    anchor_free,
    anchor_free_output,
    classifier,
    images,
    objectness,
    reference,
    run,
    sketch,
)
from trtforge.errors import ForgeError
from trtforge.graph.detection import existing_nms
from trtforge.graph.nms import OUTPUTS, STOCK_PARSER, NmsOptions, apply, stock_parser_outputs

MODELS = {"objectness": objectness, "anchor-free": anchor_free}

EVERYTHING = NmsOptions(score=0.0, iou=1.0, max_det=3840)


def detector(form: str, **kwargs: Any) -> gs.Graph:
    return gs.import_onnx(MODELS[form](**kwargs))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    return common / (
        float(np.prod(one[2:] - one[:2])) + float(np.prod(other[2:] - other[:2])) - common
    )


def greedy(
    boxes: np.ndarray, scores: np.ndarray, options: NmsOptions
) -> list[tuple[float, int, np.ndarray]]:
    """One image's detections (score, class, corners), best first."""
    if options.class_agnostic:
        best = scores.argmax(1)
        candidates = [(float(scores[i, c]), int(c), i, 0) for i, c in enumerate(best)]
    else:
        candidates = [
            (float(scores[i, c]), c, i, c)
            for i in range(len(boxes))
            for c in range(scores.shape[1])
        ]
    kept: list[tuple[float, int, int, int]] = []
    for candidate in sorted(candidates, key=lambda c: -c[0]):
        rivals = [k for k in kept if k[3] == candidate[3]]
        if candidate[0] > options.score and all(
            overlap(boxes[candidate[2]], boxes[rival[2]]) <= options.iou for rival in rivals
        ):
            kept.append(candidate)
    return [(score, label, boxes[i]) for score, label, i, _ in kept[: options.max_det]]


def check(
    got: dict[str, np.ndarray], form: str, image: np.ndarray, options: NmsOptions
) -> list[int]:
    """Compare every image's detections with the reference's; how many there are."""
    boxes, scores = reference(form, image)
    counts = []
    for i in range(len(image)):
        want = greedy(boxes[i], scores[i], options)
        count = len(want)
        counts.append(count)
        assert got["num_detections"][i].tolist() == [count]
        assert not any(got[name][i, count:].any() for name in OUTPUTS[1:])
        if want:
            np.testing.assert_allclose(
                got["detection_scores"][i, :count], [w[0] for w in want], atol=1e-5
            )
            assert got["detection_classes"][i, :count].tolist() == [w[1] for w in want]
            np.testing.assert_allclose(
                got["detection_boxes"][i, :count], [w[2] for w in want], rtol=1e-4, atol=1e-3
            )
    return counts


# ----------------------------------------------------------------------------------------------------
# onnx form


@pytest.mark.parametrize("form", MODELS)
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("declared", ["fixed", "dynamic"])
def test_standard_equals_reference(form: str, batch: int, agnostic: bool, declared: str) -> None:
    options = NmsOptions(score=0.3, iou=0.4, class_agnostic=agnostic)
    graph = detector(form, batch=batch if declared == "fixed" else "batch")
    apply(graph, "onnx", options)
    counts = check(run(graph, {"image": images(batch)}), form, images(batch), options)
    assert min(counts) > 3  # or the test shows nothing


@pytest.mark.parametrize("opset", [11, 12, 13, 14, 17, 18, 20])
def test_standard_in_every_opset(opset: int) -> None:
    for agnostic in (False, True):
        options = NmsOptions(class_agnostic=agnostic)
        graph = detector("objectness", opset=opset)
        apply(graph, "onnx", options)
        onnx.checker.check_model(gs.export_onnx(graph), full_check=True)
        check(run(graph, {"image": images(2)}), "objectness", images(2), options)


def test_outputs_are_named_typed_and_sized() -> None:
    graph = detector("objectness")
    facts = apply(graph, "onnx", NmsOptions(max_det=17))
    got = run(graph, {"image": images(3)})
    assert tuple(got) == OUTPUTS
    assert [got[name].shape for name in OUTPUTS] == [(3, 1), (3, 17, 4), (3, 17), (3, 17)]
    assert [got[name].dtype.name for name in OUTPUTS] == ["int32", "float32", "float32", "int32"]
    assert [fact["shape"] for fact in facts["outputs"]] == [
        ["batch", 1],
        ["batch", 17, 4],
        ["batch", 17],
        ["batch", 17],
    ]
    assert (facts["form"], facts["impl"], facts["classes"], facts["parser"]) == (
        "onnx",
        "onnx",
        CLASSES,
        None,
    )


@pytest.mark.parametrize("agnostic", [False, True])
def test_nothing_detected_anywhere(agnostic: bool) -> None:
    options = NmsOptions(score=0.999999, class_agnostic=agnostic)
    graph = detector("objectness")
    apply(graph, "onnx", options)
    assert check(run(graph, {"image": images(3)}), "objectness", images(3), options) == [0, 0, 0]


def test_nothing_detected_in_one_image() -> None:
    _, scores = reference("objectness", images(4))
    best = scores.max((1, 2))
    # The threshold is above the best score of the faintest image, and below that of the others.
    options = NmsOptions(score=float(np.sort(best)[:2].mean()))
    graph = detector("objectness")
    apply(graph, "onnx", options)
    counts = check(run(graph, {"image": images(4)}), "objectness", images(4), options)
    assert sorted(counts)[0] == 0 < sorted(counts)[1]


@pytest.mark.parametrize("keep", [1, 5])
def test_no_more_than_max_det(keep: int) -> None:
    options = NmsOptions(score=0.1, max_det=keep)
    graph = detector("anchor-free")
    apply(graph, "onnx", options)
    assert check(run(graph, {"image": images(2)}), "anchor-free", images(2), options) == [
        keep,
        keep,
    ]


def test_room_for_more_than_there_are_boxes() -> None:
    graph = detector("anchor-free")
    apply(graph, "onnx", EVERYTHING)
    counts = check(run(graph, {"image": images(1)}), "anchor-free", images(1), EVERYTHING)
    assert counts == [CELLS * CLASSES]


def test_batch_is_a_stack_of_images() -> None:
    graph = detector("objectness")
    apply(graph, "onnx", NmsOptions())
    together = run(graph, {"image": images(4)})
    for i in range(4):
        alone = run(graph, {"image": images(4)[i : i + 1]})
        for name in OUTPUTS:
            np.testing.assert_allclose(alone[name][0], together[name][i], rtol=1e-5, atol=1e-4)


def test_corner_boxes_need_no_conversion() -> None:
    s = sketch()
    graph = gs.import_onnx(s.model(anchor_free_output(s, corners=True)))
    apply(graph, "onnx", NmsOptions())
    check(run(graph, {"image": images(2)}), "anchor-free", images(2), NmsOptions())


# ---------------------------------------------------------------------------------------------------
# deepstream


@pytest.mark.parametrize("form", MODELS)
def test_stock_parser_form_holds_the_same_detections(form: str) -> None:
    graph = detector(form)
    facts = apply(graph, "deepstream", NmsOptions(), "onnx")
    got = run(graph, {"image": images(2)})
    assert facts["parser"] == STOCK_PARSER == "NvDsInferParseCustomTfSSD"
    assert facts["impl"] == "onnx"
    assert got["detection_classes"].dtype == np.float32
    assert set(got) == set(OUTPUTS)
    pixels = {**got, "detection_boxes": got["detection_boxes"][..., [1, 0, 3, 2]] * SIDE}
    check(pixels, form, images(2), NmsOptions())


def test_height_and_width_are_not_confused() -> None:
    kinds = (
        ("num", np.int32, [1, 1]),
        ("box", np.float32, [1, 1, 4]),
        ("p", np.float32, [1, 1]),
        ("c", np.int32, [1, 1]),
    )
    four = tuple(gs.Variable(name, dtype, shape) for name, dtype, shape in kinds)
    graph = gs.Graph(inputs=list(four), opset=13, ir_version=8)
    graph.outputs = list(stock_parser_outputs(graph, four, (32, 64)))
    feed = {  # held: an output that is an input may lie in the very same memory
        "num": np.array([[1]], np.int32),
        "box": np.array([[[8, 4, 40, 16]]], np.float32),
        "p": np.array([[0.5]], np.float32),
        "c": np.array([[2]], np.int32),
    }
    num, box, _, label = run(graph, feed).values()
    np.testing.assert_array_equal(box, [[[4 / 32, 8 / 64, 16 / 32, 40 / 64]]])
    assert label.tolist() == [[2.0]]
    assert label.dtype == np.float32
    assert num.tolist() == [[1]]
    assert num.dtype == np.int32


def test_stock_parser_needs_a_fixed_size() -> None:
    graph = detector("objectness")
    graph.inputs[0].shape = ["batch", 3, "height", "width"]
    with pytest.raises(ForgeError, match="dynamic") as caught:
        apply(graph, "deepstream", NmsOptions())
    assert "--size" in caught.value.hint


# --------------------------------------------------------------------------------------------------
# plugin form


@pytest.mark.parametrize("form", ["efficientnms", "deepstream"])
def test_plugin_attributes_are_complete_and_typed(form: Any) -> None:
    graph = detector("objectness")
    facts = apply(graph, form, NmsOptions(score=0.5, iou=0.25, max_det=7, class_agnostic=True))
    assert facts["impl"] == "plugin"
    model = gs.export_onnx(graph)
    node = next(node for node in model.graph.node if node.op_type == "EfficientNMS_TRT")
    assert node.domain == ""
    assert [len(node.input), len(node.output)] == [2, 4]
    kinds = {
        a.name: (onnx.AttributeProto.AttributeType.Name(a.type), value(a)) for a in node.attribute
    }
    assert kinds == {
        "plugin_version": ("STRING", b"1"),
        "score_threshold": ("FLOAT", 0.5),
        "iou_threshold": ("FLOAT", 0.25),
        "max_output_boxes": ("INT", 7),
        "background_class": ("INT", -1),
        "score_activation": ("INT", 0),
        "class_agnostic": ("INT", 1),
        "box_coding": ("INT", 1),
    }
    types = {output.name: output.type.tensor_type.elem_type for output in model.graph.output}
    whole = onnx.TensorProto.INT32 if form == "efficientnms" else onnx.TensorProto.FLOAT
    assert types == dict(
        zip(
            OUTPUTS,
            (onnx.TensorProto.INT32, onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT, whole),
            strict=True,
        )
    )


def value(attribute: Any) -> Any:
    return onnx.helper.get_attribute_value(attribute)


@pytest.mark.parametrize("form", MODELS)
@pytest.mark.parametrize("batch", [1, 4])
def test_plugin_is_fed_centres_and_scores(form: str, batch: int) -> None:
    graph = detector(form)
    apply(graph, "efficientnms", NmsOptions())
    graph.outputs = list(existing_nms(graph).inputs)
    centres, scores = run(graph.cleanup().toposort(), {"image": images(batch)}).values()
    boxes, probabilities = reference(form, images(batch))
    middle, half = centres[..., :2], centres[..., 2:] / 2
    np.testing.assert_allclose(
        np.concatenate([middle - half, middle + half], -1), boxes, rtol=1e-4, atol=1e-3
    )
    np.testing.assert_allclose(scores, probabilities, atol=1e-5)


def test_corner_boxes_are_coded_as_such() -> None:
    s = sketch()
    graph = gs.import_onnx(s.model(anchor_free_output(s, corners=True)))
    apply(graph, "efficientnms", NmsOptions())
    assert existing_nms(graph).attrs["box_coding"] == 0


def test_patched_graph_is_patched_again_for_another_target() -> None:
    graph = detector("objectness")
    apply(graph, "deepstream", NmsOptions())
    again = gs.import_onnx(gs.export_onnx(graph))
    apply(again, "onnx", NmsOptions())
    assert [tensor.name for tensor in again.outputs] == list(OUTPUTS)
    check(run(again, {"image": images(2)}), "objectness", images(2), NmsOptions())


# --------------------------------------------------------------------------------------------------
# what is refused


def test_none_changes_nothing() -> None:
    graph = detector("objectness")
    before = gs.export_onnx(graph).SerializeToString()
    facts = apply(graph, "none", NmsOptions())
    assert gs.export_onnx(graph).SerializeToString() == before
    assert (facts["form"], facts["impl"], facts["parser"]) == ("none", None, None)


def test_no_detector_names_the_outputs_and_the_way_out() -> None:
    graph = gs.import_onnx(classifier())
    graph.outputs[0].shape = ["batch", 10]
    with pytest.raises(ForgeError) as caught:
        apply(graph, "onnx", NmsOptions())
    assert (
        f"{graph.outputs[0].name} [B, 10] is a classifier's with 10 classes" in caught.value.problem
    )
    assert "--nms none" in caught.value.hint


def test_taken_names_give_way() -> None:
    graph = detector("objectness")
    graph.outputs[0].name = "detection_boxes"
    apply(graph, "onnx", NmsOptions())
    check(run(graph, {"image": images(1)}), "objectness", images(1), NmsOptions())


def test_old_opset_is_refused() -> None:
    graph = detector("objectness")
    graph.opset = 10
    with pytest.raises(ForgeError, match="opset 10"):
        apply(graph, "onnx", NmsOptions())


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": -0.1},
        {"score": 1.0},
        {"score": float("nan")},
        {"iou": 0.0},
        {"iou": 1.1},
        {"max_det": 0},
        {"max_det": 3841},
    ],
)
def test_options_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ForgeError):
        NmsOptions(**wrong)


@pytest.mark.parametrize(("form", "impl"), [("yolo", "plugin"), ("deepstream", "cuda")])
def test_unknown_values(form: Any, impl: Any) -> None:
    with pytest.raises(ForgeError, match="not a value of"):
        apply(detector("objectness"), form, NmsOptions(), impl)
