"""The way of a model, in one straight line.

``prepare`` runs every stage that needs no GPU, ``build_engine`` builds for one target, and
``deliver`` does both and writes the folders.
"""

from __future__ import annotations

from trtforge.pipeline.build import build_engine, build_in_cell, engine_cell, needed_backend
from trtforge.pipeline.deliver import Built, deliver
from trtforge.pipeline.job import Job
from trtforge.pipeline.prepare import DEFAULT_SIZE, after_adapting, calibrated_model, prepare

__all__ = [
    "DEFAULT_SIZE",
    "Built",
    "Job",
    "after_adapting",
    "build_engine",
    "build_in_cell",
    "calibrated_model",
    "deliver",
    "engine_cell",
    "needed_backend",
    "prepare",
]
