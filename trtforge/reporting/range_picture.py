"""A tensor's magnitudes and the range that INT8 gets, as one SVG file."""

from __future__ import annotations

from trtforge.calibration.histogram import Histogram
from trtforge.calibration.loops import BINS
from trtforge.reporting import svg
from trtforge.reporting.plots import histogram

WIDTH, HEIGHT = 640, 300  # pixels


def render(name: str, seen: Histogram, amax: float, method: str, images: int) -> str:
    """The histogram on a logarithmic scale: green is inside INT8's range, grey is clipped.

    Args:
        amax: largest magnitude that INT8 represents.
        method: how it was chosen.
        images: number of images that were observed.
    """
    counts, width = seen.counts.tolist(), seen.limit / BINS
    beyond, total = int(amax / width) + 1 if width else BINS, sum(counts)
    said = (
        f"{method}: INT8 ends at {amax:.4g}, the largest magnitude is {seen.largest:.4g}; "
        f"{100 * sum(counts[beyond:]) / total:.2g} % are clipped"
        if width
        else "always zero"
    )
    shown = min(BINS, max(int(1.02 * seen.largest / width), beyond) + 1) if width else BINS
    plot = histogram(
        "magnitudes", counts[:shown], shown * width, amax, width=WIDTH, height=HEIGHT, axes=True
    )
    return svg.document_with_heading(name, [said, f"{total:,} values of {images} images"], plot)
