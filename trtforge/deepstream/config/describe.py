"""Describe a bundle, an engine or an ONNX file for nvinfer's configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

from trtforge.backends._plan import maker, start, without_header
from trtforge.calibration import cache as calibration
from trtforge.deepstream.config.graph import Graph, Kind, classes_of, inspect
from trtforge.deepstream.config.nvinfer import STOCK_PARSERS, Network, Objects, Parser
from trtforge.deepstream.format import labels as label_files
from trtforge.errors import ForgeError
from trtforge.graph.ends import ClassMap
from trtforge.metadata import by_metadata, from_recipe
from trtforge.names import CACHE
from trtforge.recipe import Recipe
from trtforge.traits import DEEPSTREAM

if TYPE_CHECKING:
    from trtforge.bundle.prepared import Prepared

STOCK_FUNCTION = "NvDsInferParseCustomTfSSD"
CLASSIFIER_SCORE = 0.5
LONGEST_CACHE = 1 << 26  # bytes of a calibration cache: a line a tensor
_ENGINE = re.compile(
    r"(?P<onnx>.+\.onnx)_b(?P<batch>\d+)_(?:gpu\d+|dla(?P<dla>\d+))_(?P<mode>fp32|fp16|int8|best)\.engine"
)


@dataclass(frozen=True)
class Model:
    """An ONNX file with what is known of it.

    Attributes:
        batch: largest; None is the graph's own, or 1.
        precision: fp32, fp16, int8 or mixed.
        classes: of a detector.
        score: under which a detector's graph drops boxes; None if that is not known.
        engine: the engine that the user named.
        implicit: the graph is FP32, and nvinfer's own build makes it ``precision``.
        cache: TensorRT's calibration table, for implicit INT8.
        dla: core that the engine is for; None is the GPU.
    """

    path: Path
    graph: Graph
    recipe: Recipe
    batch: int | None
    precision: str
    classes: int | None
    deepstream: str | None = None
    score: float | None = None
    engine: str | None = None
    implicit: bool = False
    cache: Path | None = None
    dla: int | None = None


@dataclass(frozen=True)
class NetworkRequest:
    """The user's choices for the configuration; None leaves a choice to the model.

    Attributes:
        thresholds: least score by class, by name or number.
        cache: TensorRT's calibration table.
    """

    kind: Kind | None = None
    parser: Parser | None = None
    batch: int | None = None
    score: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    cache: Path | None = None
    rest: str = "fp16"
    unique_id: int = 1
    objects: Objects | None = None


def model(path: Path, recipe: Recipe | None) -> Model:
    """Return what is known about the bundle, engine or ONNX file at ``path``.

    Args:
        path: folder made by ``build`` or ``prepare``, engine of TensorRT's, or ONNX file.
        recipe: stands above the folder's own; None is that, or the default.

    Raises:
        ForgeError: it is none of these, or DeepStream can't load it.
    """
    if path.is_dir():
        return _bundle(path, recipe)
    if not path.is_file():
        raise ForgeError(
            f"{path}: no such file or folder",
            "give an ONNX file, an engine, or a folder made by trtforge",
        )
    if path.suffix == ".onnx":
        graph, recipe = inspect(path), recipe or Recipe()
        stated = by_metadata(from_recipe(recipe.preprocess), graph.metadata)
        recipe = recipe.model_copy(update={"preprocess": stated.preprocess})
        precision = "mixed" if graph.quantized or graph.has_fp16_weights else "fp32"
        return Model(path, graph, recipe, None, precision, graph.nms_classes)
    return _engine(path, recipe)


def _bundle(path: Path, recipe: Recipe | None) -> Model:
    from trtforge.bundle.read import read_prepared

    prepared = read_prepared(path)
    graph = inspect(path / prepared.file_name(DEEPSTREAM))
    return from_prepared(prepared, graph, path, recipe)


def from_prepared(
    prepared: Prepared,
    graph: Graph,
    folder: Path,
    recipe: Recipe | None = None,
    dla: int | None = None,
) -> Model:
    """Return what is known of a prepared model.

    Args:
        graph: its DeepStream form.
        folder: the output folder that holds the files.
        recipe: takes the place of the prepared model's own.
        dla: DLA core that the engine is for; None is the GPU.
    """
    patch = prepared.patches[DEEPSTREAM]
    reads_cache = prepared.implicit and prepared.precision == "int8"
    return Model(
        path=folder / prepared.file_name(DEEPSTREAM),
        graph=graph,
        recipe=recipe or prepared.recipe,
        batch=prepared.batch[2],
        precision=prepared.built_precision,
        classes=patch.classes,
        deepstream=prepared.deepstream,
        score=prepared.recipe.nms.score if patch.parser else None,
        implicit=prepared.implicit,
        cache=folder / CACHE if reads_cache else None,
        dla=dla,
    )


def _engine(path: Path, recipe: Recipe | None) -> Model:
    if maker(path) == "TensorRT-RTX":
        raise ForgeError(
            f"{path}: a TensorRT-RTX engine, which DeepStream can't load",
            "give the bundle: nvinfer builds its own engine from the ONNX file in it",
        )
    if start(path):
        raise ForgeError(
            f"{path}: has a header of JSON before the engine, which nvinfer can't load",
            f"cut it off: {without_header(path)}",
        )
    found = _ENGINE.fullmatch(path.name)
    if not found:
        raise ForgeError(
            f"{path}: not a name that nvinfer looks for, so it would build another engine at each start",
            "name it MODEL.onnx_bBATCH_gpu0_fp32.engine, beside MODEL.onnx",
        )
    onnx = path.with_name(found["onnx"])
    if not onnx.is_file():
        raise ForgeError(
            f"{onnx}: no such file, from which {path.name} was built",
            "copy the ONNX file beside the engine: its tensors are read from there",
        )
    base = (
        _bundle(path.parent, recipe)
        if (path.parent / "manifest.json").is_file()
        else model(onnx, recipe)
    )
    return replace(
        base,
        batch=int(found["batch"]),
        engine=path.name,
        dla=int(found["dla"]) if found["dla"] else None,
    )


def network(
    model: Model, request: NetworkRequest, out: Path, deepstream: str
) -> tuple[Network, str]:
    """Return the network for nvinfer, and the text of its label file.

    Args:
        out: folder of the configuration: paths are relative to it.

    Raises:
        ForgeError: the request does not fit the model.
    """
    graph = model.graph
    kind = request.kind or _kind(model, request)
    if request.parser is None:
        _check_kind(model, kind)
    names, _ = class_names(model, kind)
    size, channels = _image(model)
    parser = request.parser or (
        Parser(STOCK_FUNCTION, STOCK_PARSERS)
        if kind == "detector" and graph.fits_stock_parser
        else None
    )
    score = request.score if request.score is not None else model.score
    if score is None:
        score = CLASSIFIER_SCORE if kind == "classifier" else model.recipe.nms.score
    cache = _cache(model, request.cache) if request.cache else model.cache
    made = Network(
        kind=kind,
        onnx=_relative(model.path, out),
        precision=model.precision,
        batch=_batch(model, request),
        size=size,
        channels=channels,
        preprocess=model.recipe.preprocess,
        deepstream=deepstream,
        classes=len(names) or None,
        parser=parser,
        score=score,
        iou=model.recipe.nms.iou,
        thresholds=_thresholds(request.thresholds, names),
        cache=_relative(cache, out) if cache else None,
        rest=request.rest if request.cache else model.recipe.precision.rest,
        implicit=model.implicit,
        dla=model.dla,
        unique_id=request.unique_id,
        objects=request.objects,
        channels_last=kind == "segmentation" and _map_of(graph).channels_last,
        logits=kind == "classifier" and not set(graph.last_ops) <= {"Softmax", "Sigmoid"},
    )
    if model.engine and model.engine != Path(made.engine).name:
        raise ForgeError(
            f"{model.engine}: with network-mode={made.mode} nvinfer looks for {Path(made.engine).name}",
            "rename it, or give the calibration cache that it was built with",
        )
    counts = [classes_of(output) or 0 for output in graph.outputs] if kind == "classifier" else []
    return made, label_files.text(names, counts)


def _kind(model: Model, request: NetworkRequest) -> Kind:
    kind = model.graph.kind()
    unread = kind == "tensors" or (
        kind == "detector" and not model.graph.fits_stock_parser and request.parser is None
    )
    if not unread:
        return kind
    listed = ", ".join(
        f"{each.name} {list(each.dims)} {each.dtype}" for each in model.graph.outputs
    )
    raise ForgeError(
        f"{model.path}: none of DeepStream's parsers reads these outputs: {listed}",
        _way_out(model.graph),
    )


def _way_out(graph: Graph) -> str:
    if len(graph.outputs) == 1 and len(graph.outputs[0].dims) == 4:
        return (
            "for a map of classes, `trtforge patch MODEL -o OUT` makes it as large as the image, and "
            "--network segmentation reads it; else --tensor-meta, or --network with --parser and "
            "--parser-lib"
        )
    return (
        "`trtforge patch --nms deepstream` for a detector; else --tensor-meta, or --network with "
        "--parser and --parser-lib"
    )


def _check_kind(model: Model, kind: Kind) -> None:
    """Refuse a kind of network whose outputs nvinfer's own parsers don't read."""
    graph = model.graph
    if (kind == "classifier" and not all(classes_of(output) for output in graph.outputs)) or (
        kind == "segmentation" and len(graph.outputs[0].dims) != 4
    ):
        listed = ", ".join(f"{each.name} {list(each.dims)}" for each in graph.outputs)
        raise ForgeError(
            f"--network {kind}: {model.path} has other outputs: {listed}",
            "leave --network out, or name a function that reads them with --parser",
        )


def class_names(model: Model, kind: Kind) -> tuple[list[str], str]:
    """Return the names of the classes, and where they are from, in words; none without classes.

    Raises:
        ForgeError: the user's names are not as many as the classes, or nothing says how many
            classes there are.
    """
    count = _count(model, kind)
    if kind == "tensors" and count is None and model.recipe.labels is None:
        return _dictionary(model.graph) or _stated_names(model.graph) or ([], "")
    names, origin = label_files.labels(model.recipe.labels, count, model.graph.metadata.names)
    if not names:
        raise ForgeError(
            f"{model.path}: does not say how many classes it has",
            "give --labels FILE, one class a line",
        )
    return names, origin


def _count(model: Model, kind: Kind) -> int | None:
    """Return the number of classes that the outputs tell apart; None where that is unknown."""
    if kind == "classifier":
        return sum(classes_of(output) or 0 for output in model.graph.outputs)
    return _map_of(model.graph).classes if kind == "segmentation" else model.classes


def _stated_names(graph: Graph) -> tuple[list[str], str] | None:
    """Return the names that the file states, if an output has as many channels, with or without a box's."""
    stated = graph.metadata.names
    if stated is None or any(graph.features):
        return None
    counts = {len(stated.value) + box for box in (0, 4, 5)}
    found = any(dim in counts for output in graph.outputs for dim in output.dims[1:])
    return (list(stated.value), stated.origin) if found else None


