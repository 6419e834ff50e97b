"""Round weights to integers so that the layer's outputs, not the weights, come out closest.

Rounding each weight to nearest ignores that inputs go together. With the covariance of what the
convolution reads, quantized inputs ``s * q``, two things follow in closed form:

1. rounding one input channel's weight at a time, each error made good by the weights not yet
   rounded (Frantar et al., "Optimal Brain Compression", arXiv 2208.11580, and GPTQ, arXiv
   2210.17323);
2. the bias that keeps the mean of every output channel, for what the rounding of weights and of
   inputs adds to it (Nagel et al., "Data-Free Quantization", arXiv 1906.04721).

Weights fitted by least squares to make good the rounding of the inputs, too, were tried and lost
accuracy on the demo detector: the fit spends itself on clipped values, which the activation behind
would have flattened anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

INT8_MAX = 127  # symmetric weights: -128 is not used
FIELDS = ("integers", "scales", "bias")
MAX_COLUMNS = 576  # inputs whose covariance is kept: memory and time grow with its square
MAX_ROWS = 1024  # 128 * 128 * 1024 = 2^24: sums of products of INT8 stay exact in float32
STEPS = 256  # inputs are summed in 1/256 of a step, so that their sums are exact, too
AT_ONCE = 64  # columns whose errors are passed on to the rest in one product, as GPTQ does
DAMPING = 0.01  # of the mean variance: GPTQ's value


@dataclass(frozen=True)
class Rounded:
    """A convolution's new constants.

    Attributes:
        integers: int8, of the weights' shape.
        scales: float32 (O,), of the output channels.
        bias: float32 (O,).
    """

    integers: np.ndarray
    scales: np.ndarray
    bias: np.ndarray


def save(weights: Mapping[str, Rounded], path: Path) -> None:
    """Write the constants of several operators, by name."""
    names = sorted(weights)
    arrays = {
        f"{field}{number}": getattr(weights[name], field)
        for number, name in enumerate(names)
        for field in FIELDS
    }
    with path.open("wb") as stream:
        np.savez(stream, names=np.array(names, str), **arrays)


def load(path: Path) -> dict[str, Rounded]:
    """Read what ``save`` wrote."""
    with np.load(path) as table:
        return {
            str(name): Rounded(*(table[f"{field}{number}"] for field in FIELDS))
            for number, name in enumerate(table["names"])
        }


class Moments:
    """Exact sums over the inputs of a convolution: neither their order nor the threads change them.

    The inputs are cut into ``parts`` whose covariances with each other are left out: the groups of
    the convolution, and pieces of at most 576 columns of each.
    """

    def __init__(self, parts: int, columns: int) -> None:
        self.rows = 0
        self._x = np.zeros((parts, columns))
        self._q = np.zeros((parts, columns))
        # This array takes the most memory, so it is int32, which is exact for 131,072 rows.
        self._qq = np.zeros((parts, columns, columns), np.int32)

    @property
    def shape(self) -> tuple[int, int]:
        """Return the parts and columns of a row."""
        count, columns = self._q.shape
        return count, columns

    def observe(self, values: np.ndarray) -> None:
        """Add rows: float32 (n, parts, columns), n <= 1024, inputs over their scale."""
        q = np.clip(np.rint(values), -128, 127)
        by_part = np.ascontiguousarray(q.transpose(1, 0, 2))
        self.rows += len(values)
        self._x += np.rint(values * STEPS).sum(0, dtype=np.float64)
        self._q += q.sum(0, dtype=np.float64)
        self._qq += (by_part.transpose(0, 2, 1) @ by_part).astype(np.int32)

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the means of the inputs before and after rounding, over their scale: (parts, columns)."""
        return self._x / (self.rows * STEPS), self._q / self.rows

    def covariance(self) -> np.ndarray:
        """Return the covariance of the inputs after rounding: (parts, columns, columns)."""
        mean = self._q / self.rows
        found: np.ndarray = self._qq / self.rows - mean[:, :, None] * mean[:, None, :]
        return found


def parts(channels: int, columns: int) -> int:
    """Return into how many equal pieces of whole channels a group of columns is cut."""
    return next(
        pieces
        for pieces in range(1, channels + 1)
        if channels % pieces == 0 and (columns // pieces <= MAX_COLUMNS or pieces == channels)
    )


def round_weights(
    weights: np.ndarray,
    bias: np.ndarray,
    scale: float,
    moments: Moments,
    groups: int,
    grid: Callable[[np.ndarray], np.ndarray],
) -> Rounded:
    """Return integers, scales and bias for float weights (O, I, kH, kW) and bias (O,).

    Args:
        scale: of the input.
        moments: of the input over that scale.
        groups: of the convolution.
        grid: float weights (O, columns) to the scale of each row.
    """
    outputs = len(weights)
    count, columns = moments.shape
    pieces = count // groups  # the parts of a group follow one another
    scales = grid(weights.reshape(outputs, -1))
    levels = weights.reshape(outputs, -1) / scales[:, None].astype(np.float64)
    levels = (
        levels.reshape(groups, -1, pieces, columns)
        .transpose(0, 2, 1, 3)
        .reshape(count, -1, columns)
    )
    covariance = moments.covariance()
    # The 1e-6 is for an input that never changes: its variance, and so its damping, is 0.
    damping = DAMPING * covariance.diagonal(axis1=1, axis2=2).mean(1) + 1e-6
    integers = _feedback(levels, covariance + damping[:, None, None] * np.eye(columns))
    before, after = moments.means()
    shift = levels @ before[:, :, None] - integers @ after[:, :, None]
    shift = shift.reshape(groups, pieces, -1).sum(1).reshape(outputs)
    whole = (
        integers.reshape(groups, pieces, -1, columns).transpose(0, 2, 1, 3).reshape(weights.shape)
    )
    return Rounded(
        whole.astype(np.int8), scales, (bias + scale * scales * shift).astype(np.float32)
    )


def _feedback(values: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Round (parts, outputs, columns), columns of large variance first; errors pass on to the others."""
    order = np.argsort(-covariance.diagonal(axis1=1, axis2=2), axis=1, kind="stable")
    sorted_covariance = np.take_along_axis(
        np.take_along_axis(covariance, order[:, :, None], axis=1), order[:, None, :], axis=2
    )
    upper = np.linalg.cholesky(np.linalg.inv(sorted_covariance)).transpose(0, 2, 1)
    left = np.take_along_axis(values, order[:, None, :], axis=2)
    found = np.empty_like(left)
    columns = left.shape[2]
    for start in range(0, columns, AT_ONCE):
        end = min(start + AT_ONCE, columns)
        errors = np.empty_like(left[:, :, start:end])
        for column in range(start, end):
            found[:, :, column] = np.clip(np.rint(left[:, :, column]), -INT8_MAX, INT8_MAX)
            error = (left[:, :, column] - found[:, :, column]) / upper[:, column, column, None]
            left[:, :, column + 1 : end] -= (
                error[:, :, None] * upper[:, column, None, column + 1 : end]
            )
            errors[:, :, column - start] = error
        left[:, :, end:] -= errors @ upper[:, start:end, end:]
    integers = np.empty_like(found)
    np.put_along_axis(integers, np.broadcast_to(order[:, None, :], found.shape), found, axis=2)
    return integers
