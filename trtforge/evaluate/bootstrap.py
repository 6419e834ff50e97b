"""How far a difference of accuracies may be chance: the images drawn anew, the same for both
engines.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

ROUNDS = 400
SEED = 0


def interval(drop: Callable[[np.ndarray], float], images: int) -> tuple[float, float]:
    """The 95 % interval of a paired difference, by the percentile bootstrap (B. Efron, 1979).

    Both accuracies are computed on the same drawn images, so what is hard for both cancels out.

    Args:
        drop: points lost, given how often each image counts: float64 of shape (images,).
        images: number of images.

    Returns:
        Lower and upper end, in points. The draws are the same in every run.
    """
    draws = np.random.default_rng(SEED).multinomial(images, np.full(images, 1 / images), ROUNDS)
    lost = [drop(counts.astype(np.float64)) for counts in draws]
    low, high = np.percentile(lost, [2.5, 97.5])
    return float(low), float(high)
