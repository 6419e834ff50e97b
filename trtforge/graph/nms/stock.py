"""Outputs as DeepStream's own library of parsers reads them."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.edit.nodes import add_node, cast
from trtforge.graph.nms.options import Four

STOCK_PARSER = "NvDsInferParseCustomTfSSD"


def stock_parser_outputs(graph: gs.Graph, four: Four, size: tuple[int, int]) -> Four:
    """Return detections for DeepStream's `NvDsInferParseCustomTfSSD`: y1, x1, y2, x2 in 0..1.

    That parser is in libnvds_infercustomparser.so, which every DeepStream installation has, so no
    library has to be compiled on the target. Of the stock parsers it is the safest: it finds
    tensors by name, where the BatchedNMS parsers go by position and read out of bounds when the
    order differs; it refuses int32 classes with an error, where they silently call everything class
    0; and it applies each class's own threshold. It ignores an int32 num_detections and scans all K
    rows, of which padding has score zero.

    Boxes are converted after suppression: K rows instead of N, and IoU is computed on the same
    pixels as in the
    other forms, so every form keeps the same boxes.
    """
    count, boxes, scores, classes = four
    height, width = size
    swapped = add_node(
        graph, "Gather", [boxes, np.array([1, 0, 3, 2], np.int64)], "boxes_yx", axis=2
    )
    extent = np.array([height, width, height, width], np.float32)
    fractions = add_node(graph, "Div", [swapped, extent], "boxes_normalised")
    return count, fractions, scores, cast(graph, classes, np.float32, "classes_float")