def _dictionary(graph: Graph) -> tuple[list[str], str] | None:
    """Return the characters of a network that reads text, one for each channel of its output.

    CTC puts a blank first; the tools put a space last, which the dictionary does not list.
    """
    stated = graph.metadata.characters
    channels = graph.outputs[0].dims[-1] if len(graph.outputs) == 1 else None
    if stated is None or not isinstance(channels, int) or len(graph.outputs[0].dims) != 3:
        return None
    names = ["blank", *stated.value, "space"][:channels]
    if not 1 <= channels - len(stated.value) <= 2:
        return None
    return names, f"a blank, and {stated.origin}"


def _map_of(graph: Graph) -> ClassMap:
    """Return the map of classes; the user says that it is one, where the graph does not show it."""
    channels = graph.outputs[0].dims[1]
    return graph.class_map() or ClassMap(channels if isinstance(channels, int) else None, False)


def _image(model: Model) -> tuple[tuple[int, int], int]:
    dims = model.graph.image
    if len(model.graph.inputs) != 1 or len(dims) != 3 or model.graph.inputs[0].dtype != "float32":
        listed = ", ".join(
            f"{each.name} {list(each.dims)} {each.dtype}" for each in model.graph.inputs
        )
        raise ForgeError(
            f"{model.path}: nvinfer feeds one float32 image (N, C, H, W), not {listed}",
            "export the model with such an input",
        )
    channels, height, width = dims
    if not (isinstance(height, int) and isinstance(width, int)):
        if model.recipe.preprocess.size is None:
            raise ForgeError(
                f"{model.path}: its height or width is dynamic",
                "give them in a recipe, preprocess.size",
            )
        height, width = model.recipe.preprocess.size
    return (height, width), channels if isinstance(channels, int) else 3


