"""Options turned into a job, and what contradicts what."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from trtforge.api.jobs import build_options, make_job, output_folders
from trtforge.api.recipes import load_recipe
from trtforge.bundle.facts import FoldFacts
from trtforge.bundle.manifest import Sources
from trtforge.bundle.prepared import Prepared, Target
from trtforge.devices import catalogue, device
from trtforge.errors import ForgeError
from trtforge.options.builder import Builder
from trtforge.options.nms import Nms
from trtforge.options.precision import Fp16, Int8, Precision, precision_of
from trtforge.pipeline.job import Job
from trtforge.store import File


def made(model: str | Path = "m.onnx", targets: Any = (), **options: Any) -> Job | Prepared:
    groups = [
        kind(
            **{
                field.name: options.pop(field.name)
                for field in fields(kind)
                if field.name in options
            }
        )
        for kind in (Precision, Nms)
    ]
    return make_job(model, groups[0], targets, nms=groups[1], **options)  # type: ignore[arg-type]


def job(model: str | Path = "m.onnx", **options: Any) -> Job:
    found = made(model, **options)
    assert isinstance(found, Job)
    return found


def test_defaults() -> None:
    found = job()
    assert (found.model, found.precision, found.images, found.batch, found.size) == (
        Path("m.onnx"),
        "fp32",
        None,
        None,
        None,
    )
    assert (found.nms, found.nms_impl, found.check) == ("auto", "auto", True)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_precision(precision: str) -> None:
    assert job(**{precision: True}).precision == precision


@pytest.mark.parametrize("pair", [("fp32", "fp16"), ("fp16", "int8"), ("fp32", "int8")])
def test_precisions_exclude_each_other(pair: tuple[str, str]) -> None:
    with pytest.raises(ForgeError, match="exclude each other"):
        job(**dict.fromkeys(pair, True))


def test_calibration_is_for_int8() -> None:
    with pytest.raises(ForgeError, match="--calib is for INT8"):
        job(fp16=True, calib=Path("photos"))


def test_a_bundle_without_nms_keeps_the_figures_for_its_parser() -> None:
    assert job(nms="none", score=0.4).recipe.nms.score == 0.4
    with pytest.raises(ForgeError, match="--nms-impl"):
        job(nms="none", nms_impl="plugin")


@pytest.mark.parametrize(("option", "value"), [("nms", "fast"), ("nms_impl", "cuda")])
def test_words_that_are_not_known(option: str, value: str) -> None:
    with pytest.raises(ForgeError, match=f"--{option.replace('_', '-')} {value}"):
        job(**{option: value})


def test_a_recipe_names_the_model(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("model: a.onnx\nnms: {score: 0.5}\n")
    found = job(tmp_path / "r.yaml")
    assert (found.model, found.recipe.nms.score) == (tmp_path / "a.onnx", 0.5)


def test_a_recipe_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text("name: a\n")
    with pytest.raises(ForgeError, match="names no model"):
        job(tmp_path / "r.yml")


def test_a_recipe_takes_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("model: a.onnx\n")
    with pytest.raises(ForgeError, match="is a recipe itself"):
        job(tmp_path / "r.yaml", recipe="yolov7")


@pytest.mark.parametrize(
    "options",
    [
        {"fp16": True},
        {"int8": True},
        {"calib": Path("p")},
        {"batch": "1"},
        {"size": "1x1"},
        {"recipe": "r"},
        {"labels": Path("l")},
        {"nms": "none"},
        {"nms_impl": "onnx"},
        {"score": 0.0},
        {"iou": 0.5},
        {"max_det": 1},
        {"class_agnostic": True},
    ],
)
def test_a_prepared_folder_decides_these_itself(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ForgeError, match="a prepared folder decides"):
        made(tmp_path, **options)


def test_a_folder_that_is_not_prepared(tmp_path: Path) -> None:
    with pytest.raises(ForgeError, match=r"no manifest\.json"):
        made(tmp_path)


def test_int8_mode_by_device() -> None:
    orin, xavier = (Target(None, device(name)) for name in ("orin-nx", "xavier-nx"))

    def implicit(mode: str | None, target: Target) -> bool:
        return job(int8=True, int8_mode=mode, targets=[target]).implicit

    assert not implicit(None, orin)
    assert implicit("implicit", orin)
    assert not implicit("explicit", orin)
    assert implicit(None, xavier)
    with pytest.raises(ForgeError, match=r"Xavier NX .* ends at TensorRT 8\.5\.2"):
        implicit("explicit", xavier)
    with pytest.raises(ForgeError, match="without --int8"):
        job(int8_mode="implicit", targets=[orin])


def test_precisions_of_python() -> None:
    assert vars(precision_of("fp16")) == vars(Fp16()) == vars(Precision(fp16=True))
    assert vars(Int8("imgs", mode="implicit")) == vars(
        Precision(int8=True, calib="imgs", int8_mode="implicit")
    )
    with pytest.raises(ForgeError, match="precision int4: not known"):
        precision_of("int4")


def test_builder_options_travel_as_one_value() -> None:
    builder = Builder(
        workspace="1GiB",
        memory_pool="tactic-dram=2GiB",
        tactic_sources="jit-convolutions,cudnn",
        opt_level=4,
        dla=1,
    )
    found = build_options(builder, Precision())
    assert (found.workspace, found.pools, found.opt_level) == (2**30, (("tactic-dram", 2**31),), 4)
    assert found.tactic_sources == ("jit-convolutions", "cudnn")
    assert (found.dla_core, found.timing_cache) == (1, None)


@pytest.mark.parametrize(
    ("builder", "why"),
    [
        (Builder(memory_pool=["l2=1GiB"]), "--memory-pool l2"),
        (Builder(memory_pool=["tactic-dram"]), "--memory-pool tactic-dram=: not an amount"),
        (Builder(tactic_sources="cuda"), "--tactic-sources cuda"),
    ],
)
def test_builder_options_that_are_none(builder: Builder, why: str) -> None:
    with pytest.raises(ForgeError, match=why):
        build_options(builder, Precision())


def test_one_target_takes_the_folder_itself() -> None:
    assert output_folders(Path("out"), job(), [Target(None, None)]) == [Path("out")]


@pytest.mark.parametrize(
    ("backend", "name"), [(None, "m-prepared-fp32"), ("onnxruntime", "m-cpu-fp32")]
)
def test_a_folder_name_of_its_own(backend: Any, name: str) -> None:
    assert output_folders(None, job(), [Target(backend, None)]) == [Path(name)]


def prepared(folder: Path) -> Prepared:
    graphs = {"tensorrt": File(folder / "m.onnx", "0")}
    return Prepared("m", "fp32", (1, 1, 1), load_recipe(None), FoldFacts(), Sources(), graphs, {})


def test_a_prepared_folder_has_a_name_of_its_own() -> None:
    device = catalogue()["rtx-4090"]
    assert output_folders(None, job(), [Target(None, device)]) == [Path("m-rtx-4090-prepared-fp32")]
    assert output_folders(None, job(), [Target("tensorrt", device)]) == [Path("m-rtx-4090-fp32")]


def test_a_bundle_never_takes_the_place_of_the_prepared_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the folder came by its name."""
    targets = [Target("tensorrt", catalogue()[name]) for name in ("rtx-4090", "orin-nx")]
    monkeypatch.chdir(tmp_path)
    for out, folder, count in [
        (Path("x"), "x", 1),
        (None, "m-rtx-4090-fp32", 1),
        (None, "m-orin-nx-fp32", 2),
        (Path("x"), "x/orin-nx", 2),
    ]:
        with pytest.raises(ForgeError, match="is the prepared folder itself"):
            output_folders(out, prepared(tmp_path / folder), targets[:count])
    assert len(output_folders(Path("x"), prepared(tmp_path / "x"), targets)) == 2


def test_a_device_named_twice() -> None:
    with pytest.raises(ForgeError, match="cpu twice"):
        output_folders(None, job(), [Target("onnxruntime", None)] * 2)
