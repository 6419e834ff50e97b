"""Text for ``patch``: what a graph holds, and what it takes."""

from __future__ import annotations

from trtforge import present
from trtforge.stages.patch import FloatFeed, FrameFeed, Listing


def summarize_graph(found: Listing) -> str:
    """Return what a graph holds, what its outputs are, and the patches that a recipe may list."""
    from trtforge.patches import KINDS

    rows = [
        [tensor.kind, tensor.name, tensor.dtype, "x".join(map(str, tensor.shape))]
        for tensor in found.tensors
    ]
    lines = [present.table(rows, ["", "name", "type", "shape"]), ""]
    if found.nms:
        lines.append(f"NMS inside: {found.nms}")
    elif found.detection:
        lines.append(f"detector, {found.detection.sure}: {found.detection.why}")
    lines += [f"may be: {guess.why}; what decides: {guess.ask}" for guess in found.likely]
    if found.other:
        lines.append(f"no boxes: {found.other}")
    lines += [f"{found.nodes} nodes, opset {found.opset}", "", "patches that a recipe may list:"]
    for kind in KINDS:
        fields = ", ".join(name for name in kind.model_fields if name != "patch")
        purpose = (kind.__doc__ or "").split("\n")[0]
        lines.append(f"  {kind.__name__.lower():10}{fields:22}{purpose}")
    return "\n".join(lines)


def describe_feed(found: FloatFeed | FrameFeed) -> str:
    """Return what a patched graph takes, in words."""
    if found.dtype == "uint8":
        return "takes uint8 NHWC frames, RGB"
    steps = f"{found.scale:.6g} * pixel"
    if any(found.offsets):
        steps = f"{found.scale:.6g} * (pixel - {list(found.offsets)})"
    std = f" / {list(found.std)}" if found.std else ""
    return f"takes {steps}{std}, {found.color.upper()}"
