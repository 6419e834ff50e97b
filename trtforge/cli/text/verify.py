"""Text for ``verify``: differences of outputs and layers, and accuracy."""

from __future__ import annotations

from trtforge import present
from trtforge.evaluate.verification import Verification


def summarize(result: Verification, find_worst: bool) -> str:
    """Return the figures; with ``find_worst``, one line instead of the table of layers."""
    lines = []
    if result.outputs:
        lines += [_outputs(result), ""]
    if result.layers:
        lines += [_worst_layer(result) if find_worst else _layers(result), ""]
    if result.accuracy:
        lines += [_accuracy(result), ""]
    if result.agreement:
        common, total = result.agreement
        lines += [f"{common} of {total} objects are found by both (score 0.25, IoU 0.5)"]
    lines += [f"{result.images} images"]
    lines += [f"  {remark}" for remark in (*result.broken, *result.remarks)]
    return "\n".join(lines)


def _outputs(result: Verification) -> str:
    header = ["output", "Pearson", "cosine", "SQNR dB", "max error", "mean error"]
    rows = [
        [
            name,
            f"{output.pearson:.6f}",
            f"{output.cosine:.6f}",
            f"{output.sqnr:.1f}",
            f"{output.largest:.4g}",
            f"{output.mean:.4g}",
        ]
        for name, output in result.outputs.items()
    ]
    return present.table(rows, header)


def _layers(result: Verification) -> str:
    rows = [
        [
            layer.tensor,
            f"{layer.difference.pearson:.5f}",
            f"{layer.difference.sqnr:.1f}",
            f"{100 * layer.added:.2f}",
        ]
        for layer in result.layers
    ]
    return present.table(rows, ["activation, in order", "Pearson", "SQNR dB", "% noise added"])


def _worst_layer(result: Verification) -> str:
    worst = max(result.layers, key=lambda layer: layer.added)
    return f"most noise is added at {worst.node}: {100 * worst.added:.2f} % of the signal"


def _accuracy(result: Verification) -> str:
    # A column without values keeps its place, with an empty title.
    lost_title = "points lost" if result.drops else ""
    interval_title = "95 % interval" if result.intervals else ""
    header = ["engine", result.metric, *result.more, lost_title, interval_title]
    # The first engine is the reference: it has no loss and no interval.
    lost = ["", *(f"{drop:.2f}" for drop in result.drops)]
    intervals = ["", *(f"{low:.2f} to {high:.2f}" for low, high in result.intervals)]
    intervals += [""] * len(result.engines)  # results without intervals need blank cells
    columns = [result.accuracy, *result.more.values()]
    rows = [
        [engine, *(f"{column[index]:.4f}" for column in columns), lost[index], intervals[index]]
        for index, engine in enumerate(result.engines)
    ]
    return present.table(rows, header)
