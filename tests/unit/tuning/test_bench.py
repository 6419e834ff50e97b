"""What tune measures, on a classifier that runs in milliseconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import models, photos
from trtforge.calibration.images import evenly_spaced, prepare
from trtforge.errors import ForgeError
from trtforge.graph.fold import fold
from trtforge.pipeline.job import Job
from trtforge.recipe import Decode, Recipe
from trtforge.store import Store
from trtforge.tuning.bench import JUDGED, SEARCHED, Bench, bench


@pytest.fixture
def job(tmp_path: Path) -> Job:
    onnx.save(photos.classifier(), tmp_path / "model.onnx")
    return Job(
        tmp_path / "model.onnx", photos.RECIPE, "int8", photos.write(tmp_path / "photos", 24)
    )


def ready(job: Job, store_root: Path, labels: Path | None = None, probes: int = 2) -> Bench:
    return bench(job, Store(store_root), None, labels, probes, 1000)


@pytest.mark.parametrize("batch", ["batch", 4])
def test_deviations_count_once(
    job: Job, store_root: Path, tmp_path: Path, batch: int | str
) -> None:
    assert job.images
    onnx.save(photos.classifier(batch), job.model)
    found = ready(job, store_root, photos.label(job.images, tmp_path / "labels.csv"))
    (output,) = found.network.open(None)(found.probes[0]).values()
    image = prepare(found.files[0], job.recipe.preprocess, found.network.size)
    np.testing.assert_allclose(
        output, models.outputs(photos.classifier(), image)[0], rtol=1e-3, atol=1e-3
    )
    assert [found.accuracy(None, part)(None) for part in (SEARCHED, JUDGED)] == [1, 1]


def test_figures_of_the_head_decide_the_results(job: Job, store_root: Path) -> None:
    other = job.recipe.model_copy(update={"decode": Decode(background="first")})
    one, two = (ready(replace(job, recipe=recipe), store_root) for recipe in (job.recipe, other))
    assert one._results(None, JUDGED) != two._results(None, JUDGED)


def test_probes_are_spread_and_none_counts_twice() -> None:
    files = [Path(str(number)) for number in range(16)]
    assert [file.name for file in evenly_spaced(files[SEARCHED], 4)] == ["0", "4", "8", "12"]
    assert evenly_spaced(files[SEARCHED], 9) == files[SEARCHED]


def test_a_few_unreadable_images_are_left_out_and_more_are_refused(
    job: Job, store_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "trtforge")
    assert job.images
    (job.images / "broken.png").write_bytes(b"no image")
    found = ready(job, store_root)
    assert len(found.files) == 24 and len(found._true_classes(SEARCHED)) == 12
    assert "1 unreadable skipped" in caplog.text
    (job.images / "cut.png").write_bytes(b"no image")
    with pytest.raises(ForgeError, match=r"cut\.png: not a readable image, the second of 26"):
        ready(job, store_root)


def test_images_of_one_name_in_two_folders(store_root: Path, tmp_path: Path) -> None:
    onnx.save(fold(models.yolov8_like()), tmp_path / "model.onnx")
    folder = tmp_path / "photos"
    for camera in ("a", "b"):
        photos.write(folder / camera, 4)
    job = Job(tmp_path / "model.onnx", Recipe(), "int8", folder)
    found = ready(job, store_root)
    assert found.accuracy(None, SEARCHED)(None) == 1
    with pytest.raises(ForgeError, match=r"2 images are called 00\.png"):
        ready(job, store_root, tmp_path / "labels.json")
