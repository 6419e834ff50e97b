"""Compare the outputs of two engines for one image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trtforge.errors import ForgeError
from trtforge.evaluate.metrics import Difference
from trtforge.evaluate.models import Array, OpenedModel


def compare(
    engine: OpenedModel,
    references: Mapping[str, Array],
    others: Mapping[str, Array],
    differences: dict[str, Difference],
) -> None:
    """Add one image to the differences of the outputs, boxes and scores of a detector apart.

    Args:
        engine: the reference.
        differences: by name of the output; new names are added.

    Raises:
        ForgeError: the shapes differ.
    """
    for name, reference in references.items():
        other = others[name]
        if reference.shape != other.shape:
            raise ForgeError(
                f"output {name!r} is {reference.shape} in one engine and {other.shape} in the other",
                "compare engines made from one model",
            )
        if engine.detection and name in engine.detection.outputs:
            parts = zip(_parts(reference, name, engine), _parts(other, name, engine), strict=True)
            for (label, one), (_, two) in parts:
                differences.setdefault(label, Difference()).observe(one, two)
        else:
            differences.setdefault(name, Difference()).observe(reference, other)


def _parts(output: Array, name: str, engine: OpenedModel) -> list[tuple[str, Array]]:
    """Return boxes and scores of a detector's output apart.

    Box coordinates are mostly the grid, which would hide whatever happens to the scores.
    """
    if engine.detection is None or len(engine.detection.outputs) > 1:
        return [(name, output)]
    rows = output.transpose(0, 2, 1) if engine.detection.axes[0] == 1 else output
    return [(f"{name}: boxes", rows[..., :4]), (f"{name}: scores", rows[..., 4:])]


def first_nan(outputs: Mapping[str, Array]) -> str | None:
    """Return the name of the first output that holds NaN; None if none does."""
    return next((name for name, values in outputs.items() if _has_nan(values)), None)


def _has_nan(values: Array) -> bool:
    return values.dtype.kind == "f" and bool(np.isnan(values).any())
