"""Layers from the build log of TensorRT-RTX, which is the only list of them that needs no GPU.

The builder prints names as they are, with line ends, brackets and commas in them. So a row is not a
line: it is read from its start, and each name ends where the punctuation that the builder puts
behind a name stands first.
"""

from __future__ import annotations

import re

from trtforge.reporting.model import UNREADABLE, Layer, Tensor

_HEADING = re.compile(r"^.*Layers:\n", re.MULTILINE)
_START = re.compile(r"^Name: ", re.MULTILINE)
_TYPE = re.compile(r", LayerType: (\w*), Inputs: \[")
_TENSOR = re.compile(
    r", Dimensions: \[([-\d,]*)\][^{}]*?Datatype: (\w+)(?:, Format: ([^{}]*?))? \}"
)
_STREAM = re.compile(r", StreamId: -?\d+(?:, EventId: -?\d+)?, Metadata: ?")
_END = re.compile(r"()(?:\n(?=Name: |\s*I/O Tensors:|\s*Bindings:|\s*\Z)|\Z)")
# A node's name may hold line ends and brackets; behind its own bracket the builder may say what
# became of it, as in [ONNX Layer: a]__gemm_from_conv1x1
_END_OF_NODES = re.compile(rf"(\]\w*){_END.pattern[2:]}")
_NODE = re.compile(r"\[ONNX Layer: (.*?)\]\w*(?=[\x1e\x1f]?(?:\[ONNX Layer: |\Z))", re.DOTALL)


class _NewForm(Exception):
    """A row that is not as the builder of TensorRT-RTX 1.7 writes it."""


def is_log(text: str) -> bool:
    """Whether a text holds rows of the builder's list."""
    return _TYPE.search(text) is not None


def parse(text: str) -> list[Layer]:
    """Every row of the builder's list, in order.

    A row that can't be read is a layer all the same, of the type ``UNREADABLE``: it is shown, and a
    finding counts it.
    """
    heading = _HEADING.search(text)
    position = heading.end() if heading else 0
    layers = []
    while start := _START.search(text, position):
        head = _TYPE.search(text, start.end())
        if head is None:
            break
        try:
            layer, position = _row(text, text[start.end() : head.start()], head)
        except _NewForm:
            end = _END.search(text, head.end())
            position = end.end() if end else len(text)
            row = text[start.start() : position].strip()
            layer = Layer(
                name=row[:200], type=UNREADABLE, nodes=[], inputs=[], outputs=[], constants=[]
            )
        layers.append(layer)
    return layers


def nodes(metadata: str) -> list[str]:
    """The ONNX nodes that a layer's metadata name, sorted."""
    return sorted(set(_NODE.findall(metadata.rstrip("\n "))))


def _row(text: str, name: str, head: re.Match[str]) -> tuple[Layer, int]:
    """A layer, and where the next row starts."""
    inputs, position = _tensors(text, head.end())
    constants, position = _tensors(text, _after(text, position, ", Constants: ["))
    outputs, position = _tensors(text, _after(text, position, ", Outputs: ["))
    position = _after(text, position, ", TacticName: ")
    stream = _STREAM.search(text, position)
    named = stream and text.startswith("[", stream.end())
    end = (_END_OF_NODES if named else _END).search(text, stream.end()) if stream else None
    if not (stream and end) or "\n" in text[position : stream.start()]:
        raise _NewForm
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
    """The tensors of a list, from behind its bracket to behind the one that closes it."""
    found = []
    while text.startswith(("{ Name: ", " { Name: ", ", { Name: "), position):
        position = text.index("Name: ", position) + len("Name: ")
        rest = _TENSOR.search(text, position)
        if rest is None or _TYPE.search(
            text, position, rest.start()
        ):  # none, but one of the next row's
            raise _NewForm
        dims = [int(dim) for dim in rest[1].split(",") if dim.strip("-")]
        found.append(
            Tensor(
                name=text[position : rest.start()], dims=dims, dtype=rest[2], format=rest[3] or ""
            )
        )
        position = rest.end()
    return found, _after(text, position, "]")


def _after(text: str, position: int, words: str) -> int:
    if not text.startswith(words, position):
        raise _NewForm
    return position + len(words)
