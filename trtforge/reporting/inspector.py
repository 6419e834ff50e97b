"""Read layers from the JSON of TensorRT's EngineInspector (8 to 11), and times from its profiler.

``trtexec --exportLayerInfo`` writes the layers, ``--exportProfile`` the times. Before TensorRT 10,
the ONNX nodes of a layer are only in its name: ``a + b`` runs as one, ``a || b`` side by side in one
kernel, ``PWN(a)`` is a pointwise kernel, and ``{ForeignNode[a...b]}`` is everything from a to b.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Sequence
from math import prod
from typing import TypeAlias, cast

from trtforge.documents import DocumentError, load_json
from trtforge.errors import ForgeError
from trtforge.reporting import rtx_log
from trtforge.reporting.model import Layer, Tensor, unreadable_layer

FOREIGN = re.compile(r"\{ForeignNode\[(.*)\.\.\.(.*)\]\}", re.DOTALL)
_ROOTS = ("Layers", "layers", "LayerInfo", "layerInfo")  # TensorRT's versions differ
# Layers that TensorRT adds itself. The name after these words is not a node in the layer: it is the
# node for which the layer was added.
_HELPERS = re.compile(
    r"(Reformatting CopyNode for |copied_|reshape_(before|after)_|(un)?squeeze_(node_)?(before|after)_|"
    r"shuffle_(before|after)_|\(Unnamed Layer\*)"
)
_DTYPES = {
    "Float": r"FP32|Float|Float32|TF32",
    "Half": r"FP16|Half|Float16",
    "BFloat16": r"BF16|BFloat16",
    "Int8": r"INT8",
    "UInt8": r"UINT8",
    "Int4": r"INT4",
    "Int32": r"INT32",
    "Int64": r"INT64",
    "Bool": r"BOOL",
    "FP8": r"FP8\w*",
    "FP4": r"FP4\w*",
    "E8M0": r"E8M0",
}
_DTYPE = [
    (name, re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])", re.I))
    for name, words in _DTYPES.items()
]


# A JSON object of the inspector; every value is checked before it is used.
Row: TypeAlias = dict[str, object]


def parse(text: str, origin: str) -> list[Layer]:
    """Read every layer, in order.

    A layer has only a name if the engine was built without ``profilingVerbosity=detailed``.

    Args:
        origin: the file's name, for messages.

    Raises:
        ForgeError: the text is not such JSON.
    """
    try:
        document = load_json(text, repeats=True)
    except DocumentError as error:
        raise ForgeError(
            f"{origin}: {error.reason}", "give what `trtexec --exportLayerInfo` wrote"
        ) from error
    if isinstance(document, dict):
        document = next((document[root] for root in _ROOTS if root in document), None)
    if not isinstance(document, list):
        raise ForgeError(
            f"{origin}: contains no list of layers", "give what `trtexec --exportLayerInfo` wrote"
        )
    rows: list[object] = document
    return [_layer(row) for row in rows]


def profile(text: str, origin: str) -> list[tuple[str, float]]:
    """Read pairs of layer name and mean milliseconds, in order, as ``--exportProfile`` wrote them.

    Args:
        origin: the file's name, for messages.

    Raises:
        ForgeError: the text is not such JSON.
    """
    try:
        content = cast("list[Row]", load_json(text, repeats=True))
        rows = [row for row in content if "name" in row]
        if not rows:
            raise ValueError("no layers")
        return [(_text(row["name"]), _milliseconds(row)) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        raise ForgeError(
            f"{origin}: not a profile of layers", "give what `trtexec --exportProfile` wrote"
        ) from error


def with_times(
    layers: Sequence[Layer], times: Sequence[tuple[str, float]]
) -> tuple[list[Layer], dict[str, float]]:
    """Give each layer its time, by name; layers with equal names get their times in order.

    Returns:
        The layers; and the times of names that belong to no layer.
    """
    waiting: dict[str, deque[float]] = defaultdict(deque)
    for name, value in times:
        waiting[name].append(value)
    timed: list[Layer] = []
    for layer in layers:
        queue = waiting[layer.name]
        timed.append(layer.model_copy(update={"time_ms": queue.popleft()}) if queue else layer)
    return timed, {name: sum(left) for name, left in waiting.items() if left}


def members(name: str) -> list[str]:
    """Return the nodes that a layer's name lists, in order."""
    if _HELPERS.match(name):
        return []
    nodes: list[str] = []
    for part in _split(name):
        bare = part.strip()
        wrapped = re.fullmatch(r"(?:PWN|POINTWISE)\((.*)\)", bare, re.DOTALL)
        if wrapped:
            for inner in wrapped[1].split(", "):
                nodes += members(inner)
        elif bare and not _HELPERS.match(bare):
            nodes.append(bare)
    return list(dict.fromkeys(nodes))


