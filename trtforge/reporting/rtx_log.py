"""Read layers from the build log of TensorRT-RTX, the only list of them that needs no GPU.

The builder prints names without escapes, with the line ends, brackets and commas in them. So a row
is not a line: it is read from its start, and a name ends at the first occurrence of the punctuation
that the builder prints after names.
"""

from __future__ import annotations

import re

from trtforge.reporting.model import Layer, Tensor, unreadable_layer

_HEADING = re.compile(r"^.*Layers:\n", re.MULTILINE)
_START = re.compile(r"^Name: ", re.MULTILINE)
_TYPE = re.compile(r", LayerType: (\w*), Inputs: \[")
_TENSOR = re.compile(
    r", Dimensions: \[([-\d,]*)\][^{}]*?Datatype: (\w+)(?:, Format: ([^{}]*?))? \}"
)
_STREAM = re.compile(r", StreamId: -?\d+(?:, EventId: -?\d+)?, Metadata: ?")
_END = re.compile(r"()(?:\n(?=Name: |\s*I/O Tensors:|\s*Bindings:|\s*\Z)|\Z)")
# A node's name may contain line ends and brackets. After its closing bracket the builder may add
# what became of it, as in [ONNX Layer: a]__gemm_from_conv1x1
_END_OF_NODES = re.compile(rf"(\]\w*){_END.pattern[2:]}")
_NODE = re.compile(r"\[ONNX Layer: (.*?)\]\w*(?=[\x1e\x1f]?(?:\[ONNX Layer: |\Z))", re.DOTALL)


class _UnknownForm(Exception):
    """A row is not as the builder of TensorRT-RTX 1.7 writes it."""


def is_log(text: str) -> bool:
    """Return whether a text contains rows of the builder's list."""
    return _TYPE.search(text) is not None


def parse(text: str) -> list[Layer]:
    """Read every row of the builder's list, in order.

    A row that can't be read becomes a layer of the type ``UNREADABLE``, so that the report shows it
    and a remark counts it.
    """
    heading = _HEADING.search(text)
    position = heading.end() if heading else 0
    layers: list[Layer] = []
    while start := _START.search(text, position):
        head = _TYPE.search(text, start.end())
        if head is None:
            break
        try:
            layer, position = _row(text, text[start.end() : head.start()], head)
        except _UnknownForm:
            end = _END.search(text, head.end())
            position = end.end() if end else len(text)
            layer = unreadable_layer(text[start.start() : position].strip())
        layers.append(layer)
    return layers


def nodes(metadata: str) -> list[str]:
    """Return the ONNX nodes that a layer's metadata lists, sorted."""
    return sorted(set(_NODE.findall(metadata.rstrip("\n "))))


def _row(text: str, name: str, head: re.Match[str]) -> tuple[Layer, int]:
    """Read a layer.

    Args:
        name: the layer's name.
        head: the match of what follows the name.

    Returns:
        The layer, and the position of the next row.

    Raises:
        _UnknownForm: the row has another form.
    """
    inputs, position = _tensors(text, head.end())
    constants, position = _tensors(text, _after(text, position, ", Constants: ["))
    outputs, position = _tensors(text, _after(text, position, ", Outputs: ["))
    position = _after(text, position, ", TacticName: ")
    stream = _STREAM.search(text, position)
    if stream is None or "\n" in text[position : stream.start()]:
        raise _UnknownForm
    lists_nodes = text.startswith("[", stream.end())
    end = (_END_OF_NODES if lists_nodes else _END).search(text, stream.end())
    if end is None:
        raise _UnknownForm
    layer = Layer(
        name=name,
        type=head[1],
        nodes=nodes(text[stream.end() : end.end(1)]),
        inputs=inputs,
        outputs=outputs,
        constants=constants,
        tactic=text[position : stream.start()],
    )
    return layer, end.end()


def _tensors(text: str, position: int) -> tuple[list[Tensor], int]:
    """Read a list of tensors.

    Args:
        position: after the list's opening bracket.

    Returns:
        The tensors, and the position after the closing bracket.
    """
    tensors: list[Tensor] = []
    while text.startswith(("{ Name: ", " { Name: ", ", { Name: "), position):
        position = text.index("Name: ", position) + len("Name: ")
        rest = _TENSOR.search(text, position)
        # A match beyond the start of the next row is a tensor of that row.
        if rest is None or _TYPE.search(text, position, rest.start()):
            raise _UnknownForm
        name = text[position : rest.start()]
        dims = [int(dim) for dim in rest[1].split(",") if dim.strip("-")]
        tensors.append(Tensor(name=name, dims=dims, dtype=rest[2], format=rest[3] or ""))
        position = rest.end()
    return tensors, _after(text, position, "]")


def _after(text: str, position: int, words: str) -> int:
    """Return the position after some words, which must come next."""
    if not text.startswith(words, position):
        raise _UnknownForm
    return position + len(words)
