"""Opens anything that can be run: ONNX, TensorRT engine, prepared folder, bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from trtforge.backends import _plan
from trtforge.bundle.read import read_prepared
from trtforge.errors import ForgeError, MachineError
from trtforge.graph.nms import OUTPUTS
from trtforge.recipe import Nms, Preprocess, Recipe

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnxruntime

    from trtforge.graph.detection import Detection

T = TypeVar("T")


@dataclass(frozen=True)
class OpenedModel:
    """Something that takes images.

    Attributes:
        path: what the user named.
        infer: float32 images of shape (1, 3, H, W) to outputs by name; those of an NMS inside are
            as of the form ``onnx``, see ``trtforge.graph.nms``.
        size: height and width of the input in pixels.
        graph: the ONNX file that is run, None for a TensorRT engine.
        outputs: dimensions of each output without the batch, numbers where they are known.
        detection: of raw decoded outputs; None if there are none, or NMS is inside.
        nms: thresholds of the NMS inside; None if there is none inside.
        recipe: of the folder, where it comes from one.
        note: what the user should know of how it is run.
    """

    path: Path
    infer: Callable[[np.ndarray], dict[str, np.ndarray]]
    size: tuple[int, int]
    graph: Path | None
    outputs: dict[str, tuple[int | str, ...]]
    detection: Detection | None
    nms: Nms | None
    recipe: Recipe | None = None
    note: str = ""

    def preprocess(self, spec: Preprocess) -> Preprocess:
        """What it wants of ``spec``: graphs of a folder divide by the channels' deviations
        themselves.
        """
        return spec.model_copy(update={"std": None}) if self.recipe else spec


def open_model(path: Path, recipe: Recipe | None = None) -> OpenedModel:
    """Open an ONNX file, a TensorRT engine, a prepared folder or a bundle.

    Args:
        recipe: what it says of the head of an ONNX file; a folder has its own.

    Raises:
        ForgeError: it is none of these, or damaged.
        MachineError: it is an engine that only a GPU can run.
    """
    if path.is_dir():
        return _open_folder(path)
    if path.suffix == ".onnx":
        return _open_onnx(path, path, None, "", recipe)
    if not path.is_file():
        raise ForgeError(
            f"{path}: no such file or folder",
            "give an ONNX file, an engine, or a folder of trtforge's",
        )
    plan = _plan.read(path)
    if plan.maker == "TensorRT-RTX":
        raise MachineError(
            f"{path}: a TensorRT-RTX engine, which runs only on the GPU it was built for",
            "give its folder, or the .rtx.onnx beside it: the same graph in ONNX Runtime",
        )
    return _open_tensorrt(path)


def _open_folder(path: Path) -> OpenedModel:
    """Its TensorRT engine, else the graph that its engine was built from."""
    ready = read_prepared(path)
    engines = sorted(path.glob("*.onnx_b*.engine"))
    if engines:
        return _open_tensorrt(engines[0], ready.recipe)
    backend = next(
        each for each in ("tensorrt-rtx", "onnxruntime", "tensorrt") if each in ready.graphs
    )
    file = ready.graphs[backend].path
    rtx = list(path.glob("*.rtx.engine"))
    note = (
        f"{file.name} in ONNX Runtime: the graph of {rtx[0].name}, which runs only on its GPU"
        if rtx
        else ""
    )
    return _open_onnx(path, file, ready.recipe, note)


def _open_onnx(
    path: Path, file: Path, recipe: Recipe | None, note: str, given: Recipe | None = None
) -> OpenedModel:
    from trtforge.backends.onnxruntime import run_one
    from trtforge.graph.detection import existing_nms, recognise
    from trtforge.graph.fold import dims, fold, image_input
    from trtforge.graph.model import graph_of

    model, names, inner = _standard(file)
    graph = graph_of(model)
    # The size of a dynamic input is the recipe's.
    spec = recipe or given or Recipe()
    wanted = spec.preprocess.size
    _, _, height, width = dims(image_input(model))
    if not (isinstance(height, int) and isinstance(width, int)):
        height, width = wanted or (640, 640)
        graph = graph_of(fold(model, (height, width)))
    engine = reference_session(model)
    return OpenedModel(
        path=path,
        infer=lambda images: _in_pixels(_renamed(run_one(engine, images), names), (height, width)),
        size=(height, width),
        graph=file,
        outputs=_renamed(_output_dims(model), names),
        detection=None if spec.head == "none" else recognise(graph, spec.head_hint, spec.decode),
        nms=inner or _inner_nms(existing_nms(graph) is not None, recipe),
        recipe=recipe,
        note=note
        or (f"{file}: TensorRT's NMS plugin is run as ONNX's own operators" if inner else ""),
    )


def _standard(file: Path) -> tuple[onnx.ModelProto, dict[str, str], Nms | None]:
    """The graph in operators that ONNX Runtime has, what to call outputs of TensorRT's NMS plugin,
    and its thresholds.

    Raises:
        MachineError: the graph has a plugin of TensorRT's for which there are no such operators.
    """
    from trtforge.graph.detection import existing_nms
    from trtforge.graph.model import graph_of, load, model_of
    from trtforge.graph.nms.exchange import exchange_plugin

    model = load(file)
    graph = graph_of(model)
    node = existing_nms(graph)
    made = [] if node is None else [tensor.name for tensor in node.outputs]
    try:
        options = exchange_plugin(graph)
    except ForgeError as error:
        raise MachineError(
            f"{file}: {error.problem}, and runs only in TensorRT",
            "verify the graph without it, or prepare with --nms-impl onnx",
        ) from error
    if options is None:
        return model, {}, None
    # Exporters have names of their own for what the plugin puts out.
    outputs = {tensor.name for tensor in graph.outputs}
    names = dict(zip(made, OUTPUTS, strict=True)) if outputs >= set(made) else {}
    return model_of(graph), names, Nms.model_validate(asdict(options))


def _renamed(found: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    return {names.get(name, name): each for name, each in found.items()}


def reference_session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """ONNX Runtime on exactly what the graph says: its INT8 kernels would add differences of their
    own.
    """
    from trtforge.backends.onnxruntime import session
    from trtforge.graph.model import graph_of, model_of
    from trtforge.graph.quantize.qdq import widen

    if not any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return session(model.SerializeToString())
    return session(model_of(widen(graph_of(model))).SerializeToString(), fuse=False)


def _open_tensorrt(path: Path, recipe: Recipe | None = None) -> OpenedModel:
    from trtforge.backends import tensorrt

    infer, size, outputs = tensorrt.load(path)
    nms = _inner_nms(set(OUTPUTS) <= set(outputs), recipe)
    return OpenedModel(
        path=path,
        infer=lambda images: _in_pixels(infer(images), size),
        size=size,
        graph=None,
        outputs=outputs,
        detection=None,
        nms=nms,
        recipe=recipe,
    )


def _in_pixels(outputs: dict[str, np.ndarray], size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Boxes and classes of DeepStream's stock parser, y1, x1, y2, x2 as shares and floats, as of
    the other forms.
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