def _batch(model: Model, request: NetworkRequest) -> int:
    fixed, largest = model.graph.batch, model.batch
    if request.batch is None:
        return largest or fixed or 1
    if fixed is not None and request.batch != fixed:
        raise ForgeError(
            f"--batch {request.batch}: the model's batch is fixed at {fixed}",
            "export a dynamic batch",
        )
    if largest is not None and request.batch != largest:
        raise ForgeError(
            f"--batch {request.batch}: the engine's largest is {largest}, and its name says so",
            f"build with --batch {request.batch}",
        )
    return request.batch


def _cache(model: Model, cache: Path) -> Path:
    if model.graph.quantized:
        raise ForgeError(
            f"{model.path}: has Q/DQ nodes, which a calibration cache must not accompany",
            "give the FP32 graph, or leave the cache out",
        )
    if (
        not cache.is_file()
        or cache.stat().st_size > LONGEST_CACHE
        or cache.read_bytes()[:4] != b"TRT-"
    ):
        raise ForgeError(
            f"{cache}: no calibration cache of TensorRT's", "give the calibration.cache of a bundle"
        )
    try:
        ranges = calibration.parse(cache.read_text(encoding="utf-8", errors="replace"))
    except ValueError as error:
        raise ForgeError(f"{cache}: {error}", "give the calibration.cache of a bundle") from error
    if not ranges.keys() & model.graph.tensors:
        raise ForgeError(
            f"{cache}: none of its {len(ranges)} tensors is in {model.path}",
            "give the cache of this model, or the model that it was made of",
        )
    return cache


