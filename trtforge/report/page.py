"""One engine as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from trtforge import present


def render(title: str, backend: str, facts: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> str:
    """HTML with no outside reference; every text from the model is escaped.

    Args:
        title: model, precision and device.
        backend: who built the engine.
        facts: of the build stage.
        layers: see ``trtforge.report.layers``.
    """
    from jinja2 import Environment

    crossing = facts.get("crossing_bytes", {})
    most = max(crossing.values(), default=0) or 1
    template = Environment(autoescape=True).from_string(
        resources.files("trtforge.report").joinpath("page.html").read_text("utf-8")
    )
    return template.render(
        title=title,
        backend=backend,
        figures=_figures(facts),
        bars=[(dtype, present.size(count), 100 * count / most) for dtype, count in crossing.items()],
        layers=[_row(layer) for layer in layers],
    )


def _figures(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("engine", present.size(facts["engine_bytes"])), ("layers", str(facts["layers"]))]
    if facts.get("convolutions"):
        rows.append(("convolutions with INT8 inputs", f"{facts['int8_convolutions']} of {facts['convolutions']}"))
    names = {"weight_bytes": "weights", "activation_bytes": "activations", "scratch_bytes": "largest scratch"}
    return rows + [(label, present.size(facts[key])) for key, label in names.items() if key in facts]


def _row(layer: Mapping[str, Any]) -> dict[str, str]:
    def types(tensors: Sequence[Mapping[str, Any]]) -> str:
        return ", ".join(dict.fromkeys(tensor["dtype"] for tensor in tensors))

    return {
        "name": layer["name"],
        "type": layer["type"],
        "nodes": "\n".join(layer["nodes"]),
        "inputs": types(layer["inputs"]),
        "outputs": types(layer["outputs"]),
    }
