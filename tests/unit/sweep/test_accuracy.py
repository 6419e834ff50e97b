"""The accuracy of a sweep, on a classifier that runs in milliseconds."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests import photos
from trtforge.job import Job, Target
from trtforge.store import Store
from trtforge.sweep import Asked, sweep
from trtforge.sweep.rows import Swept

CPU = Target("onnxruntime", None)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return photos.write(tmp_path / "photos", 24)


def swept(images: Path, store_root: Path, batch: int | str = "batch") -> Swept:
    model = images.with_name("model.onnx")
    onnx.save(photos.classifier(batch), model)
    labels = photos.label(images, images.with_name("labels.csv"))
    asked = Asked(["fp32"], [], [None], [None], images, labels, 0.001)
    return sweep(Job(model, photos.RECIPE, "fp32"), CPU, Store(store_root), asked)


def test_deviations_count_once(images: Path, store_root: Path) -> None:
    (row,) = swept(images, store_root).rows
    assert row.accuracy == 1


def test_a_fixed_batch(images: Path, store_root: Path) -> None:
    (row,) = swept(images, store_root, 4).rows
    assert (row.cell.batch, row.accuracy) == (4, 1)
