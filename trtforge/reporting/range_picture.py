"""Draw a tensor's magnitudes and the range that INT8 gets, as one SVG file."""

from __future__ import annotations

from trtforge.calibration.histogram import Histogram
from trtforge.calibration.loops import BINS
from trtforge.reporting import svg
from trtforge.reporting.histogram_plot import histogram

WIDTH, HEIGHT = 640, 300  # pixels
MARGIN = 1.02  # the picture ends just above the largest magnitude


def render(name: str, observed: Histogram, amax: float, method: str, images: int) -> str:
    """Return a picture of a histogram: green is inside INT8's range, grey is clipped.

    Args:
        amax: largest magnitude that INT8 represents.
        method: the method that chose it.
        images: number of images that were observed.
    """
    counts: list[int] = observed.counts.tolist()
    width = observed.limit / BINS  # of a bin
    total = sum(counts)
    note, shown = "always zero", BINS
    if width:
        clipped = int(amax / width) + 1  # the first bin outside the range
        share = 100 * sum(counts[clipped:]) / total
        note = (
            f"{method}: INT8 ends at {amax:.4g}, the largest magnitude is "
            f"{observed.largest:.4g}; {share:.2g} % are clipped"
        )
        shown = min(BINS, max(int(MARGIN * observed.largest / width), clipped) + 1)
    plot = histogram(
        "magnitudes", counts[:shown], shown * width, amax, width=WIDTH, height=HEIGHT, axes=True
    )
    return svg.document_with_heading(name, [note, f"{total:,} values of {images} images"], plot)
