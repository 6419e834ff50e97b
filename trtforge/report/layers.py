"""The layers of a built engine, in one form whoever built it.

A layer is ``{"name", "type", "nodes", "inputs", "outputs", "constants", "tactic"}``: ``nodes`` are names of ONNX nodes
that were fused into it, and the tensors of the other three lists are ``{"name", "dims", "dtype"}`` with dtype
``Float``, ``Half``, ``Int8`` and so on, as TensorRT writes them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

Layer = dict[str, Any]

_ROW = re.compile(
    r"^Name: (?P<name>.*?), LayerType: (?P<type>[^,]*), Inputs: \[(?P<inputs>.*?)\], "
    r"Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*?)\], "
    r"TacticName: (?P<tactic>.*?), StreamId: .*?Metadata: (?P<metadata>.*)$"
)
_TENSOR = re.compile(r"\{ Name: (?P<name>.*?), Dimensions: \[(?P<dims>[-\d,]*)\].*?Datatype: (?P<dtype>\w+)")
_NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=[\[\x1e\x1f]|$)")


def parse(text: str) -> list[Layer]:
    """Layers from TensorRT-RTX's build log or from the EngineInspector's JSON.

    Raises:
        ValueError: a row of the log can't be read: it would be missing from every count.
    """
    if text.startswith("{"):
        return [_inspected(layer) for layer in json.loads(text)["Layers"]]
    rows = [line for line in text.split("\n") if line.startswith("Name: ") and ", LayerType: " in line]
    return [_logged(row) for row in rows]


def int8_convolutions(layers: Iterable[Layer], convolutions: Iterable[str]) -> list[str]:
    """Those of the ONNX convolutions that some layer with INT8 inputs computes."""
    int8 = {node for layer in layers for node in layer["nodes"]
            if any(tensor["dtype"] in ("Int8", "FP8") for tensor in layer["inputs"])}  # fmt: skip
    return [name for name in convolutions if name in int8]


def bytes_crossing(layers: Iterable[Layer]) -> dict[str, int]:
    """Bytes that layers hand to each other, by datatype, at the profile's best batch."""
    width = {"Float": 4, "Half": 2, "BFloat16": 2, "Int8": 1, "FP8": 1, "Bool": 1, "UInt8": 1, "Int64": 8}
    total: Counter[str] = Counter()
    for layer in layers:
        for tensor in layer["outputs"]:
            count = 1
            for dim in tensor["dims"]:
                count *= max(1, dim)
            total[tensor["dtype"]] += count * width.get(tensor["dtype"], 4)
    return dict(total)


def _logged(row: str) -> Layer:
    found = _ROW.match(row)
    if not found:
        raise ValueError(f"a row of the layer dump has a new form: {row[:200]}")
    return {
        "name": found["name"],
        "type": found["type"],
        "nodes": _nodes(found["metadata"]),
        "inputs": _tensors(found["inputs"]),
        "outputs": _tensors(found["outputs"]),
        "constants": _tensors(found["constants"]),
        "tactic": found["tactic"],
    }


def _inspected(layer: Any) -> Layer:
    if isinstance(layer, str):  # built with less than DETAILED verbosity: names alone
        return {"name": layer, "type": "", "nodes": [], "inputs": [], "outputs": [], "constants": [], "tactic": ""}
    return {
        "name": layer.get("Name", ""),
        "type": layer.get("LayerType", ""),
        "nodes": _nodes(layer.get("Metadata", "")),
        "inputs": [_inspected_tensor(tensor) for tensor in layer.get("Inputs", [])],
        "outputs": [_inspected_tensor(tensor) for tensor in layer.get("Outputs", [])],
        "constants": [_inspected_tensor(tensor) for tensor in layer.get("Constants", [])],
        "tactic": layer.get("TacticName", ""),
    }


def _inspected_tensor(tensor: dict[str, Any]) -> dict[str, Any]:
    text = f"{tensor.get('Datatype', '')} {tensor.get('Format/Datatype', '')}"
    names = {"BFloat16": "BFloat16", "FP32": "Float", "Float": "Float", "FP16": "Half", "Half": "Half",
             "Int8": "Int8", "INT8": "Int8"}  # fmt: skip
    dtype = next((name for word, name in names.items() if word in text), text.strip() or "unknown")
    return {"name": tensor.get("Name", ""), "dims": tensor.get("Dimensions", []), "dtype": dtype}


def _nodes(metadata: str) -> list[str]:
    return sorted(set(_NODE.findall(metadata.strip())))


def _tensors(text: str) -> list[dict[str, Any]]:
    found = list(_TENSOR.finditer(text))
    if len(found) != text.count("{ "):
        raise ValueError(f"a tensor of the layer dump has a new form: {text[:200]}")
    return [{"name": tensor["name"], "dims": [int(dim) for dim in tensor["dims"].split(",") if dim],
             "dtype": tensor["dtype"]} for tensor in found]  # fmt: skip
