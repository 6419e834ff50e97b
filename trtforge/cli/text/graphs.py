"""Text for the commands that edit graphs."""

from __future__ import annotations

from typing import Any

from trtforge import present


def listed(found: dict[str, Any]) -> str:
    """What a graph holds, what its outputs are taken for, and the patches that a recipe may list."""
    from trtforge.patches import KINDS

    rows = [
        [each["kind"], each["name"], each["dtype"], "x".join(map(str, each["shape"]))]
        for each in found["tensors"]
    ]
    lines = [present.table(rows, ["", "name", "type", "shape"]), ""]
    if found["nms"]:
        lines.append(f"NMS inside: {found['nms']}")
    elif found["detection"]:
        lines.append(f"detector, {found['detection']['sure']}: {found['detection']['why']}")
    lines += [f"may be: {each['why']}; what decides: {each['ask']}" for each in found["likely"]]
    if found["other"]:
        lines.append(f"no boxes: {found['other']}")
    lines += [
        f"{found['nodes']} nodes, opset {found['opset']}",
        "",
        "patches that a recipe may list:",
    ]
    for kind in KINDS:
        fields = ", ".join(name for name in kind.model_fields if name != "patch")
        said = (kind.__doc__ or "").split("\n")[0]
        lines.append(f"  {kind.__name__.lower():10}{fields:22}{said}")
    return "\n".join(lines)


def feed(facts: dict[str, Any]) -> str:
    """What a patched graph takes, in words."""
    if facts["dtype"] == "uint8":
        return "takes uint8 NHWC frames, RGB"
    steps = (
        f"{facts['scale']:.6g} * (pixel - {list(facts['offsets'])})"
        if any(facts["offsets"])
        else ""
    )
    steps = steps or f"{facts['scale']:.6g} * pixel"
    return f"takes {steps}{' / ' + str(list(facts['std'])) if facts['std'] else ''}, {facts['color'].upper()}"
