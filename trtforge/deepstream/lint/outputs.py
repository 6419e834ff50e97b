"""Check the keys that decide about output tensors: parser, clustering, thresholds, labels."""

from __future__ import annotations

from collections.abc import Iterator

from trtforge.deepstream.config.nvinfer import LEAST_SCORE
from trtforge.deepstream.format.dialects import MAX_BYTES
from trtforge.deepstream.format.keys import CLASS_GROUP
from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.subject import Subject

DETECTOR, CLASSIFIER, SEGMENTATION, INSTANCE, OTHER = 0, 1, 2, 3, 100
_OBJECTS = (DETECTOR, INSTANCE)
_FUNCTIONS = {
    DETECTOR: "parse-bbox-func-name",
    CLASSIFIER: "parse-classifier-func-name",
    SEGMENTATION: "parse-segmentation-func-name",
    INSTANCE: "parse-bbox-instance-mask-func-name",
}
_FORMATS = ("chw", "chw2", "chw4", "hwc8", "chw16", "chw32")
_TYPES = ("fp32", "fp16", "int32", "int8")


def clustering(subject: Subject) -> Iterator[Finding]:
    if subject.get("network-type") != DETECTOR:
        return
    mode, graph = subject.get("cluster-mode"), subject.graph
    inside = graph is not None and bool(graph.nms)
    best = 4 if inside else 2
    if not subject.entry("cluster-mode") and not subject.entry("enable-dbscan"):
        yield subject.on(
            "no-cluster-mode",
            "cluster-mode",
            "left out, it is NMS with IoU 0.5 and topk 20, whatever class-attrs say",
            best,
        )
    elif mode == 0:
        yield subject.on(
            "group-rectangles",
            "cluster-mode",
            "groupRectangles needs OpenCV, which the stock build "
            "lacks: it is NMS with IoU 0.5 and topk 20, whatever class-attrs say",
            best,
        )
    elif inside and mode in (1, 2, 3):
        yield subject.on(
            "nms-twice",
            "cluster-mode",
            "the graph suppresses boxes itself: mode 4 leaves them alone",
            4,
        )
    if mode == 4 and graph is not None and _raw(subject):
        yield subject.on(
            "no-nms",
            "cluster-mode",
            "the graph does not suppress boxes, and mode 4 does not either",
            2,
        )


def _raw(subject: Subject) -> bool:
    """Hundreds of candidate boxes come out, and nothing in the graph has chosen among them."""
    graph = subject.graph
    if (
        graph is None
        or graph.nms
        or graph.has_nms_outputs
        or len(graph.outputs) != 1
        or len(graph.outputs[0].dims) != 3
    ):
        return False
    return max((dim for dim in graph.outputs[0].dims[1:] if isinstance(dim, int)), default=0) > 1000


def classes(subject: Subject) -> Iterator[Finding]:
    kind, count = subject.get("network-type"), subject.get("num-detected-classes")
    if kind in (DETECTOR, SEGMENTATION, INSTANCE) and count == 0:
        what = "no segmentation starts" if kind == SEGMENTATION else "every object is dropped"
        yield subject.on(
            "no-classes", "num-detected-classes", f"without num-detected-classes {what}"
        )
    for group, line in subject.document.groups.items():
        found = CLASS_GROUP.fullmatch(group)
        if group.startswith("class-attrs-") and not found and kind in _OBJECTS:
            yield subject.at(
                "class-group",
                line,
                f"[{group}] is neither class-attrs-all nor class-attrs-NUMBER: the "
                "parser refuses the file",
            )
        elif found and kind not in _OBJECTS:
            yield subject.at(
                "class-attrs-unused", line, f"[{group}] is not read for network-type={kind}"
            )
        elif found and found[1] != "all" and int(found[1]) >= count:
            yield subject.at(
                "class-group",
                line,
                f"[{group}], but num-detected-classes is {count}: the parser refuses the file",
            )


def labels(subject: Subject) -> Iterator[Finding]:
    path, kind = subject.path("labelfile-path"), subject.get("network-type")
    if path is None or not path.is_file() or path.stat().st_size > MAX_BYTES:
        return
    lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()
    filled = [line for line in lines if line.strip()]
    if kind == CLASSIFIER:
        outputs = len(subject.graph.outputs) if subject.graph else None
        if len(filled) > 1 and len(filled) != outputs and not any(";" in line for line in filled):
            yield subject.on(
                "classifier-labels",
                "labelfile-path",
                f"{path.name} has {len(filled)} lines of one "
                "name: a classifier wants the names of an output in one line, separated by "
                "semicolons",
            )
        return
    count = subject.get("num-detected-classes")
    if kind in (DETECTOR, INSTANCE) and count and len(filled) != count:
        yield subject.on(
            "label-count",
            "labelfile-path",
            f"{path.name} has {len(filled)} names for {count} classes",
        )


