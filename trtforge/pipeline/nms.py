"""Which NMS the graph of each backend gets."""

from __future__ import annotations

from trtforge.bundle.facts import FoldFacts
from trtforge.names import Backend
from trtforge.pipeline.job import Job
from trtforge.stages.patch import PatchOptions

# The form of the NMS in each backend's graph with --nms auto.
AUTO_NMS = {"tensorrt": "deepstream", "tensorrt-rtx": "none", "onnxruntime": "onnx"}
RANKED_FORMS = ("queries", "ranked")  # their boxes do not overlap, and need no more than a TopK


def patch_options(job: Job, backend: Backend, facts: FoldFacts) -> PatchOptions:
    """Return the options of the stage ``patch`` for a backend's graph.

    Args:
        facts: what folding found out about the model.
    """
    return PatchOptions(
        form=_form(job, backend, facts),
        impl=job.nms_impl,
        head=job.recipe.head,
        nms=job.recipe.nms,
        decode=job.recipe.decode,
    )


def _form(job: Job, backend: Backend, facts: FoldFacts) -> str:
    detection = facts.detection
    if job.nms == "auto" and detection is None:
        return "keep"
    form = AUTO_NMS[backend] if job.nms == "auto" else job.nms
    if backend == "tensorrt-rtx":
        # It can build no NMS, which the DeepStream form beside it has, but it can build a TopK.
        ranked = detection is not None and detection.form in RANKED_FORMS
        return "onnx" if ranked and form not in ("none", "keep") else "none"
    if backend == "onnxruntime" and form in ("deepstream", "efficientnms"):
        return "onnx"  # the same outputs as the plugin's
    return form
