"""model -> clean: constants folded, one opset, an NMS plugin cut away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtforge.bundle.facts import DetectorFacts, FoldFacts, NmsLimits
from trtforge.errors import ForgeError
from trtforge.recipe import Decode
from trtforge.stages import MODEL
from trtforge.store import File, Stage

if TYPE_CHECKING:
    import onnx

    from trtforge.graph.detection import Detection
    from trtforge.graph.nms.inner import InnerNms
    from trtforge.metadata import Metadata

__all__ = ["STAGE", "FoldFacts", "FoldInputs", "FoldOptions", "remarks", "run", "summarize"]


@dataclass(frozen=True)
class FoldInputs:
    """The user's model, adapted where the recipe says so."""

    model: File


@dataclass(frozen=True)
class FoldOptions:
    """Options of folding.

    Attributes:
        size: height and width in pixels that the model must have or take; None leaves them.
        default_size: height and width in pixels for dynamic ones without ``size``.
        decode: figures of the head, the recipe's section.
        head: form of the outputs: the recipe's, or auto, or none.
        check: run both graphs in ONNX Runtime and compare them.
        batch: the batch that the model must have or take; None leaves it.
        image: refuse a model whose input is not one batch of colour images.
        strip: cut away the model's own NMS where it can be put back for any target.
        opset: raise the model to this opset, if it is older; None is the one that Q/DQ and casts
            need.
        widen: convert an FP16 model to FP32 before anything else.
    """

    size: tuple[int, int] | None
    default_size: tuple[int, int]
    decode: Decode
    head: str = "auto"
    check: bool = True
    batch: int | None = None
    image: bool = True
    strip: bool = False
    opset: int | None = None
    widen: bool = False


def run(draft: Path, inputs: FoldInputs, options: FoldOptions) -> FoldFacts:
    """Fold the model into ``draft/model.onnx``.

    Raises:
        ForgeError: the model can't be read, has NaN among its weights, or does not fit the options.
    """
    from trtforge.graph.detection import existing_nms
    from trtforge.graph.edit.preprocess import patch_side
    from trtforge.graph.fold import OPSET, fold
    from trtforge.graph.fold.constants import left_alone
    from trtforge.graph.inputs import dims, image_input, only_image
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.nms.inner import inner_nms
    from trtforge.graph.nms.strip import strip_nms
    from trtforge.graph.precision.single import to_single
    from trtforge.graph.shapes import Shapes

    original = load(inputs.model.path)
    if options.widen:
        original = to_single(original)
    if options.image:
        image_input(original)
    folded = fold(
        original,
        options.size,
        default_size=options.default_size,
        batch=options.batch,
        opset=options.opset or OPSET,
    )
    _refuse_nan(folded)
    if options.check:
        _refuse_changes(original, folded)
    graph = graph_of(folded)
    too_large = left_alone(graph, Shapes(graph))
    # A plugin runs in TensorRT alone: it is cut away wherever it can't be calibrated or compared.
    nms = existing_nms(graph)
    inner = inner_nms(graph) if options.strip else None
    plugin = nms is not None and nms.op.endswith("_TRT")
    stripped = str(nms.op) if nms is not None and (inner or plugin) else None
    if stripped:
        strip_nms(graph)
        folded = model_of(graph)
    detection, likely = _recognise(folded, options)
    save(folded, draft / MODEL)
    input_name, size, batch = _image(folded)
    image = only_image(original)
    return FoldFacts(
        nodes_before=len(original.graph.node),
        nodes=len(folded.graph.node),
        input=input_name,
        size=size,
        batch=batch,
        outputs={output.name: tuple(dims(output)) for output in folded.graph.output},
        typed=_is_typed(folded),
        stripped_nms=stripped,
        kept_nms=str(nms.op) if nms is not None and not stripped else None,
        stripped_limits=_limits(inner) if inner else None,
        detection=_detector_facts(detection) if detection else None,
        likely=likely,
        too_large=tuple(too_large),
        image=tuple(dims(image)) if image is not None else None,
        frozen=_frozen(original, folded),
        features=_has_only_features(original),
        patches=patch_side(graph_of(folded)),
    )


