"""typed -> ready: the outputs that the target reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from trtforge.bundle.facts import PatchFacts
from trtforge.recipe import Decode, Nms
from trtforge.stages import MODEL
from trtforge.store import File, Stage, from_json, to_json

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    from trtforge.graph.detection import Detection
    from trtforge.graph.nms import NmsForm, NmsImpl
    from trtforge.recipe import Preprocess, Recipe

__all__ = [
    "STAGE",
    "EditFacts",
    "EditOptions",
    "FloatFeed",
    "FrameFeed",
    "Listing",
    "PatchFacts",
    "PatchInputs",
    "PatchOptions",
    "edit",
    "list_graph",
    "run",
    "summarize",
]


@dataclass(frozen=True)
class PatchInputs:
    """A typed model."""

    model: File


@dataclass(frozen=True)
class PatchOptions:
    """The NMS that the graph gets.

    Attributes:
        form: none, keep, onnx, efficientnms or deepstream.
        impl: what the deepstream form is made of: auto, plugin or onnx.
        head: form of the outputs: the recipe's, or auto.
        nms: thresholds, the recipe's section.
        decode: figures of the head, the recipe's section.
        enlarge: bring a coarse map of classes to the image's size, at which nvinfer reads it.
    """

    form: str
    impl: str
    head: str
    nms: Nms
    decode: Decode
    enlarge: bool = False


@dataclass(frozen=True)
class EditOptions:
    """Everything that ``trtforge patch`` can do with a file.

    Attributes:
        form, impl: see ``PatchOptions``.
        recipe: patches, preprocessing, head and thresholds.
        front: put the way from uint8 NHWC to normalised NCHW into the graph.
        normalization: fold means and deviations into the first convolution.
        color: the order of channels that the graph is to take; None leaves the recipe's.
    """

    form: str
    impl: str
    recipe: Recipe
    front: bool = False
    normalization: bool = False
    color: str | None = None


@dataclass(frozen=True)
class FloatFeed:
    """Normalised images that a graph takes: ``scale * (pixel - offset) / std``.

    Attributes:
        name: name of the input; None where the graph has no image input.
        color: order of the channels.
    """

    name: str | None
    dtype: Literal["float32"] = "float32"
    order: Literal["NCHW"] = "NCHW"
    scale: float = 1.0
    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] | None = None
    color: str = "rgb"


@dataclass(frozen=True)
class FrameFeed:
    """Frames that a graph takes as they are."""

    name: str
    dtype: Literal["uint8"] = "uint8"
    order: Literal["NHWC"] = "NHWC"
    color: str = "rgb"


@dataclass(frozen=True)
class EditFacts(PatchFacts):
    """Changes that editing made in a graph.

    Attributes:
        feed: what the graph takes now.
        patches: kinds of the recipe's patches that were made.
    """

    feed: FloatFeed | FrameFeed = FloatFeed(None)
    patches: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListedTensor:
    """An input or output of a graph."""

    kind: Literal["input", "output"]
    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class Guess:
    """A detector that the outputs may be: the evidence, and what would decide it."""

    why: str
    ask: str


@dataclass(frozen=True)
class Listing:
    """Facts about a graph that ``trtforge patch --list`` shows.

    Attributes:
        nodes: number of nodes.
        nms: name and operator of the NMS in the graph; None without one.
        detection: the detector among the outputs; None if none is recognised.
        likely: what the outputs may be instead.
        other: what a model without boxes does; None if nothing shows it.
    """

    tensors: tuple[ListedTensor, ...]
    nodes: int
    opset: int
    nms: str | None
    detection: Detection | None
    likely: tuple[Guess, ...]
    other: str | None

    def document(self) -> dict[str, object]:
        """Return the JSON document, without the figures that the recipe itself has given."""
        document = to_json(self)
        if self.detection:
            document["detection"] = {**to_json(self.detection), "decode": None}
        return document


def run(draft: Path, inputs: PatchInputs, options: PatchOptions) -> PatchFacts:
    """Write ``draft/model.onnx`` with NMS in the given form, and a decode that fuses.

    Raises:
        ForgeError: the form needs a detector, and none is recognised.
    """
    from trtforge.graph.model import graph_of, load, model_of, save

    graph = graph_of(load(inputs.model.path))
    facts = _put_in_nms(graph, options)
    save(model_of(graph), draft / MODEL)
    return facts


def edit(draft: Path, model: Path, options: EditOptions) -> EditFacts:
    """Write ``draft/model.onnx``, edited as ``trtforge patch`` says.

    The order is: the recipe's patches, what comes before the first convolution, NMS.

    Raises:
        ForgeError: see the functions of ``trtforge.graph``.
    """
    import onnx

    from trtforge.graph.edit.enlarge import coarse_map
    from trtforge.graph.edit.nodes import first_image
    from trtforge.graph.edit.patches import apply_patches
    from trtforge.graph.edit.preprocess import fold_normalization, image_front, swap_channels
    from trtforge.graph.filled import state_preprocess
    from trtforge.graph.fold.constants import lift
    from trtforge.graph.model import graph_of, load, model_of, save
    from trtforge.graph.nms.inner import inner_nms

    recipe = options.recipe
    graph = graph_of(onnx.shape_inference.infer_shapes(load(model)))
    apply_patches(graph, recipe.patches)
    spec = _takes(graph, recipe)
    if options.color and options.color != spec.color:
        spec = swap_channels(graph, spec)
    if options.normalization:
        lift(graph)  # Paddle's exporter writes weights as Constant nodes
        spec = fold_normalization(graph, spec)
    inner = inner_nms(graph) if options.form != "keep" else None
    limits = recipe.nms.with_defaults(inner.limits) if inner else recipe.nms
    # DeepStream's form of a network that gives a map of classes is a map of the image's size.
    enlarges = options.form == "deepstream" and coarse_map(graph) is not None
    form = "keep" if enlarges else options.form
    nms = PatchOptions(form, options.impl, recipe.head, limits, recipe.decode, enlarges)
    facts = _put_in_nms(graph, nms)
    image = first_image(graph)
    feed: FloatFeed | FrameFeed
    if options.front:
        image_front(graph, spec)
        feed = FrameFeed(str(graph.inputs[0].name))
    else:
        feed = FloatFeed(
            str(image.name) if image else None,
            scale=spec.scale,
            offsets=spec.offsets,
            std=spec.std,
            color=spec.color,
        )
    if not options.front:
        state_preprocess(graph, spec)
    save(model_of(graph), draft / MODEL)
    patches = tuple(patch.patch for patch in recipe.patches)
    return EditFacts(**vars(facts), feed=feed, patches=patches)


def _takes(graph: gs.Graph, recipe: Recipe) -> Preprocess:
    """Return what a graph takes, by the recipe, the file's metadata and its structure."""
    from trtforge.graph.detection import recognise
    from trtforge.graph.filled import fill

    head = None if recipe.head == "none" else recognise(graph, recipe.head_hint, recipe.decode)
    return fill(recipe, graph, head).preprocess


