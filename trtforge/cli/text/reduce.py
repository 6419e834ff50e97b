"""Text for ``reduce``: the nodes that are left, and what is wrong with them."""

from __future__ import annotations

from trtforge import present
from trtforge.api.results import ReduceResult

SHOWN = 20


def summarize(result: ReduceResult) -> str:
    """Return the nodes, the fault, and how far the search came."""
    rows = [[node["operator"], node["name"]] for node in result.nodes[:SHOWN]]
    lines = [present.table(rows, ["operator", "node"])]
    if len(result.nodes) > SHOWN:
        lines += [f"and {len(result.nodes) - SHOWN} more"]
    lines += ["", f"{result.fault}: {result.message}"]
    files = f"{result.out}, {result.inputs}" if result.inputs else f"{result.out}"
    checks = "1 check" if result.checks == 1 else f"{result.checks} checks"
    lines += [
        f"{files}: {len(result.nodes)} of {result.nodes_before} nodes, {checks} with {result.backend}"
    ]
    if not result.complete:
        lines += ["  the time ended before every node was tried: give more --time"]
    return "\n".join(lines)