def _limits(inner: InnerNms) -> NmsLimits:
    return NmsLimits(
        score=inner.score,
        iou=inner.iou,
        max_det=inner.max_det,
        class_agnostic=inner.class_agnostic,
        best_class=inner.detection.best_class,
    )


def _refuse_nan(model: onnx.ModelProto) -> None:
    from trtforge.graph.fold.constants import nan_weight

    broken = nan_weight(model)
    if broken:
        raise ForgeError(
            f"node {broken[0]!r} has NaN among its weights ({broken[1]!r}), so the model computes "
            "nothing",
            "export it from a checkpoint whose training did not diverge",
        )


def _refuse_changes(original: onnx.ModelProto, folded: onnx.ModelProto) -> None:
    from trtforge.graph.fold.equality import different

    changed = different(original, folded)
    if changed:
        raise ForgeError(
            f"folding changed {changed!r}",
            "please report the model; --no-check folds it all the same",
        )


def _recognise(model: onnx.ModelProto, options: FoldOptions) -> tuple[Detection | None, str]:
    """Return the detector in a folded model, or else what its outputs look like."""
    from trtforge.graph.detection import looks_like, recognise
    from trtforge.graph.model import graph_of

    if options.head == "none":
        return None, ""
    hint = None if options.head == "auto" else options.head
    detection = recognise(graph_of(model), hint, options.decode)
    if detection:
        return detection, ""
    likely = looks_like(graph_of(model))
    return None, f"{likely[0].why}: {likely[0].ask}" if likely else ""


def _detector_facts(detection: Detection) -> DetectorFacts:
    extras = tuple(extra.name for extra in detection.extras)
    return DetectorFacts(detection.form, detection.classes, detection.boxes, detection.why, extras)


def _frozen(original: onnx.ModelProto, folded: onnx.ModelProto) -> tuple[int, int] | None:
    """Return what dynamic height and width of the only image became; None if they were fixed."""
    from trtforge.graph.inputs import dims, images

    before, after = images(original), images(folded)
    if len(before) != 1 or len(after) != 1 or dims(before[0])[2:] == dims(after[0])[2:]:
        return None
    height, width = dims(after[0])[2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _has_only_features(model: onnx.ModelProto) -> bool:
    from trtforge.graph.ends import is_features, makers_of

    makers = makers_of(model.graph)
    return all(is_features(output.name, makers) for output in model.graph.output)


def _is_typed(model: onnx.ModelProto) -> bool:
    """Return whether a graph decides its own precisions: it holds Q/DQ nodes or FP16 weights."""
    return any(node.op_type == "DequantizeLinear" for node in model.graph.node) or any(
        tensor.data_type == tensor.FLOAT16 for tensor in model.graph.initializer
    )


def _image(model: onnx.ModelProto) -> tuple[str | None, tuple[int, int] | None, int | None]:
    """Return name, height and width, and batch of the image input; None for what is not fixed."""
    from trtforge.graph.inputs import dims, only_image

    image = only_image(model)
    if image is None:
        return None, None, None
    batch, _, height, width = dims(image)
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    return image.name, size, batch if isinstance(batch, int) else None


def summarize(facts: FoldFacts) -> str:
    """Return the facts in a line for people."""
    summary = f"{facts.nodes_before} nodes, now {facts.nodes}"
    if facts.frozen:
        summary += f"; height and width, which were dynamic, are {'x'.join(map(str, facts.frozen))}"
    large = facts.too_large
    if large:
        summary += f"; {len(large)} constant results stay unfolded for their size: {large[0]}"
    return summary


def remarks(facts: FoldFacts, options: FoldOptions, stated: Metadata) -> list[str]:
    """Return what the user should know: sizes that nobody gave, and what the graph denies.

    Args:
        stated: what the file says of itself.
    """
    from trtforge.metadata.check import contradictions

    form = facts.detection.form if facts.detection else None
    lines = contradictions(stated, facts.image, facts.size, form)
    if facts.frozen and options.size is None:
        origin = stated.size.origin if stated.size else "by default"
        size = "x".join(map(str, facts.frozen))
        lines.append(f"dynamic height and width became {size} ({origin}); --size HxW gives others")
    return lines


TOOLS = ("onnx", "onnx-graphsurgeon", "onnxruntime", "numpy")
STAGE = Stage("fold", 15, TOOLS, run, FoldFacts, summarize)