def thresholds(subject: Subject) -> Iterator[Finding]:
    kind, mode = subject.get("network-type"), subject.get("cluster-mode")
    if kind not in _OBJECTS:
        return
    padded = subject.graph is not None and subject.graph.has_nms_outputs
    for group in subject.document.groups:
        for entry in subject.document.group(group).values():
            value = subject.values.get(group, {}).get(entry.key)
            if not CLASS_GROUP.fullmatch(group) or not isinstance(value, (int, float)):
                continue
            if entry.key in ("pre-cluster-threshold", "threshold") and value == 0 and padded:
                yield subject.at(
                    "zero-threshold",
                    entry,
                    "rows that hold no object have score 0, and pass",
                    subject.written(entry, value=LEAST_SCORE),
                )
            elif entry.key == "post-cluster-threshold" and mode == 4 and value:
                yield subject.at(
                    "threshold-ignored",
                    entry,
                    "cluster-mode=4 does not look at post-cluster-threshold: "
                    "pre-cluster-threshold holds",
                    severity="note",
                )


def parser(subject: Subject) -> Iterator[Finding]:
    kind = subject.get("network-type")
    names = [name for name in _FUNCTIONS.values() if subject.get(name)]
    if names and not subject.get("custom-lib-path"):
        yield subject.on(
            "parser-ignored", names[0], f"without custom-lib-path nvinfer ignores {names[0]}"
        )
    if kind == DETECTOR and not subject.get("parse-bbox-func-name") and subject.graph:
        outputs = [each.name for each in subject.graph.outputs]
        if not all(any(part in each for each in outputs) for part in ("cov", "bbox")):
            yield subject.on(
                "no-parser",
                "parse-bbox-func-name",
                f"nvinfer's own parser wants outputs named "
                f"...cov... and ...bbox...; the graph has {', '.join(outputs)}",
            )


def instances(subject: Subject) -> Iterator[Finding]:
    if subject.get("network-type") != INSTANCE:
        return
    for name in ("parse-bbox-instance-mask-func-name", "custom-lib-path"):
        if not subject.get(name):
            yield subject.on(
                "instance-masks",
                name,
                f"instance segmentation needs {name}: DeepStream has no parser of "
                "its own for masks",
            )
    if subject.get("cluster-mode") != 4:
        yield subject.on("instance-masks", "cluster-mode", "masks come only with cluster-mode=4", 4)
    if not subject.get("output-instance-mask"):
        yield subject.on(
            "instance-masks",
            "output-instance-mask",
            "no mask is handed on without it",
            True,
            "warning",
        )


def segmentation(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph
    if (
        subject.get("network-type") != SEGMENTATION
        or graph is None
        or subject.get("parse-segmentation-func-name")
    ):
        return
    dims = graph.outputs[0].dims[1:]
    if len(dims) != 3 or graph.outputs[0].dtype != "float32":
        yield subject.on(
            "segmentation-shape",
            "network-type",
            f"nvinfer reads float32 (C, H, W), not "
            f"{graph.outputs[0].name} {list(graph.outputs[0].dims)} {graph.outputs[0].dtype}",
        )
        return
    last = subject.get("segmentation-output-order") == 1
    channels, sides = (dims[2], dims[:2]) if last else (dims[0], dims[1:])
    if isinstance(channels, int) and channels != subject.get("num-detected-classes"):
        yield subject.on(
            "segmentation-shape",
            "num-detected-classes",
            f"the output has {channels} channels",
            channels,
        )
    image = subject.get("infer-dims")[1:] if subject.get("infer-dims") else graph.image[1:]
    if any(
        isinstance(one, int) and isinstance(two, int) and one != two
        for one, two in zip(sides, image, strict=False)
    ):
        yield subject.on(
            "segmentation-shape",
            "network-type",
            f"the output is {list(sides)}, but nvinfer reads it at the network's {list(image)}",
        )


def layers(subject: Subject) -> Iterator[Finding]:
    names = {each.name for each in subject.graph.outputs} if subject.graph else set()
    wanted = subject.get("output-blob-names") or ()
    missing = [name for name in wanted if names and name not in names]
    if missing:
        yield subject.on(
            "output-name",
            "output-blob-names",
            f"the graph has no output {missing[0]}, but {', '.join(sorted(names))}",
        )
    for text in subject.get("output-io-formats") or ():
        parts = text.rsplit(":", 2)
        if len(parts) != 3 or parts[1] not in _TYPES or parts[2] not in _FORMATS:
            yield subject.on(
                "layer-format",
                "output-io-formats",
                f"{text!r} is not LAYER:TYPE:FORMAT: no engine is built",
            )
    for text in subject.get("layer-device-precision") or ():
        parts = text.rsplit(":", 2)
        if (
            len(parts) != 3
            or parts[1] not in ("fp32", "fp16", "int8")
            or parts[2] not in ("gpu", "dla")
        ):
            yield subject.on(
                "layer-format",
                "layer-device-precision",
                f"{text!r} is not LAYER:PRECISION:DEVICE: no engine is built",
            )


RULES = (clustering, classes, labels, thresholds, parser, instances, segmentation, layers)
