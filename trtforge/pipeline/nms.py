"""Choose the NMS for the graph of each backend."""

from __future__ import annotations

from trtforge.bundle.facts import FoldFacts
from trtforge.names import Backend
from trtforge.pipeline.job import Job
from trtforge.stages.patch import PatchOptions
from trtforge.traits import DEEPSTREAM, TRAITS

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
        enlarge=backend == DEEPSTREAM and facts.detection is None and job.nms == "auto",
    )


def _form(job: Job, backend: Backend, facts: FoldFacts) -> str:
    detection = facts.detection
    if job.nms == "auto" and detection is None:
        return "keep"
    ranked = detection is not None and detection.form in RANKED_FORMS
    form = TRAITS[backend].nms(job.nms, ranked)
    # DeepStream's stock parser knows upright boxes only: oriented ones leave the graph as tensors.
    oriented = detection is not None and "angle" in detection.extras
    return "onnx" if job.nms == "auto" and oriented and form == "deepstream" else form
