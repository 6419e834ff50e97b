"""What tune measures, on a classifier that runs in milliseconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import models, photos
from trtforge.calibrate.images import prepare
from trtforge.job import Job
from trtforge.recipe import Decode
from trtforge.store import Store
from trtforge.tune.bench import JUDGED, SEARCHED, Bench, _spread, bench


@pytest.fixture
def job(tmp_path: Path) -> Job:
    onnx.save(photos.classifier(), tmp_path / "model.onnx")
    return Job(tmp_path / "model.onnx", photos.RECIPE, "int8", photos.write(tmp_path / "photos", 24))


def ready(job: Job, store_root: Path, labels: Path | None = None, probes: int = 2) -> Bench:
    return bench(job, Store(store_root), None, labels, probes, 1000)


@pytest.mark.parametrize("batch", ["batch", 4])
def test_deviations_count_once(job: Job, store_root: Path, tmp_path: Path, batch: int | str) -> None:
    assert job.images
    onnx.save(photos.classifier(batch), job.model)
    found = ready(job, store_root, photos.label(job.images, tmp_path / "labels.csv"))
    (output,) = found.network.open(None)(found.probes[0]).values()
    image = prepare(found.files[0], job.recipe.preprocess, found.network.size)
    np.testing.assert_allclose(output, models.outputs(photos.classifier(), image)[0], rtol=1e-3, atol=1e-3)
    assert [found.accuracy(None, part)(None) for part in (SEARCHED, JUDGED)] == [1, 1]


def test_figures_of_the_head_decide_the_results(job: Job, store_root: Path) -> None:
    kept = [ready(replace(job, recipe=recipe), store_root)._found(None, JUDGED)
            for recipe in (job.recipe, job.recipe.model_copy(update={"decode": Decode(background="first")}))]  # fmt: skip
    assert kept[0] != kept[1]


def test_probes_are_spread_and_none_counts_twice() -> None:
    files = [Path(str(number)) for number in range(16)]
    assert [file.name for file in _spread(files, 4)] == ["0", "4", "8", "12"]
    assert _spread(files, 9) == files[SEARCHED]
