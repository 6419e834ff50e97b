"""Suppression by TensorRT's own plugin."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from trtforge.graph.detection import Coding
from trtforge.graph.edit.nodes import unique
from trtforge.graph.nms.options import Four, NmsOptions

_PLUGIN = "EfficientNMS_TRT"


def plugin_nms(
    graph: gs.Graph, boxes: gs.Tensor, scores: gs.Tensor, options: NmsOptions, coding: Coding
) -> Four:
    """Add one `EfficientNMS_TRT` node, version 1, without a namespace.

    TensorRT's ONNX parser finds a plugin by the node's type and its `plugin_version`, and ignores
    the domain, hence the default one. The plugin's creator wants thresholds as floats and the rest
    as integers, and no attribute left out. It gives corners whatever the coding of its input. It
    considers the few thousand best scores of an image (4096 documented, 5000 in its source), and is
    slow for score thresholds under 0.01.

    Source: plugin/efficientNMSPlugin of NVIDIA/TensorRT, 10.3 to 11.1.
    """
    name = unique(graph, "trtforge/nms/efficientnms")
    outputs = (
        gs.Variable(f"{name}/num", np.int32),
        gs.Variable(f"{name}/boxes", np.float32),
        gs.Variable(f"{name}/scores", np.float32),
        gs.Variable(f"{name}/classes", np.int32),
    )
    attrs = {
        "plugin_version": "1",
        "score_threshold": float(options.score),
        "iou_threshold": float(options.iou),
        "max_output_boxes": int(options.max_det),
        "background_class": -1,
        "score_activation": 0,
        "class_agnostic": int(options.class_agnostic),
        "box_coding": 1 if coding == "centre" else 0,
    }
    graph.nodes.append(gs.Node(_PLUGIN, name, attrs, [boxes, scores], list(outputs)))
    return outputs
