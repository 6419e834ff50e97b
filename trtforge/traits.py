"""Traits of the backends: one record for each, and no code.

The code that builds and runs engines is in ``trtforge.backends``. Which backend serves a device is
decided in ``trtforge.pipeline.targets``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtforge.names import Backend


@dataclass(frozen=True)
class Traits:
    """Facts about a backend.

    Attributes:
        graph_suffix: how the name of the graph that it builds from ends in an output folder.
        engine_suffix: how the name of its engine ends there; None where nvinfer prescribes the
            name, or where the graph is the engine.
        auto_nms: the form of the NMS in its graph with ``--nms auto``.
        exchanged_nms: forms that it can't run, each with the form that takes its place.
        ranked_nms: the form for a model whose boxes do not overlap, which needs no more than a
            TopK; None: no other form than for the rest.
        on_gpu: its engine is for the GPU of a device; otherwise it is for the CPU of this machine.
        builds_on_target: it times kernels, so it builds on a machine with the target's GPU alone,
            one engine at a time.
        half: FP16 is faster than FP32 there.
        fp8: it computes in FP8 where the device does.
        dla: it can build for a DLA.
        implicit: it can choose precisions itself, by a calibration cache.
        ignored: fields of ``BuildOptions`` that change nothing about its engine.
    """

    graph_suffix: str
    engine_suffix: str | None = None
    auto_nms: str = "onnx"
    exchanged_nms: Mapping[str, str] = field(default_factory=dict)
    ranked_nms: str | None = None
    on_gpu: bool = True
    builds_on_target: bool = False
    half: bool = True
    fp8: bool = True
    dla: bool = False
    implicit: bool = False
    ignored: tuple[str, ...] = ()

    def nms(self, form: str, ranked: bool) -> str:
        """Return the form of the NMS in its graph.

        Args:
            form: the form that the user asked for, or ``auto``.
            ranked: the model's boxes do not overlap.
        """
        form = self.auto_nms if form == "auto" else form
        if ranked and self.ranked_nms and form not in ("none", "keep"):
            return self.ranked_nms
        return self.exchanged_nms.get(form, form)


# TensorRT-RTX can build no NMS, which the DeepStream form beside it has. Of the builder's options it
# takes these and does nothing with them, or can't serve them: ``backends.tensorrt_rtx`` says why.
_WITHOUT_NMS = dict.fromkeys(("keep", "onnx", "efficientnms", "deepstream"), "none")
_UNSERVED_BY_RTX = (
    "opt_level", "tactic_sources", "timing_cache", "sparsity", "hardware_compatible",
    "version_compatible", "dla_core",
)  # fmt: skip

TRAITS: dict[Backend, Traits] = {
    "tensorrt": Traits(
        graph_suffix=".onnx",
        auto_nms="deepstream",
        builds_on_target=True,
        dla=True,
        implicit=True,
    ),
    "tensorrt-rtx": Traits(
        graph_suffix=".rtx.onnx",
        engine_suffix=".rtx.engine",
        auto_nms="none",
        exchanged_nms=_WITHOUT_NMS,
        ranked_nms="onnx",
        ignored=_UNSERVED_BY_RTX,
    ),
    # Its CPU kernels are not faster in FP16. The engine is the graph itself.
    "onnxruntime": Traits(
        graph_suffix=".ort.onnx",
        # Standard operators with the same outputs as the plugin's.
        exchanged_nms={"deepstream": "onnx", "efficientnms": "onnx"},
        on_gpu=False,
        half=False,
        fp8=False,
        ignored=("workspace", "opt_level"),
    ),
}

# nvinfer builds from TensorRT's graph, which is the one that pgie_config.txt names.
DEEPSTREAM: Backend = "tensorrt"
ONNXRUNTIME: Backend = "onnxruntime"  # what serves a machine without a GPU
RTX: Backend = "tensorrt-rtx"  # what builds for other GPUs, and without one