def _thresholds(by_class: Mapping[str, float], names: list[str]) -> dict[int, float]:
    thresholds = {}
    for name, limit in by_class.items():
        number = int(name) if name.isdecimal() else -1
        if name in names:
            number = names.index(name)
        if not 0 <= number < len(names):
            raise ForgeError(
                f"--threshold {name}: no such class", f"the classes are {', '.join(names[:10])}"
            )
        thresholds[number] = limit
    return thresholds


def _relative(path: Path, out: Path) -> str:
    text = os.path.relpath(path.resolve(), out.resolve())
    if any(char in text for char in "#;\n\r\t'\"\\") or text != text.strip():
        raise ForgeError(
            f"{text!r}: nvinfer's configuration can't hold that path", "rename the file"
        )
    return text


def remarks(model: Model, made: Network) -> list[str]:
    """Return what the user should know of a configuration, beside the comments in it."""
    _, origin = class_names(model, made.kind)
    lines = [f"labels: {origin}"] if origin else []
    found = model.graph.class_map() if made.kind == "segmentation" else None
    if found and found.step > 1 and made.parser is None:
        lines.append(
            f"nvinfer reads the map at the image's size, and this one is {found.step} times smaller: "
            "`trtforge patch MODEL -o OUT` enlarges it"
        )
    return lines


class DescribedJson(TypedDict):
    """Summary of a written configuration, for people and programs."""

    network: str
    precision: str
    engine: str
    batch: int
    size: list[int]
    classes: int | None
    deepstream_builds_it: bool


def document(made: Network) -> DescribedJson:
    """Return what a person, or a program, wants to know of a written configuration."""
    return {
        "network": made.kind,
        "precision": made.precision,
        "engine": made.engine,
        "batch": made.batch,
        "size": list(made.size),
        "classes": made.classes,
        "deepstream_builds_it": made.builds,
    }
