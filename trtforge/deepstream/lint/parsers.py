"""Known output parsers against the graph's real outputs: names, order, types and layouts.

Read from DeepStream 9.1's ``nvdsinfer_customparser`` and from the parsers that go round for YOLO.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from trtforge.deepstream.config.graph import Graph, Tensor
from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.subject import Subject

Check = Callable[[Graph], tuple[str, str] | None]


def functions(subject: Subject) -> Iterator[Finding]:
    check = PARSERS.get(subject.get("parse-bbox-func-name") or "")
    if check is None or subject.graph is None or subject.get("network-type") != 0:
        return
    if found := check(subject.graph):
        rule, why = found
        yield subject.on(
            rule, "parse-bbox-func-name", f"{subject.get('parse-bbox-func-name')}: {why}"
        )


def _by_name(*wanted: str, floats: tuple[str, ...] = ()) -> Check:
    def check(graph: Graph) -> tuple[str, str] | None:
        outputs = {each.name: each for each in graph.outputs}
        if missing := [name for name in wanted if name not in outputs]:
            return (
                "parser-outputs",
                f"reads {', '.join(wanted)}; the graph has no {missing[0]}, but {_listed(graph)}",
            )
        return _wrong_type([outputs[name] for name in floats or wanted])

    return check


def _four_in_order(graph: Graph) -> tuple[str, str] | None:
    """Number, boxes, scores, classes by position alone: another order is read beyond its end."""
    if len(graph.outputs) != 4:
        return (
            "parser-outputs",
            f"reads four outputs, number, boxes, scores and classes; the graph has {_listed(graph)}",
        )
    number, boxes, *flat = graph.outputs
    counted = number.dtype == "int32" and _size(number) in (1, None)
    if not counted or boxes.dims[-1:] != (4,) or any(len(each.dims) > 3 for each in flat):
        return "parser-outputs", (
            "reads number, boxes, scores and classes in this order, and beyond their end in "
            f"another; the graph has {_listed(graph)}"
        )
    return _wrong_type([boxes, *flat])


def _wrong_type(tensors: list[Tensor]) -> tuple[str, str] | None:
    wrong = next((each for each in tensors if each.dtype != "float32"), None)
    if wrong is None:
        return None
    what = ": every class becomes class 0" if wrong.dtype == "int32" else ""
    return "parser-types", f"reads {wrong.name} as float32, and it is {wrong.dtype}{what}"


def _first(fits: Callable[[tuple[int | str, ...]], bool], layout: str) -> Check:
    def check(graph: Graph) -> tuple[str, str] | None:
        first = graph.outputs[0]
        if len(first.dims) != 3 or not fits(first.dims):
            return (
                "parser-outputs",
                f"reads a first output {layout}; the graph's is {first.name} {list(first.dims)}",
            )
        return _wrong_type([first])

    return check


def _listed(graph: Graph) -> str:
    return ", ".join(f"{each.name} {list(each.dims)} {each.dtype}" for each in graph.outputs)


def _size(tensor: Tensor) -> int | None:
    size = 1
    for dim in tensor.dims[1:]:
        if not isinstance(dim, int):
            return None
        size *= dim
    return size


def _columns(dims: tuple[int | str, ...]) -> bool:
    """Channels first, and far fewer of them than boxes."""
    one, two = dims[1:]
    return not (isinstance(one, int) and isinstance(two, int)) or one < two


PARSERS: dict[str, Check] = {
    "NvDsInferParseCustomTfSSD": _by_name("detection_boxes", "detection_scores", "detection_classes"),
    "NvDsInferParseCustomBatchedNMSTLT": _four_in_order,
    "NvDsInferParseYoloV5CustomBatchedNMSTLT": _four_in_order,
    "NvDsInferParseCustomBatchedYoloV5NMSTLT": _four_in_order,
    "NvDsInferParseCustomEfficientDetTAO": _four_in_order,
    "NvDsInferParseCustomYoloV4": _by_name("num_detections", "nmsed_boxes", "nmsed_scores", "nmsed_classes",
                                           floats=("nmsed_boxes", "nmsed_scores", "nmsed_classes")),
    "NvDsInferParseCustomRTDETRTAO": _by_name("pred_boxes", "pred_logits"),
    "NvDsInferParseYolo": _first(lambda dims: dims[2] in (6, "?"), "(B, N, 6) of x1, y1, x2, y2, score, class"),
    "NvDsInferParseCustomYoloV7": _first(lambda dims: dims[2] == 85, "(B, N, 85): 80 classes are written into it"),
    "NvDsInferParseCustomYoloV8": _first(lambda dims: dims[2] == 84, "(B, N, 84): 80 classes are written into it"),
    "NvDsInferParseYoloV11": _first(_columns, "(B, 4 + classes, N)"),
}  # fmt: skip

RULES = (functions,)
