"""Preparing a model, and what a dry run knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from tests import photos
from tests.models import classifier
from trtforge.bundle.facts import FoldFacts, PatchFacts
from trtforge.errors import ForgeError
from trtforge.pipeline import prepare
from trtforge.pipeline.job import Job
from trtforge.recipe import Recipe
from trtforge.store import Store


@pytest.fixture
def job(tmp_path: Path) -> Job:
    onnx.save(classifier(), tmp_path / "model.onnx")
    return Job(tmp_path / "model.onnx", Recipe(), "fp16")


def test_a_dry_run_knows_nothing_and_makes_nothing(job: Job, store_root: Path) -> None:
    store = Store(store_root, planning=True)
    prepared = prepare(job, store, ["onnxruntime"])
    assert (prepared.facts, prepared.patches["tensorrt"]) == (FoldFacts(), PatchFacts())
    assert [artifact.stage for artifact in store.ran] == ["fold", "cast", "patch", "patch"]
    assert all(artifact.planned and not artifact.summary for artifact in store.ran)
    assert not store_root.exists()


def test_every_stage_runs_once(job: Job, store_root: Path) -> None:
    first, again = Store(store_root), Store(store_root)
    made = prepare(job, first, ["onnxruntime"])
    assert prepare(job, again, ["onnxruntime"]) == made
    assert all(artifact.cached for artifact in again.ran)
    assert made.facts.size and list(made.graphs) == ["tensorrt", "onnxruntime"]
    assert [artifact.facts for artifact in first.ran] == [artifact.facts for artifact in again.ran]


def test_a_model_that_is_not_there(job: Job, store_root: Path) -> None:
    with pytest.raises(ForgeError, match="no such file"):
        prepare(replace(job, model=Path("none.onnx")), Store(store_root), [])


def test_a_batch_that_the_model_has_not(job: Job, store_root: Path) -> None:
    onnx.save(photos.classifier(4), job.model)
    with pytest.raises(ForgeError, match="batch is fixed at 4, not 1:2:8"):
        prepare(replace(job, batch=(1, 2, 8)), Store(store_root), [])


def test_int8_needs_images(job: Job, store_root: Path) -> None:
    with pytest.raises(ForgeError, match="INT8 needs photographs"):
        prepare(replace(job, precision="int8"), Store(store_root), [])
