"""Move the preprocessing of a frame into the graph.

nvinfer computes ``scale * (pixel - offset)`` with one scale for all channels. What a model wants
beyond that, a deviation for each channel or another order of them, goes into the first
convolution's weights and costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.errors import ForgeError
from trtforge.graph.edit.nodes import PREFIX, add_node, cast, first_image, unique, upstream
from trtforge.graph.tensors import sides
from trtforge.recipe import Preprocess

_PASS = {"Identity", "Cast"}
_COLOURS = 3
_SMALLEST_PATCH = 8  # pixels; convolutional networks begin with smaller steps


def fold_std(graph: gs.Graph, spec: Preprocess) -> Preprocess:
    """Divide the first convolution's weights by the channels' deviations; exact at padded borders.

    Returns:
        what is left to do before the graph.
    """
    if spec.std is None:
        return spec
    for convolution, weights in _first_convolutions(graph):
        _replace(graph, convolution, weights / _each_channel(weights, np.array(spec.std)))
    return spec.model_copy(update={"std": None})


def fold_normalization(graph: gs.Graph, spec: Preprocess) -> Preprocess:
    """Move means and deviations into the first convolution; the graph then takes scaled pixels.

    A convolution that pads its input with zeros would pad with black instead of the mean colour;
    there the means stay one subtraction in front of it.

    Returns:
        what is left to do before the graph.
    """
    spec = fold_std(graph, spec)
    if not any(spec.offsets):
        return spec
    means = np.array(spec.offsets) * spec.scale
    found = _first_convolutions(graph)
    image = first_image(graph)
    if image is not None and any(_pads(convolution) for convolution, _ in found):
        readers = list(image.outputs)
        moved = add_node(
            graph, "Sub", [image, means.astype(image.dtype).reshape(1, -1, 1, 1)], "normalise/means"
        )
        moved.dtype = image.dtype
        for reader in readers:
            reader.inputs = [moved if each is image else each for each in reader.inputs]
    else:
        for convolution, weights in found:
            lost = (weights * _each_channel(weights, means)).sum((1, 2, 3))
            _replace_bias(graph, convolution, -lost, weights.dtype)
    return spec.model_copy(update={"offsets": (0.0, 0.0, 0.0)})


def swap_channels(graph: gs.Graph, spec: Preprocess) -> Preprocess:
    """Reverse the channels that the first convolution reads: RGB becomes BGR, and BGR RGB."""
    for convolution, weights in _first_convolutions(graph):
        groups = weights.reshape(len(weights), -1, _COLOURS, *weights.shape[2:])
        _replace(graph, convolution, groups[:, :, ::-1].reshape(weights.shape))
    first, second, third = spec.offsets
    return spec.model_copy(
        update={
            "color": "bgr" if spec.color == "rgb" else "rgb",
            "offsets": (third, second, first),
            "std": spec.std and spec.std[::-1],
        }
    )


def image_front(graph: gs.Graph, spec: Preprocess) -> None:
    """Make the image input uint8 `(B, H, W, 3)` RGB, a frame as decoders give it, under its name.

    TensorRT wants a Cast right behind a uint8 input, so that comes first.
    """
    image = first_image(graph)
    if image is None or sides(image)[1] != _COLOURS:
        raise ForgeError(
            "no input of shape (N, 3, H, W)", "export the model with an NCHW colour image input"
        )
    batch, _, height, width = sides(image)
    frame = gs.Variable(image.name, np.uint8, [batch, height, width, _COLOURS])
    kind = image.dtype
    image.name = unique(graph, f"{PREFIX}front/{image.name}")
    graph.inputs = [frame if each is image else each for each in graph.inputs]
    pixels = cast(graph, frame, np.float32, "front/pixels")
    if spec.color == "bgr":
        pixels = add_node(
            graph, "Gather", [pixels, np.array([2, 1, 0], np.int64)], "front/bgr", axis=3
        )
    if any(spec.offsets):
        pixels = add_node(graph, "Sub", [pixels, np.array(spec.offsets, np.float32)], "front/moved")
    pixels = add_node(graph, "Mul", [pixels, np.array(spec.scale, np.float32)], "front/scaled")
    if spec.std:
        pixels = add_node(graph, "Div", [pixels, np.array(spec.std, np.float32)], "front/spread")
    planes = add_node(graph, "Transpose", [pixels], "front/planes", perm=[0, 3, 1, 2])
    if np.dtype(kind) != np.float32:
        planes = cast(graph, planes, kind, "front/typed")
    for reader in list(image.outputs):
        reader.inputs = [planes if each is image else each for each in reader.inputs]
    graph.cleanup().toposort()


def patch_side(graph: gs.Graph) -> int | None:
    """Return the side in pixels of the patches that a transformer's first convolution cuts.

    None where the image goes into another kind of convolution, or not straight into one.
    """
    try:
        found = _first_convolutions(graph)
    except ForgeError:
        return None
    kernels = [list(weights.shape[2:]) for _, weights in found]
    strides: list[list[int]] = [list(node.attrs.get("strides", [])) for node, _ in found]
    if len(found) != 1 or kernels != strides or len(set(kernels[0])) != 1:
        return None
    side = int(kernels[0][0])
    return side if side >= _SMALLEST_PATCH else None


def _first_convolutions(graph: gs.Graph) -> list[tuple[gs.Node, np.ndarray]]:
    """Return the convolutions that read the image, and their weights `(O, 3 n, h, w)`.

    Before them may be what only moves pixels: YOLOv5's and YOLOX's Focus puts every other pixel
    into channels of its own, by Slices and a Concat, so that channel i is colour i modulo 3. And
    zeros around the image, as EfficientNet pads it, which no deviation changes.

    Raises:
        ForgeError: something else reads the image, or the weights are not constant.
    """
    found: dict[int, tuple[gs.Node, np.ndarray]] = {}
    pending = [first_image(graph)]
    while pending:
        tensor = pending.pop()
        for node in tensor.outputs if tensor is not None else []:
            if (
                node.op in _PASS
                or (node.op == "Slice" and _spatial(node))
                or (node.op == "Concat" and node.attrs.get("axis") == 1)
                or (node.op == "Pad" and _zeros(node))
            ):
                pending += node.outputs
            elif node.op == "Conv" and node.inputs[0] is tensor:
                found[id(node)] = (node, _weights(node))
            elif node.op != "Shape":
                raise ForgeError(
                    f"the image goes into '{node.name}' ({node.op}), and not straight into a convolution",
                    "normalise before the graph, or cut that node away with a patch",
                )
    if not found:
        raise ForgeError("no convolution reads the image", "normalise before the graph")
    return list(found.values())


def _weights(node: gs.Node) -> np.ndarray:
    weights = node.inputs[1]
    if (
        not isinstance(weights, gs.Constant)
        or weights.values.shape[1] % _COLOURS
        or node.attrs.get("group", 1) != 1
    ):
        raise ForgeError(
            f"the weights of '{node.name}' are not constant, or not of three colours",
            "patch the model before it is quantized",
        )
    values: np.ndarray = weights.values
    return values


def _spatial(node: gs.Node) -> bool:
    """Tell whether a Slice leaves batch and channels as they are."""
    if len(node.inputs) < 4 or not isinstance(node.inputs[3], gs.Constant):
        return False
    return all(int(axis) in (2, 3, -1, -2) for axis in np.ravel(node.inputs[3].values))


def _each_channel(weights: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return a value for each input channel, as `(1, 3 n, 1, 1)`."""
    return np.tile(colours, weights.shape[1] // _COLOURS).reshape(1, -1, 1, 1)


def _zeros(pad: gs.Node) -> bool:
    """Tell whether a Pad puts zeros around the image."""
    fill = pad.inputs[2] if len(pad.inputs) > 2 else None
    zero = (
        fill is None or fill.is_empty() or (isinstance(fill, gs.Constant) and not fill.values.any())
    )
    return pad.attrs.get("mode", "constant") == "constant" and zero


def _pads(node: gs.Node) -> bool:
    """Tell whether a convolution reads zeros around the image."""
    if any(before.op == "Pad" for before in upstream(node.inputs[0])):
        return True
    return any(node.attrs.get("pads", [])) or node.attrs.get("auto_pad", "NOTSET") not in (
        "NOTSET",
        "VALID",
    )


def _replace(graph: gs.Graph, node: gs.Node, weights: np.ndarray) -> None:
    """Give the node new weights of the old type; nodes that share the old ones keep them."""
    old = node.inputs[1]
    node.inputs[1] = gs.Constant(
        unique(graph, f"{old.name}/patched"), np.ascontiguousarray(weights, old.dtype)
    )


def _replace_bias(graph: gs.Graph, node: gs.Node, more: np.ndarray, dtype: Any) -> None:
    old = node.inputs[2] if len(node.inputs) > 2 else None
    if old is not None and not isinstance(old, gs.Constant):
        raise ForgeError(
            f"the bias of '{node.name}' is not constant", "patch the model before it is quantized"
        )
    bias = (0 if old is None else old.values) + more
    constant = gs.Constant(unique(graph, f"{node.name}/bias_patched"), np.asarray(bias, dtype))
    node.inputs = [*node.inputs[:2], constant]
