"""A sweep on the CPU, of models that run in milliseconds."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests import families, photos
from trtforge import store
from trtforge.api.jobs import make_job
from trtforge.bundle.prepared import Target
from trtforge.devices import device
from trtforge.errors import ForgeError
from trtforge.graph.fold import fold
from trtforge.options.precision import Precision
from trtforge.pipeline import prepare
from trtforge.pipeline.job import Job
from trtforge.store import Store
from trtforge.sweeping import SweepRequest, check, deliver_best, sweep
from trtforge.sweeping.rows import Swept

CPU = Target("onnxruntime", None)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return photos.write(tmp_path / "photos", 24)


def swept(images: Path, store_root: Path, batch: int | str = "batch") -> Swept:
    model = images.with_name("model.onnx")
    onnx.save(photos.classifier(batch), model)
    labels = photos.label(images, images.with_name("labels.csv"))
    asked = SweepRequest(["fp32"], [], [None], [None], images, labels, 0.001)
    return sweep(Job(model, photos.RECIPE, "fp32"), CPU, Store(store_root), asked)


def test_deviations_count_once(images: Path, store_root: Path) -> None:
    (row,) = swept(images, store_root).rows
    assert row.accuracy == 1


def test_a_fixed_batch(images: Path, store_root: Path) -> None:
    (row,) = swept(images, store_root, 4).rows
    assert (row.cell.batch, row.accuracy) == (4, 1)


def test_the_picked_engine_is_the_one_that_was_measured(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come from a worker whose tools, and so whose keys, are other ones."""
    model = tmp_path / "model.onnx"
    onnx.save(photos.classifier(), model)
    job, used = Job(model, photos.RECIPE, "fp32"), Store(tmp_path / "store")
    found = sweep(job, CPU, used, SweepRequest(["fp32"], [], [None], [None], None, None, 0.001))
    monkeypatch.setattr(store.tools, "version_of", lambda tool: "another")
    folder = deliver_best(found, "memory", job, CPU, used, tmp_path)
    assert len(list((used.root / "build-onnxruntime").iterdir())) == 1
    assert store.digest(folder / "model.ort.onnx") == found.rows[0].digest


def test_a_sweep_puts_nms_where_build_does(tmp_path: Path, store_root: Path) -> None:
    """TensorRT's plugin would lose the masks of a box."""
    model = tmp_path / "model.onnx"
    onnx.save(fold(families.yolov8_seg("batch")), model)
    target = Target("tensorrt", device("orin-nx"))
    job = make_job(model, Precision(provider="cpu"), [target])
    assert isinstance(job, Job)
    assert prepare(job, Store(store_root), ["tensorrt"]).patches["tensorrt"].impl == "onnx"


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check(out, engine=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ForgeError, match="file: is a file"):
        check(tmp_path / "file", engine=False)
    with pytest.raises(ForgeError, match="file: is a file"):
        check(tmp_path / "file" / "out", engine=False)
    (out / "engine").mkdir(parents=True)
    (out / "engine" / "mine").write_text("mine")
    check(out, engine=False)
    with pytest.raises(ForgeError, match="holds other files"):
        check(out, engine=True)
    (out / "sweep.csv").mkdir()
    with pytest.raises(ForgeError, match=r"sweep\.csv: is a folder"):
        check(out, engine=False)


def test_labels_that_do_not_fit_are_refused_before_the_first_build(
    images: Path, store_root: Path
) -> None:
    model, labels = images.with_name("model.onnx"), images.with_name("labels.csv")
    onnx.save(photos.classifier(), model)
    asked = SweepRequest(["fp32"], [], [None], [None], images, labels, 0.001)
    with pytest.raises(ForgeError, match="no such file"):
        sweep(Job(model, photos.RECIPE, "fp32"), CPU, Store(store_root), asked)
    labels.write_text("00.png,0\n")
    with pytest.raises(ForgeError, match=r"no class for 01\.png"):
        sweep(Job(model, photos.RECIPE, "fp32"), CPU, Store(store_root), asked)
    assert not (store_root / "build-onnxruntime").exists()
