"""Layers from the JSON of TensorRT's EngineInspector, versions 8 to 11, and times from its
profiler.

``trtexec --exportLayerInfo`` writes the one, ``--exportProfile`` the other. Before TensorRT 10, the
ONNX nodes of a layer stand only in its name: ``a + b`` runs as one, ``a || b`` side by side in one
kernel, ``PWN(a)`` is a pointwise kernel and ``{ForeignNode[a...b]}`` everything from a to b.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any

from trtforge.errors import ForgeError
from trtforge.reporting import rtx_log
from trtforge.reporting.model import UNREADABLE, Layer, Tensor

FOREIGN = re.compile(r"\{ForeignNode\[(.*)\.\.\.(.*)\]\}", re.DOTALL)
_ROOTS = ("Layers", "layers", "LayerInfo", "layerInfo")
# Layers of TensorRT's own: what stands behind these words is no member, but what the layer was made
# for.
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


def parse(text: str, origin: str) -> list[Layer]:
    """Every layer, in order. One of which only the name is known (built with less than DETAILED) is
    among them.

    Raises:
        ForgeError: not such JSON.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ForgeError(
            f"{origin}: not JSON ({error})", "give what `trtexec --exportLayerInfo` wrote"
        ) from error
    if isinstance(document, dict):
        document = next((document[root] for root in _ROOTS if root in document), None)
    if not isinstance(document, list):
        raise ForgeError(
            f"{origin}: no list of layers in it", "give what `trtexec --exportLayerInfo` wrote"
        )
    return [_layer(each) for each in document]


def profile(text: str, origin: str) -> list[tuple[str, float]]:
    """(layer name, mean milliseconds) in order, as ``--exportProfile`` writes them.

    Raises:
        ForgeError: not such JSON.
    """
    try:
        rows = [row for row in json.loads(text) if "name" in row]
        if not rows:
            raise ValueError("no layers")
        return [(_text(row["name"]), _milliseconds(row)) for row in rows]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ForgeError(
            f"{origin}: not a profile of layers", "give what `trtexec --exportProfile` wrote"
        ) from error


def with_times(
    layers: Sequence[Layer], times: Sequence[tuple[str, float]]
) -> tuple[list[Layer], dict[str, float]]:
    """Layers with their times, by name and among equal names in order; and the times of names that
    are no layer's.
    """
    waiting: dict[str, deque[float]] = defaultdict(deque)
    for name, value in times:
        waiting[name].append(value)
    found = [
        layer.model_copy(update={"time_ms": waiting[layer.name].popleft()})
        if waiting[layer.name]
        else layer
        for layer in layers
    ]
    return found, {name: sum(left) for name, left in waiting.items() if left}


def members(name: str) -> list[str]:
    """The nodes that a layer's name says were fused into it, in order."""
    if _HELPERS.match(name):
        return []
    found: list[str] = []
    for part in _split(name):
        bare = part.strip()
        wrapped = re.fullmatch(r"(?:PWN|POINTWISE)\((.*)\)", bare, re.DOTALL)
        if wrapped:
            found += [each for inner in wrapped[1].split(", ") for each in members(inner)]
        elif bare and not _HELPERS.match(bare):
            found.append(bare)
    return list(dict.fromkeys(found))


def _split(name: str) -> list[str]:
    """Parts between ``+`` and ``||`` that no bracket encloses: those inside belong to a wrapper's
    own parts.
    """
    parts, depth, start, position = [], 0, 0, 0
    while position < len(name):
        depth += (name[position] in "([{") - (name[position] in ")]}")
        joint = next(
            (word for word in (" + ", " || ") if depth <= 0 and name.startswith(word, position)), ""
        )
        if joint:
            parts.append(name[start:position])
            position += len(joint)
            start, depth = position, 0
        else:
            position += 1
    return [*parts, name[start:]]


def _layer(row: Any) -> Layer:
    if isinstance(row, str):
        name = _text(row)
        return Layer(
            name=name, type="", nodes=sorted(members(name)), inputs=[], outputs=[], constants=[]
        )
    if not isinstance(row, dict):
        return Layer(
            name=_text(row)[:200], type=UNREADABLE, nodes=[], inputs=[], outputs=[], constants=[]
        )
    name = _text(row.get("Name", ""))
    return Layer(
        name=name,
        type=_text(row.get("LayerType", "")),
        nodes=rtx_log.nodes(_text(row.get("Metadata", ""))) or sorted(members(name)),
        inputs=[_tensor(each) for each in _list(row, "Inputs")],
        outputs=[_tensor(each) for each in _list(row, "Outputs")],
        constants=[_tensor(each) for each in _list(row, "Constants")] or _weights(row),
        tactic=_text(row.get("TacticName", "")),
        macs=_macs(row),
    )


def _text(value: Any) -> str:
    """Text that UTF-8 can hold: JSON may carry half of a surrogate pair."""
    return str(value).encode("utf-8", "backslashreplace").decode()


def _list(row: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = row.get(key)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _tensor(tensor: dict[str, Any]) -> Tensor:
    layout = _text(tensor.get("Format") or tensor.get("Format/Datatype") or "")
    dtype = datatype(_text(f"{tensor.get('Datatype', '')} {tensor.get('Format/Datatype', '')}"))
    dims = tensor.get("Dimensions")
    return Tensor(
        name=_text(tensor.get("Name", "")),
        dtype=dtype,
        format=layout,
        dims=[dim if type(dim) is int else -1 for dim in dims] if isinstance(dims, list) else [],
    )


def datatype(text: str) -> str:
    """The datatype in the inspector's description of a format, by TensorRT's name; else the
    description itself.
    """
    named = next((name for name, pattern in _DTYPE if pattern.search(text)), "")
    return named or text.strip() or "unknown"


def _weights(row: dict[str, Any]) -> list[Tensor]:
    """Older inspectors give kernels and biases as type and count."""
    found = {key: row.get(key) for key in ("Weights", "Bias")}
    return [
        Tensor(name=key.lower(), dims=[each["Count"]], dtype=datatype(_text(each.get("Type", ""))))
        for key, each in found.items()
        if isinstance(each, dict) and type(each.get("Count")) is int and each["Count"] > 0
    ]


def _macs(row: dict[str, Any]) -> int:
    """Of a convolution or fully connected layer: every output value takes the weights of its
    channel.
    """
    weights, maps, outputs = row.get("Weights"), row.get("OutMaps"), _list(row, "Outputs")
    if not (isinstance(weights, dict) and type(maps) is int and maps > 0 and len(outputs) == 1):
        return 0
    count, dims = weights.get("Count"), _tensor(outputs[0]).dims
    if type(count) is not int or count < 0 or "econvolution" in str(row.get("ParameterType", "")):
        return 0
    values = 1
    for dim in dims:
        values *= max(1, dim)
    return values * count // maps


def _milliseconds(row: dict[str, Any]) -> float:
    value = float(row["averageMs"] if "averageMs" in row else row["timeMs"])
    if not 0 <= value < float("inf"):
        raise ValueError(value)
    return value
