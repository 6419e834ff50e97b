"""Rows of TensorRT-RTX's build log and layers of reports, as short as tests want them."""

from __future__ import annotations

from typing import Any

from trtforge.reporting.model import Layer, Tensor


def tensor(name: str, dims: str, dtype: str) -> str:
    return f"{{ Name: {name}, Dimensions: [{dims}], Strides: [1], StrideOrder: [0], Datatype: {dtype}, Format: (NHWC) C }}"


def row(
    name: str = "conv1",
    kind: str = "kgen",
    inputs: str = tensor("image", "1,3,64,64", "Float"),
    constants: str = "",
    outputs: str = tensor("y", "1,8,32,32", "Half"),
    tactic: str = "fused_kernel_0",
    metadata: str = "[ONNX Layer: conv1]",
) -> str:
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {inputs}], Constants: [ {constants}], Outputs: [ {outputs}], "
        f"TacticName: {tactic}, StreamId: 0, Metadata: {metadata}"
    ).replace("[ ]", "[]")


def log(*rows: str) -> str:
    return "\n".join(["Layers:", *rows, "", "I/O Tensors:", " Name: image, IOMode: Input", ""])


def t(
    name: str, dims: tuple[int, ...] = (1, 8, 4, 4), dtype: str = "Half", form: str = ""
) -> Tensor:
    return Tensor(name=name, dims=list(dims), dtype=dtype, format=form)


def layer(
    name: str,
    nodes: str = "",
    reads: list[Tensor] | None = None,
    writes: list[Tensor] | None = None,
    **more: Any,
) -> Layer:
    """A layer of nodes named by the words of ``nodes``."""
    known = {"type": "kgen", "constants": [], **more}
    return Layer(
        name=name, nodes=sorted(nodes.split()), inputs=reads or [], outputs=writes or [], **known
    )
