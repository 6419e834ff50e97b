"""Check which engine nvinfer loads or builds, and in which precision."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trtforge.backends._plan import maker, start, without_header
from trtforge.deepstream.config.describe import LONGEST_CACHE
from trtforge.deepstream.config.nvinfer import (
    MODE_NAMES,
    STRONGLY_TYPED_SINCE,
    engine_name,
)
from trtforge.deepstream.format.keys import version
from trtforge.deepstream.lint.finding import Finding
from trtforge.deepstream.lint.subject import Subject
from trtforge.devices.stacks import tensorrts
from trtforge.errors import ForgeError

NAME = re.compile(r".+_b(?P<batch>\d+)_(?:gpu|dla)\d+_(?:fp32|fp16|int8|best)\.engine")


def model(subject: Subject) -> Iterator[Finding]:
    sources = (
        "model-engine-file",
        "onnx-file",
        "tlt-encoded-model",
        "custom-network-config",
        "engine-create-func-name",
    )
    old = ("model-file", "uff-file")
    if not any(subject.get(name) for name in sources + old):
        yield subject.on(
            "no-model", "model-engine-file", "names neither an engine nor an ONNX file"
        )
        return
    engine = subject.path("model-engine-file")
    if engine and not engine.is_file() and not any(subject.get(name) for name in sources[1:] + old):
        ours = "build it on the target with trtforge"
        yield subject.on(
            "missing-file",
            "model-engine-file",
            f"there is no {engine.name}, and nothing to build it from: {ours}",
            severity="warning",
        )


def name(subject: Subject) -> Iterator[Finding]:
    """nvinfer writes what it builds beside the ONNX file, never to model-engine-file."""
    onnx, engine = subject.get("onnx-file"), subject.get("model-engine-file")
    if not (isinstance(onnx, str) and isinstance(engine, str)) or subject.get("enable-dla"):
        return
    if subject.path("custom-lib-path") and subject.get("engine-create-func-name"):
        return
    mode = MODE_NAMES[_effective_mode(subject)]
    built_name = engine_name(onnx, subject.get("batch-size"), mode).replace(
        "_gpu0_", f"_gpu{subject.get('gpu-id')}_"
    )
    if (subject.folder / built_name).resolve() != (subject.folder / engine).resolve():
        here = (subject.folder / engine).is_file()  # then the file wants another name, not the key
        advice = ": name the file so" if here else ""
        yield subject.on(
            "engine-rebuild",
            "model-engine-file",
            f"if {engine} does not load, nvinfer builds {built_name}, and again at each start{advice}",
            None if here else built_name,
        )


def _effective_mode(subject: Subject) -> int:
    mode = subject.get("network-mode")
    cache = subject.path("int8-calib-file")
    if mode in (1, 3) and not (cache and cache.is_file()):
        return 2
    return mode if mode in range(4) else 0


def loadable(subject: Subject) -> Iterator[Finding]:
    engine = subject.path("model-engine-file")
    if engine is None:
        return
    found = NAME.fullmatch(engine.name)
    if found and int(found["batch"]) < subject.get("batch-size"):
        yield subject.on(
            "engine-batch",
            "model-engine-file",
            f"an engine for batch {found['batch']} does not serve "
            f"batch-size {subject.get('batch-size')}: nvinfer builds another",
        )
    if not engine.is_file():
        return
    for rule, why in foreign(engine):
        yield subject.on(rule, "model-engine-file", why)
    yield from _version(subject, engine.parent)


def foreign(engine: Path) -> Iterator[tuple[str, str]]:
    """Yield the rule and the reason for each thing that keeps nvinfer from loading a file."""
    if maker(engine) == "TensorRT-RTX":
        yield "rtx-engine", f"{engine.name} is TensorRT-RTX's: DeepStream can't load it"
    if start(engine):
        yield (
            "engine-header",
            f"{engine.name} has a header of JSON before the engine, as Ultralytics writes it: nvinfer "
            f'can\'t load it ("magicTag failed"). Cut it off: {without_header(engine)}',
        )


def _version(subject: Subject, folder: Any) -> Iterator[Finding]:
    from trtforge.bundle.folder import read_document

    versions = tensorrts(subject.deepstream)
    try:
        tools = read_document(folder).get("tools")
    except ForgeError:
        return
    built = tools.get("tensorrt") if isinstance(tools, dict) else None
    if not versions or not isinstance(built, str):
        return
    if not any(f"{built}.".startswith(f"{version}.") for version in versions):
        yield subject.on(
            "engine-version",
            "model-engine-file",
            f"built by TensorRT {built}; DeepStream "
            f"{subject.deepstream} has {' or '.join(versions)} and can't load it",
        )


def precision(subject: Subject) -> Iterator[Finding]:
    mode, typed = subject.get("network-mode"), subject.get("strongly-typed")
    cache = subject.get("int8-calib-file")
    here = subject.path("int8-calib-file")
    graph = subject.graph
    quantized = graph is not None and graph.quantized
    may_type = version(subject.deepstream) >= STRONGLY_TYPED_SINCE
    if mode in (1, 3) and not (here and here.is_file()) and not _prebuilt(subject):
        what = "the Q/DQ nodes get no INT8 flag" if quantized else "what it builds is FP16"
        name = "int8-calib-file" if cache else "network-mode"
        value = 0 if quantized and may_type and not cache else None
        yield subject.on(
            "int8-becomes-fp16",
            name,
            f"network-mode={mode} without a readable int8-calib-file: {what}, "
            "and nvinfer does not say so",
            value,
        )
    elif quantized and not typed and subject.get("onnx-file"):
        hint = (
            "strongly-typed=1 with network-mode=0 does"
            if may_type
            else "load a prebuilt engine, without onnx-file"
        )
        yield subject.on(
            "qdq-not-typed",
            "strongly-typed",
            f"the graph has Q/DQ nodes, which nvinfer does not build as INT8 like this: {hint}",
            True if may_type and mode == 0 else None,
        )
    if typed and mode != 0:
        yield subject.on(
            "typed-mode",
            "network-mode",
            f"strongly-typed=1 and network-mode={mode}: the graph alone "
            "says its precision, and nvinfer sets flags that do not go with it",
            0,
        )
    if cache and mode in (0, 2):
        yield subject.on(
            "cache-unused",
            "int8-calib-file",
            f"network-mode={mode} does not look at int8-calib-file",
        )


def _prebuilt(subject: Subject) -> bool:
    """Nothing is built: an engine alone."""
    return bool(subject.get("model-engine-file")) and not subject.get("onnx-file")


def cache(subject: Subject) -> Iterator[Finding]:
    path = subject.path("int8-calib-file")
    if path is None or not path.is_file():
        return
    with path.open("rb") as stream:
        head = stream.readline(200).decode("ascii", errors="replace").strip()
    found = re.fullmatch(r"TRT-(\d+)-(\w+)", head)
    if not found:
        yield subject.on(
            "cache-format",
            "int8-calib-file",
            f"{path.name} does not begin as a calibration cache does",
        )
        return
    if found[2] != "EntropyCalibration2":
        yield subject.on(
            "cache-format",
            "int8-calib-file",
            f"{path.name} is {found[2]}'s; nvinfer's calibrator reads EntropyCalibration2 alone",
        )
    if subject.graph and not _names(path) & subject.graph.tensors:
        yield subject.on(
            "cache-format", "int8-calib-file", f"{path.name} holds none of the graph's tensors"
        )
    versions = tensorrts(subject.deepstream)
    number = found[1]
    known = f"{number[:2]}.{int(number[2:4])}" if len(number) >= 5 else f"{number[0]}.{number[1]}"
    if versions and known not in versions:
        yield subject.on(
            "cache-version",
            "int8-calib-file",
            f"{path.name} is for TensorRT {known}, DeepStream "
            f"{subject.deepstream} has {' or '.join(versions)}: it recalibrates, and has no images",
        )


def _names(path: Path) -> set[str]:
    with path.open(encoding="utf-8", errors="replace") as stream:
        return {line.rpartition(": ")[0] for line in stream.read(LONGEST_CACHE).split("\n")[1:]}


def shapes(subject: Subject) -> Iterator[Finding]:
    """Yield findings about sizes that the graph does not have."""
    graph, dims = subject.graph, subject.get("infer-dims")
    if dims and len(dims) == 3 and dims[2] in (1, 3) and dims[0] not in (1, 3):
        yield subject.on(
            "infer-dims",
            "infer-dims",
            "channels come first, whatever network-input-order says",
            (dims[2], dims[0], dims[1]),
        )
    elif graph and len(graph.image) == 3:
        last = subject.get("network-input-order") == 1
        image = (graph.image[2], *graph.image[:2]) if last else graph.image
        if dims and any(
            isinstance(one, int) and one != other for one, other in zip(image, dims, strict=False)
        ):
            fixed = tuple(each for each in image if isinstance(each, int))
            yield subject.on(
                "infer-dims",
                "infer-dims",
                f"the graph reads {list(image)}",
                fixed if len(fixed) == 3 else None,
            )
        if not dims and not all(isinstance(each, int) for each in image):
            yield subject.on(
                "infer-dims",
                "infer-dims",
                f"the graph reads {list(image)}: without infer-dims nvinfer can't build it",
            )
    if graph and graph.batch is not None and graph.batch != subject.get("batch-size"):
        yield subject.on(
            "batch-fixed", "batch-size", f"the graph's batch is fixed at {graph.batch}", graph.batch
        )


def tensors(subject: Subject) -> Iterator[Finding]:
    graph = subject.graph
    if graph is None:
        return
    first = graph.inputs[0] if graph.inputs else None
    if first is None or len(first.dims) != 4 or first.dtype != "float32":
        what = f"{first.name} {list(first.dims)} {first.dtype}" if first else "none"
        yield subject.on(
            "input-not-image",
            "onnx-file",
            f"nvinfer feeds a float32 image (N, C, H, W); the first input is {what}",
        )
    elif len(graph.inputs) > 1 and not subject.get("custom-lib-path"):
        more = ", ".join(each.name for each in graph.inputs[1:])
        yield subject.on(
            "input-not-image", "onnx-file", f"{more}: only a custom library can fill further inputs"
        )
    for output in graph.outputs:
        if any(not isinstance(dim, int) for dim in output.dims[1:]) and not _follows_image(
            graph, output
        ):
            yield subject.on(
                "changing-outputs",
                "onnx-file",
                f"{output.name} {list(output.dims)} changes with the "
                "data; nvinfer's buffers have one size",
            )


def _follows_image(graph: Any, output: Any) -> bool:
    """Tell whether an output's size follows from a dynamic image, which infer-dims fixes."""
    return not all(isinstance(each, int) for each in graph.image) and not graph.nms


RULES = (model, name, loadable, precision, cache, shapes, tensors)
