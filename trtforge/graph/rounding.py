"""Weights to integers so that the outputs come out right, not the weights: no retraining, only sums over some images.

A convolution sees ``s * q`` where the float network has ``x``: scale times integers. With the covariances of ``q`` and
of the residual ``r = x / s - q`` three things follow in closed form:

1. weights that give the least squared error of the output on such inputs (ridge regression towards the given ones);
2. their rounding one input at a time, each error made good by the inputs not yet rounded (Frantar et al., "Optimal
   Brain Compression", arXiv 2208.11580, and GPTQ, arXiv 2210.17323);
3. the bias that keeps the mean of every output channel (Nagel et al., "Data-Free Quantization", arXiv 1906.04721).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

INT8_MAX = 127  # symmetric weights: -128 is not used
FIELDS = ("integers", "scales", "bias")
MOST_COLUMNS = 576  # inputs whose covariance is kept: memory and time grow with its square
MOST_ROWS = 1024  # 128 * 128 * 1024 = 2^24: sums of products of INT8 stay exact in float32
RESIDUAL_STEPS = 256  # residuals are kept in 1/256 of a step, so that their sums are exact, too
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
    arrays = {f"{field}{number}": getattr(weights[name], field)
              for number, name in enumerate(names) for field in FIELDS}  # fmt: skip
    with path.open("wb") as stream:
        np.savez(stream, names=np.array(names, str), **arrays)


def load(path: Path) -> dict[str, Rounded]:
    """Read what ``save`` wrote."""
    with np.load(path) as table:
        return {str(name): Rounded(*(table[f"{field}{number}"] for field in FIELDS))
                for number, name in enumerate(table["names"])}  # fmt: skip


class Moments:
    """Sums over the inputs of a convolution, exact, so that neither their order nor the number of threads shows.

    The inputs are cut into ``parts`` whose covariances with each other are left out: the groups of the convolution, and
    pieces of at most 576 columns of each.
    """

    def __init__(self, parts: int, columns: int) -> None:
        self.rows = 0
        self._q = np.zeros((parts, columns))
        self._r = np.zeros((parts, columns))
        self._qq = np.zeros((parts, columns, columns))
        self._rq = np.zeros((parts, columns, columns))

    def observe(self, values: np.ndarray) -> None:
        """Add rows: float32 (n, parts, columns), n <= 1024, inputs over their scale."""
        q = np.clip(np.rint(values), -128, 127)
        r = np.rint((values - q) * RESIDUAL_STEPS).astype(np.float64).transpose(1, 2, 0)
        by_part = np.ascontiguousarray(q.transpose(1, 0, 2))
        self.rows += len(values)
        self._q += q.sum(0, dtype=np.float64)
        self._r += r.sum(2)
        self._qq += by_part.transpose(0, 2, 1) @ by_part
        self._rq += r @ by_part.astype(np.float64)

    @property
    def shape(self) -> tuple[int, int]:
        """Parts and columns of a row."""
        count, columns = self._q.shape
        return count, columns

    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """Of q and r: (parts, columns) each."""
        return self._q / self.rows, self._r / (self.rows * RESIDUAL_STEPS)

    def covariances(self) -> tuple[np.ndarray, np.ndarray]:
        """Of q with q and of r with q: (parts, columns, columns) each."""
        q, r = self.means()
        return (self._qq / self.rows - q[:, :, None] * q[:, None, :],
                self._rq / (self.rows * RESIDUAL_STEPS) - r[:, :, None] * q[:, None, :])  # fmt: skip


def parts(channels: int, columns: int) -> int:
    """Into how many equal pieces of whole channels a group of that many columns is cut."""
    return next(pieces for pieces in range(1, channels + 1)
                if channels % pieces == 0 and (columns // pieces <= MOST_COLUMNS or pieces == channels))  # fmt: skip


def round_weights(weights: np.ndarray, bias: np.ndarray, scale: float, moments: Moments, groups: int,
                  grid: Callable[[np.ndarray], np.ndarray]) -> Rounded:  # fmt: skip
    """Integers, scales and bias for float weights (O, I, kH, kW) and bias (O,).

    Args:
        scale: of the input.
        moments: of the input over that scale.
        groups: of the convolution.
        grid: float weights (O, columns) to the scale of each row.
    """
    outputs = len(weights)
    q_mean, r_mean = moments.means()
    of_q, of_r = moments.covariances()
    count, columns = q_mean.shape
    # (parts, outputs of a group, columns): the parts of a group follow one another.
    given = weights.astype(np.float64).reshape(groups, outputs // groups, count // groups, columns)
    given = given.transpose(0, 2, 1, 3).reshape(count, outputs // groups, columns)
    ridge = DAMPING * of_q.diagonal(axis1=1, axis2=2).mean(1) + 1e-6
    damped = of_q + ridge[:, None, None] * np.eye(columns)
    best = given + np.linalg.solve(damped, (given @ of_r).transpose(0, 2, 1)).transpose(0, 2, 1)

    def rows(values: np.ndarray) -> np.ndarray:
        whole = values.reshape(groups, count // groups, outputs // groups, columns).transpose(0, 2, 1, 3)
        return np.ascontiguousarray(whole).reshape(outputs, -1)

    scales = grid(rows(best))
    steps = np.repeat(scales.astype(np.float64).reshape(groups, 1, -1, 1), count // groups, axis=1)
    steps = steps.reshape(count, -1, 1)
    integers = _feedback(best / steps, damped)
    before = given @ (q_mean + r_mean)[:, :, None]
    after = (integers * steps) @ q_mean[:, :, None]
    shift = (before - after).reshape(groups, count // groups, -1).sum(1).reshape(outputs)
    return Rounded(rows(integers).reshape(weights.shape).astype(np.int8), scales,
                   (bias + scale * shift).astype(np.float32))  # fmt: skip


def _feedback(values: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Integers for (parts, outputs, columns): columns of large variance first, errors passed on to the others."""
    order = np.argsort(-covariance.diagonal(axis1=1, axis2=2), axis=1, kind="stable")
    sorted_covariance = np.take_along_axis(
        np.take_along_axis(covariance, order[:, :, None], axis=1), order[:, None, :], axis=2
    )
    upper = np.linalg.cholesky(np.linalg.inv(sorted_covariance)).transpose(0, 2, 1)
    left = np.take_along_axis(values, order[:, None, :], axis=2)
    found = np.empty_like(left)
    for column in range(left.shape[2]):
        found[:, :, column] = np.clip(np.rint(left[:, :, column]), -INT8_MAX, INT8_MAX)
        error = (left[:, :, column] - found[:, :, column]) / upper[:, column, column, None]
        left[:, :, column + 1 :] -= error[:, :, None] * upper[:, column, None, column + 1 :]
    integers = np.empty_like(found)
    np.put_along_axis(integers, np.broadcast_to(order[:, None, :], found.shape), found, axis=2)
    return integers
