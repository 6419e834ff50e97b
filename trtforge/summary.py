"""What a run says in the end: a short table, a plan, or one JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trtforge import present
from trtforge.pipeline import Built
from trtforge.store import Artifact, Store


def document(store: Store, built: Sequence[Built]) -> dict[str, Any]:
    """Everything a script may want to know."""
    return {
        "stages": [{"stage": each.stage, "cached": each.cached, "why": each.why, "seconds": round(each.seconds, 3),
                    "facts": each.facts} for each in store.ran],
        "outputs": [{"folder": str(each.out), "backend": each.target.backend,
                     "device": each.target.device.name if each.target.device else None, "written": each.wrote,
                     "engine": each.engine.facts if each.engine else None, "remarks": each.remarks}
                    for each in built],
    }  # fmt: skip


def plan(store: Store) -> str:
    """The stages in order, and why each would run."""
    rows = [[each.stage, "cached" if each.cached else "would run", each.why] for each in store.ran]
    return present.table(rows, ["stage", "", "why"])


def text(store: Store, built: Sequence[Built]) -> str:
    """What ran, what was skipped on the way, and what lies where."""
    lines = []
    made = [each for each in store.ran if not each.cached]
    rows = [[each.stage, "cached" if each.cached else f"{each.seconds:.1f} s", _said(each)] for each in store.ran]
    lines += [present.table(rows, ["stage", "time", "result"]), ""]
    if built:
        lines += [f"  {remark}" for remark in built[0].remarks]
    for each in built:
        state = "" if each.wrote else "  (unchanged: nothing to do)" if not made else "  (unchanged)"
        lines.append(f"{each.out}/{state}")
    return "\n".join(lines)


def _said(artifact: Artifact) -> str:
    facts = artifact.facts
    if artifact.stage == "fold":
        return f"{facts['nodes_before']} nodes, now {facts['nodes']}"
    if artifact.stage == "calibrate":
        skipped = f", {len(facts['skipped'])} unreadable skipped: {facts['skipped'][0]} ..." if facts["skipped"] else ""
        return f"{facts['tensors']} tensors from {facts['images']} images{skipped}"
    if artifact.stage == "quantize":
        return f"{facts['int8']} of {facts['learned']} learned operators in INT8"
    if artifact.stage == "cast":
        return f"FP16, {facts['casts']} casts"
    if artifact.stage == "patch":
        return f"NMS: {facts['form']}" + (f" ({facts['impl']})" if facts["impl"] else "")
    int8 = f", {facts['int8_convolutions']} of {facts['convolutions']} convolutions with INT8 inputs"
    return f"{present.size(facts['engine_bytes'])}, {facts['layers']} layers" + (
        int8 if facts["int8_convolutions"] else ""
    )