def _put_in_nms(graph: gs.Graph, options: PatchOptions) -> PatchFacts:
    """Put NMS into a graph, and make its decode fuse, in place."""
    from trtforge.graph.fold.expectation import fuse_expectations
    from trtforge.graph.nms import NmsOptions, apply

    hint = None if options.head in ("auto", "none") else options.head
    facts = apply(
        graph,
        cast("NmsForm", options.form),
        NmsOptions(**options.nms.model_dump()),
        cast("NmsImpl", options.impl),
        hint,
        options.decode,
    )
    fuse_expectations(graph)
    made = from_json(PatchFacts, facts)
    return _enlarge(graph, made) if options.enlarge else made


def _enlarge(graph: gs.Graph, facts: PatchFacts) -> PatchFacts:
    """Bring a coarse map of classes to the image's size, in place."""
    from trtforge.graph.edit.enlarge import coarse_map, enlarge
    from trtforge.graph.tensors import sides

    found = coarse_map(graph)
    if found is None:
        return facts
    enlarge(graph, found)
    output = replace(facts.outputs[0], shape=tuple(sides(graph.outputs[0])))
    return replace(facts, outputs=(output,), enlarged=found.step)


def list_graph(model: Path, recipe: Recipe) -> Listing:
    """Return what ``trtforge patch --list`` shows of a model.

    Raises:
        ForgeError: the file is not an ONNX model.
    """
    from trtforge.graph.detection import existing_nms, looks_like, recognise, without_boxes
    from trtforge.graph.model import graph_of, load

    graph = graph_of(load(model))
    node = existing_nms(graph)
    detection = recognise(graph, recipe.head_hint, recipe.decode)
    likely = [] if detection else looks_like(graph)
    return Listing(
        tensors=(*_list_tensors(graph, "input"), *_list_tensors(graph, "output")),
        nodes=len(graph.nodes),
        opset=graph.opset,
        nms=f"{node.name} ({node.op})" if node is not None else None,
        detection=detection,
        likely=tuple(Guess(guess.why, guess.ask) for guess in likely),
        other=None if detection or likely else without_boxes(graph),
    )


def _list_tensors(graph: gs.Graph, kind: Literal["input", "output"]) -> Iterator[ListedTensor]:
    for tensor in graph.inputs if kind == "input" else graph.outputs:
        yield ListedTensor(kind, tensor.name, str(tensor.dtype), tuple(tensor.shape or ()))


def summarize(facts: PatchFacts) -> str:
    """Return the facts in a line for people."""
    larger = f"; map of classes {facts.enlarged} times larger" if facts.enlarged > 1 else ""
    return f"NMS: {facts.form}" + (f" ({facts.impl})" if facts.impl else "") + larger


TOOLS = ("onnx", "onnx-graphsurgeon", "onnxruntime", "numpy")
STAGE = Stage("patch", 8, TOOLS, run, PatchFacts, summarize)
