"""Open anything that can be run: an ONNX file, a TensorRT engine, a prepared folder, a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trtforge.backends import _plan
from trtforge.bundle.read import read_prepared
from trtforge.devices import this_machine
from trtforge.errors import ForgeError, MachineError
from trtforge.graph.nms import OUTPUTS
from trtforge.metadata import Entry, of_model
from trtforge.names import Backend
from trtforge.recipe import Nms, Preprocess, Recipe

if TYPE_CHECKING:
    import onnx
    import onnxruntime

    from trtforge.graph.detection import Detection

T = TypeVar("T")
Array = NDArray[Any]  # outputs of networks: their datatypes are known at run time only


def _as_it_is(recipe: Recipe) -> Recipe:
    return recipe


def _no_remarks(_: Recipe) -> list[str]:
    return []


@dataclass(frozen=True)
class OpenedModel:
    """A model that is ready to run.

    Attributes:
        path: what the user named.
        run: takes float32 images of shape (1, 3, H, W), returns the outputs by name as the file has
            them.
        form: gives outputs of an NMS inside the model the form ``onnx``, see ``trtforge.graph.nms``.
        image: name of the input.
        batch: smallest batch of the input; fewer images are filled up.
        size: height and width of the input in pixels.
        graph: the ONNX file that is run; None for a TensorRT engine.
        outputs: dimensions of each output without the batch; numbers where they are known.
        detection: the form of raw decoded outputs; None if there are none, or if the NMS is inside.
        nms: thresholds of the NMS inside the model; None without one.
        recipe: the recipe of the folder that was opened; None for a single file.
        note: what the user should know about how the model is run.
        filled: completes a recipe for a single file; a folder's is complete.
        filling: what that does, a line each.
        names: names of the classes that the file states.
    """

    path: Path
    run: Callable[[NDArray[np.float32]], dict[str, Array]]
    form: Callable[[dict[str, Array]], dict[str, Array]]
    image: str
    batch: int
    size: tuple[int, int]
    graph: Path | None
    outputs: dict[str, tuple[int | str, ...]]
    detection: Detection | None
    nms: Nms | None
    recipe: Recipe | None = None
    note: str = ""
    filled: Callable[[Recipe], Recipe] = _as_it_is
    filling: Callable[[Recipe], list[str]] = _no_remarks
    names: Entry[tuple[str, ...]] | None = None

    def infer(self, images: NDArray[np.float32]) -> dict[str, Array]:
        """Return the outputs for images of shape (1, 3, H, W), in the form that is evaluated."""
        return self.form(self.run(images))

    def complete(self, recipe: Recipe | None) -> Recipe:
        """Return the user's recipe, or the folder's, or the default, with what the file says."""
        return self.filled(recipe or self.recipe or Recipe())

    def remarks(self, recipe: Recipe | None) -> list[str]:
        """Return what the user should know about how the model is run with a recipe."""
        note = [self.note] if self.note else []
        return note + self.filling(recipe or self.recipe or Recipe())

    def preprocess(self, spec: Preprocess) -> Preprocess:
        """Return the steps that remain to do outside: graphs of a folder divide by ``std``."""
        return spec.model_copy(update={"std": None}) if self.recipe else spec


def open_model(path: Path, recipe: Recipe | None = None) -> OpenedModel:
    """Open an ONNX file, a TensorRT engine, a prepared folder or a bundle.

    Args:
        recipe: describes the head of an ONNX file; a folder has its own recipe.

    Raises:
        ForgeError: the path is none of these, or is damaged.
        MachineError: it is an engine that only a GPU can run.
    """
    if path.is_dir():
        return _open_folder(path)
    if path.suffix == ".onnx":
        return _open_onnx(path, path, None, "", recipe)
    if not path.is_file():
        raise ForgeError(
            f"{path}: no such file or folder",
            "give an ONNX file, an engine, or a folder that trtforge made",
        )
    plan = _plan.read(path)
    if plan.maker == "TensorRT-RTX" and this_machine() is None:
        raise MachineError(
            f"{path}: is a TensorRT-RTX engine, which runs only on the GPU it was built for",
            "give its folder, or the .rtx.onnx beside it: ONNX Runtime runs the same graph",
        )
    return _open_tensorrt(path)


def _open_folder(path: Path) -> OpenedModel:
    """Open the folder's TensorRT engine, or else the graph that its engine was built from."""
    ready = read_prepared(path)
    engines = sorted(path.glob("*.onnx_b*.engine"))
    if engines:
        return _open_tensorrt(engines[0], ready.recipe)
    order: tuple[Backend, ...] = ("tensorrt-rtx", "onnxruntime", "tensorrt")
    backend = next(name for name in order if name in ready.graphs)
    file = ready.graphs[backend].path
    rtx = list(path.glob("*.rtx.engine"))
    note = (
        f"{file.name} in ONNX Runtime: the graph of {rtx[0].name}, which runs only on its GPU"
        if rtx
        else ""
    )
    return _open_onnx(path, file, ready.recipe, note)