def _split(name: str) -> list[str]:
    """Split a name at each ``+`` and ``||`` that is not inside brackets."""
    parts: list[str] = []
    depth = start = position = 0
    while position < len(name):
        depth += (name[position] in "([{") - (name[position] in ")]}")
        separator = ""
        if depth <= 0:
            separator = next((s for s in (" + ", " || ") if name.startswith(s, position)), "")
        if separator:
            parts.append(name[start:position])
            position += len(separator)
            start, depth = position, 0
        else:
            position += 1
    return [*parts, name[start:]]


def _layer(value: object) -> Layer:
    if isinstance(value, str):  # built without details: only the name is known
        name = _text(value)
        return Layer(
            name=name, type="", nodes=sorted(members(name)), inputs=[], outputs=[], constants=[]
        )
    if not isinstance(value, dict):
        return unreadable_layer(_text(value))
    row: Row = value
    name = _text(row.get("Name", ""))
    return Layer(
        name=name,
        type=_text(row.get("LayerType", "")),
        nodes=rtx_log.nodes(_text(row.get("Metadata", ""))) or sorted(members(name)),
        inputs=[_tensor(tensor) for tensor in _rows(row, "Inputs")],
        outputs=[_tensor(tensor) for tensor in _rows(row, "Outputs")],
        constants=[_tensor(tensor) for tensor in _rows(row, "Constants")] or _weights(row),
        tactic=_text(row.get("TacticName", "")),
        macs=_macs(row),
    )


def _text(value: object) -> str:
    """Return text that UTF-8 can encode: JSON may contain half of a surrogate pair."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _rows(row: Row, key: str) -> list[Row]:
    """Return the objects in a list of a row; empty if it has no such list."""
    values = row.get(key)
    return (
        [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    )


def _integers(value: object) -> list[int]:
    """Return a list of sizes, with -1 for what is not a number."""
    if not isinstance(value, list):
        return []
    return [size if type(size) is int else -1 for size in value]


def _tensor(tensor: Row) -> Tensor:
    layout = _text(tensor.get("Format") or tensor.get("Format/Datatype") or "")
    dtype = datatype(_text(f"{tensor.get('Datatype', '')} {tensor.get('Format/Datatype', '')}"))
    return Tensor(
        name=_text(tensor.get("Name", "")),
        dtype=dtype,
        format=layout,
        dims=_integers(tensor.get("Dimensions")),
    )


def datatype(text: str) -> str:
    """Return TensorRT's name of the datatype in the inspector's description of a format.

    Where the description names no datatype, it is returned as it is.
    """
    named = next((name for name, pattern in _DTYPE if pattern.search(text)), "")
    return named or text.strip() or "unknown"


def _weights(row: Row) -> list[Tensor]:
    """Return the weights and bias of a row: older inspectors list them as type and count."""
    tensors: list[Tensor] = []
    for key in ("Weights", "Bias"):
        value = row.get(key)
        if isinstance(value, dict):
            count = value.get("Count")
            if isinstance(count, int) and type(count) is int and count > 0:
                dtype = datatype(_text(value.get("Type", "")))
                tensors.append(Tensor(name=key.lower(), dims=[count], dtype=dtype))
    return tensors


def _macs(row: Row) -> int:
    """Return the multiply-accumulates of a convolution or fully connected layer.

    Every output value needs the weights of its channel, of which the row has the total number.
    """
    weights, maps, outputs = row.get("Weights"), row.get("OutMaps"), _rows(row, "Outputs")
    if not (isinstance(weights, dict) and isinstance(maps, int) and len(outputs) == 1):
        return 0
    count = weights.get("Count")
    if type(maps) is not int or maps <= 0 or not isinstance(count, int) or type(count) is not int:
        return 0
    if count < 0 or "econvolution" in str(row.get("ParameterType", "")):  # also of Deconvolution
        return 0
    values = prod(max(1, dim) for dim in _tensor(outputs[0]).dims)
    return values * count // maps


def _milliseconds(row: Row) -> float:
    time = row["averageMs"] if "averageMs" in row else row["timeMs"]
    if not isinstance(time, (str, int, float)):
        raise TypeError(time)
    value = float(time)
    if not 0 <= value < float("inf"):
        raise ValueError(value)
    return value
