"""Read an ONNX file as nvinfer does: its tensors, its types, and its kind of network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trtforge.errors import ForgeError
from trtforge.graph.ends import ClassMap, class_map, end_of, is_features, makers_of
from trtforge.metadata import NOTHING, Metadata, of_model

if TYPE_CHECKING:
    import onnx

Kind = Literal["detector", "classifier", "segmentation", "instance-segmentation", "tensors"]
NMS_OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")
DATA_DEPENDENT = ("NonZero", "NonMaxSuppression", "Unique", "Compress")


@dataclass(frozen=True)
class Tensor:
    """An input or output: ``dims`` with the batch first, names for dynamic ones."""

    name: str
    dtype: str
    dims: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    """The parts of a model that matter to nvinfer.

    Attributes:
        inputs, outputs: in order; the image must be the first input.
        quantized: it holds Q/DQ nodes.
        has_fp16_weights: it holds FP16 weights.
        nms: type of the graph's NMS node; empty if there is none.
        last_ops: type of the node that computes each output; empty where none does.
        features: whether each output is a vector that describes a picture, without classes.
        metadata: the metadata in the file.
        nms_classes: number of classes that the NMS node distinguishes; None where the graph does
            not show it.
        tensors: names of the inputs and of all node outputs, without weights.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    quantized: bool
    has_fp16_weights: bool
    nms: str
    last_ops: tuple[str, ...]
    features: tuple[bool, ...] = ()
    metadata: Metadata = NOTHING
    nms_classes: int | None = None
    tensors: frozenset[str] = frozenset()

    @property
    def batch(self) -> int | None:
        """The fixed batch; None where it is dynamic."""
        first = self.inputs[0].dims[0] if self.inputs and self.inputs[0].dims else None
        return first if isinstance(first, int) else None

    @property
    def image(self) -> tuple[int | str, ...]:
        """Channels, height and width of the first input."""
        return self.inputs[0].dims[1:] if self.inputs else ()

    @property
    def fits_stock_parser(self) -> bool:
        """True if DeepStream's TensorFlow SSD parser reads the outputs, with float32 classes."""
        return self.has_nms_outputs and self.output("detection_classes").dtype == "float32"

    @property
    def has_nms_outputs(self) -> bool:
        """True if the graph has the four outputs of EfficientNMS, of any types."""
        return {output.name for output in self.outputs} >= set(NMS_OUTPUTS)

    def output(self, name: str) -> Tensor:
        """Return the output of a name that the graph has."""
        return next(output for output in self.outputs if output.name == name)

    def kind(self) -> Kind:
        """Return the kind of network; ``tensors`` if nvinfer has no parser for the outputs."""
        if self.has_nms_outputs:
            return "detector"
        task = self.metadata.task.value if self.metadata.task else None
        if all(output.dtype == "float32" and classes_of(output) for output in self.outputs):
            plain = not self.nms and not any(self.features)
            return "classifier" if task == "classify" or (task is None and plain) else "tensors"
        classes = self.class_map()
        # nvinfer takes a class map to be as large as the input image.
        fits = classes is not None and classes.step == 1
        return "segmentation" if fits and task in (None, "semantic") else "tensors"

    def class_map(self) -> ClassMap | None:
        """Return the map of classes that is the only output; None where there is none."""
        if len(self.outputs) != 1:
            return None
        semantic = self.metadata.task is not None and self.metadata.task.value == "semantic"
        return class_map(self.image[1:], self.outputs[0].dims, self.last_ops[0], semantic)


def classes_of(output: Tensor) -> int | None:
    """Return C of a classifier's output (B, C), (B, C, 1) or (B, C, 1, 1); None for others."""
    dims = output.dims[1:]
    if not dims or any(dim != 1 for dim in dims[1:]):
        return None
    return dims[0] if isinstance(dims[0], int) else None


def inspect(path: Path) -> Graph:
    """Read a graph without its external weights.

    Raises:
        ForgeError: it is no ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise ForgeError(
            f"{path}: not an ONNX model, or cut short", "export it again, or copy it whole"
        ) from error
    if not model.graph.node or not model.graph.output:
        raise ForgeError(
            f"{path}: not an ONNX model (no nodes or no outputs in it)", "export it again"
        )
    weights = {tensor.name for tensor in model.graph.initializer}
    weight_types = {tensor.data_type for tensor in model.graph.initializer}
    graph_inputs = {value.name for value in model.graph.input} - weights
    ops = [node.op_type for node in model.graph.node]
    makers = makers_of(model.graph)
    results = [value.name for value in model.graph.output]
    last = [end_of(name, makers) for name in results]
    return Graph(
        inputs=tuple(_tensor(value) for value in model.graph.input if value.name not in weights),
        outputs=tuple(_tensor(value) for value in model.graph.output),
        quantized="DequantizeLinear" in ops,
        has_fp16_weights=onnx.TensorProto.FLOAT16 in weight_types,
        nms=next((op for op in ops if _is_nms(op)), ""),
        last_ops=tuple("" if node is None else str(node.op_type) for node in last),
        features=tuple(is_features(name, makers) for name in results),
        metadata=of_model(model),
        nms_classes=_nms_classes(model),
        tensors=frozenset(graph_inputs | makers.keys()),
    )


def _is_nms(op_type: str) -> bool:
    return "NMS" in op_type or op_type == "NonMaxSuppression"


def _nms_classes(model: onnx.ModelProto) -> int | None:
    """Return C of the NMS node's scores: (B, N, C) for plugins, (B, C, N) for ONNX's own NMS."""
    node = next((node for node in model.graph.node if _is_nms(node.op_type)), None)
    if node is None or len(node.input) < 2:
        return None
    shapes = {
        value.name: _tensor(value).dims for value in (*model.graph.value_info, *model.graph.output)
    }
    dims = shapes.get(node.input[1], ())
    standard = node.op_type == "NonMaxSuppression"
    if len(dims) != 3:
        return None
    count = dims[1 if standard else 2]
    if not isinstance(count, int):
        return None
    # ONNX's own NMS with one class may treat all classes as one, so 1 tells nothing there.
    return None if standard and count <= 1 else count


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    import numpy as np
    from onnx import helper

    kind = value.type.tensor_type
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
    except (KeyError, TypeError):
        dtype = "unknown"
    dims = tuple(
        dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in kind.shape.dim
    )
    return Tensor(value.name, dtype, dims)