def _open_onnx(
    path: Path,
    file: Path,
    folder_recipe: Recipe | None,
    note: str,
    user_recipe: Recipe | None = None,
) -> OpenedModel:
    """Open an ONNX file in ONNX Runtime.

    Args:
        path: what the user named.
        file: the ONNX file.
        folder_recipe: the recipe of the folder that contains the file.
        user_recipe: the user's recipe, for a file whose folder has none.
    """
    from trtforge.backends.onnxruntime import run_one
    from trtforge.graph.detection import existing_nms, recognise
    from trtforge.graph.filled import fill, remarks
    from trtforge.graph.fold import dims, fold, image_input
    from trtforge.graph.model import graph_of
    from trtforge.graph.precision.rounded import has_half

    model, names, plugin_nms = _standard(file)
    graph = graph_of(model)
    spec, stated = folder_recipe or user_recipe or Recipe(), of_model(model)
    image = image_input(model)
    batch, _, height, width = dims(image)
    if not (isinstance(height, int) and isinstance(width, int)):  # dynamic: the recipe decides
        default = stated.size.value if stated.size else (640, 640)
        height, width = spec.preprocess.size or default
        note = note or f"{file}: its dynamic height and width are {height}x{width} here"
        graph = graph_of(fold(model, (height, width)))
    if has_half(model) and not note:
        note = f"{file}: ONNX Runtime on the CPU, with FP16 rounded after every operator"
    if plugin_nms and not note:
        note = f"{file}: TensorRT's NMS plugin is run as ONNX's own operators"
    engine = reference_session(model)
    outputs = _output_dims(model)
    final = spec.head == "none" or set(OUTPUTS) <= set(outputs)  # whatever form the recipe names
    detection = None if final else recognise(graph, spec.head_hint, spec.decode)
    filled, filling = _as_it_is, _no_remarks
    if folder_recipe is None:
        filled = partial(fill, graph=graph, detection=detection)
        filling = partial(remarks, graph=graph, detection=detection)
    return OpenedModel(
        path=path,
        run=partial(run_one, engine),
        form=lambda outputs: _in_pixels(_renamed(outputs, names), (height, width)),
        image=image.name,
        batch=batch if isinstance(batch, int) else 1,
        size=(height, width),
        graph=file,
        outputs=_renamed(outputs, names),
        detection=detection,
        nms=plugin_nms or _inner_nms(existing_nms(graph) is not None, folder_recipe),
        recipe=folder_recipe,
        note=note,
        filled=filled,
        filling=filling,
        names=stated.names,
    )


def _standard(file: Path) -> tuple[onnx.ModelProto, dict[str, str], Nms | None]:
    """Load a graph with ONNX Runtime's operators in the place of TensorRT's NMS plugin.

    Returns:
        The model; new names for the outputs of the plugin; and its thresholds, None without it.

    Raises:
        MachineError: the graph has a plugin that no operators of ONNX replace.
    """
    from trtforge.graph.detection import existing_nms
    from trtforge.graph.model import graph_of, load, model_of
    from trtforge.graph.nms.exchange import exchange_plugin

    model = load(file)
    graph = graph_of(model)
    node = existing_nms(graph)
    made: list[str] = [] if node is None else [tensor.name for tensor in node.outputs]
    try:
        options = exchange_plugin(graph)
    except ForgeError as error:
        raise MachineError(
            f"{file}: {error.problem}, and runs only in TensorRT",
            "verify the graph without it, or prepare with --nms-impl onnx",
        ) from error
    if options is None:
        return model, {}, None
    # Exporters give the plugin's outputs their own names.
    outputs = {tensor.name for tensor in graph.outputs}
    names = dict(zip(made, OUTPUTS, strict=True)) if outputs >= set(made) else {}
    return model_of(graph), names, Nms.model_validate(asdict(options))


def _renamed(outputs: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    return {names.get(name, name): value for name, value in outputs.items()}


def reference_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Return a session that computes exactly what the graph says.

    ONNX Runtime's INT8 kernels would add differences of their own, so Q/DQ is computed in float.
    Its CPU does not round FP16 between operators, as a GPU does, so this is written into the graph.
    """
    from trtforge.backends.onnxruntime import session
    from trtforge.graph.precision.rounded import has_half, round_halves

    if has_half(model):
        return session(round_halves(model).SerializeToString(), fuse=False)
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    return session(model.SerializeToString(), fuse=not quantized)


def _open_tensorrt(path: Path, recipe: Recipe | None = None) -> OpenedModel:
    """Open an engine of TensorRT or TensorRT-RTX on the GPU."""
    from trtforge.backends import tensorrt, tensorrt_rtx

    rtx = _plan.maker(path) == "TensorRT-RTX"
    session = (tensorrt_rtx if rtx else tensorrt).load(path)
    nms = _inner_nms(set(OUTPUTS) <= set(session.outputs), recipe)
    return OpenedModel(
        path=path,
        run=session.infer,
        form=lambda outputs: _in_pixels(outputs, session.size),
        image=session.image,
        batch=session.least_batch,
        size=session.size,
        graph=None,
        outputs=dict(session.outputs),
        detection=None,
        nms=nms,
        recipe=recipe,
    )


def _in_pixels(outputs: dict[str, Array], size: tuple[int, int]) -> dict[str, Array]:
    """Convert the outputs for DeepStream's stock parser to the form ``onnx``.

    The stock parser reads boxes as y1, x1, y2, x2 in 0..1, and classes as floats.
    """
    _, boxes, _, classes = OUTPUTS
    if not set(OUTPUTS) <= outputs.keys() or outputs[classes].dtype.kind != "f":
        return outputs
    height, width = size
    scale = outputs[boxes].dtype.type([width, height, width, height])
    return {
        **outputs,
        boxes: outputs[boxes][..., [1, 0, 3, 2]] * scale,
        classes: outputs[classes].astype("int32"),
    }


def _inner_nms(inside: bool, recipe: Recipe | None) -> Nms | None:
    if not inside:
        return None
    return recipe.nms if recipe else Nms()


def _output_dims(model: onnx.ModelProto) -> dict[str, tuple[int | str, ...]]:
    from trtforge.graph.fold import dims

    return {output.name: tuple(dims(output)[1:]) for output in model.graph.output}
