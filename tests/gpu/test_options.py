"""On the target: every option of the builder reaches TensorRT, and its engine is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.gpu.engines import (
    NEEDS_TENSORRT,
    build,
    command,
    engine_of,
    least_pearson,
    manifest,
    saved,
)
from tests.models import SIDE, classifier, correlation, outputs, photographs
from trtforge.errors import BuildError, ForgeError, MachineError
from trtforge.pipeline.job import Job
from trtforge.recipe import Recipe

pytestmark = NEEDS_TENSORRT


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return saved(classifier(), tmp_path_factory.mktemp("model"))


def work(model: Path, precision: str = "fp16", **words) -> Job:
    return Job(model, Recipe(), precision, **words)


def loaded(engine: Path):
    """Yields TensorRT and the engine, as the product opens it."""
    from trtforge.backends import tensorrt

    return tensorrt.opened(engine)


def expected(model: Path, images: np.ndarray) -> np.ndarray:
    return outputs(onnx.load(model), images)[0]


def infer(engine: Path, images: np.ndarray) -> np.ndarray:
    from trtforge.backends import tensorrt

    return next(iter(tensorrt.load(engine).infer(images).values()))


@pytest.mark.parametrize(
    "options",
    [
        {"workspace": 64 << 20},
        {"pools": (("tactic-shared-memory", 64 << 10), ("tactic-dram", 1 << 30))},
        {"hardware_compatible": True},
        {"sparsity": True},
        {"aux_streams": 0},
        {"aux_streams": 2},
        {"tactic_sources": ("edge-mask-convolutions", "jit-convolutions")},
        {"tactic_sources": ()},
        {"tf32": True},
        {"tf32": False},
        {"opt_level": 1},
    ],
    ids=lambda options: ", ".join(f"{name}={value}" for name, value in options.items()),
)
def test_engine_of_an_option_is_right(store, tmp_path, model, options):
    precision = "fp32" if "tf32" in options else "fp16"
    out = build(store, tmp_path / "out", work(model, precision), **options)
    assert least_pearson(out) >= 0.999
    facts = manifest(out)["engine"]["built"]
    assert facts["hardware_compatible"] == options.get("hardware_compatible", False)
    if options.get("aux_streams") == 0:
        with loaded(engine_of(out)) as (_, engine):
            assert engine.num_aux_streams == 0


def test_batches_of_a_profile(store, tmp_path, model):
    out = build(store, tmp_path / "out", work(model, "fp32", batch=(1, 8, 32)), tf32=False)
    assert engine_of(out).name.startswith("model.onnx_b32_gpu0")
    images = photographs(32)
    want = expected(model, images)
    for count in (1, 3, 8, 32):
        found = infer(engine_of(out), images[:count])
        np.testing.assert_allclose(found, want[:count], rtol=1e-3, atol=1e-3)
    with pytest.raises(ForgeError, match=f"takes 1x3x{SIDE}x{SIDE} to 32x3x{SIDE}x{SIDE}, not 33x"):
        infer(engine_of(out), photographs(33))


def test_several_profiles(store, tmp_path, model):
    name = onnx.load(model).graph.input[0].name
    shapes = [
        {name: tuple((count, 3, SIDE, SIDE) for count in batches)}
        for batches in ((1, 1, 2), (4, 8, 16))
    ]
    out = build(store, tmp_path / "out", work(model, batch=(1, 8, 16)), profiles=tuple(shapes))
    with loaded(engine_of(out)) as (_, engine):
        assert engine.num_optimization_profiles == 2
        assert tuple(engine.get_tensor_profile_shape(name, 1)[2]) == (16, 3, SIDE, SIDE)


def test_a_profile_that_contradicts_the_graph(store, tmp_path, model):
    with pytest.raises(ForgeError, match="the model has no input 'pictures'"):
        build(store, tmp_path / "out", work(model), profiles=({"pictures": ((1, 3, 8, 8),) * 3},))


def refitted(engine: Path, model: Path, images: np.ndarray) -> np.ndarray:
    """What an engine computes that has got the weights of a graph by TensorRT's own refitter."""
    from trtforge.backends import _trt
    from trtforge.backends._session import Session

    with loaded(engine) as (trt, plan):
        refitter = trt.Refitter(plan, _trt.logger(trt))
        parser = trt.OnnxParserRefitter(refitter, _trt.logger(trt))
        assert parser.refit_from_file(str(model))
        assert refitter.refit_cuda_engine()
        del parser, refitter
        session = Session(trt, plan, str(engine))
    return next(iter(session.infer(images).values()))


def graph_of(folder: Path) -> Path:
    return next(path for path in folder.glob("*.onnx"))


def test_refitting_changes_the_weights(store, tmp_path, model):
    """An engine that is built to be refitted computes another network of the same layers."""
    other = saved(classifier(seed=51), tmp_path, "model")
    first = build(store, tmp_path / "first", work(model, "fp32"), refit=True, tf32=False)
    second = build(store, tmp_path / "second", work(other, "fp32"), refit=True, tf32=False)
    with loaded(engine_of(first)) as (_, engine):
        assert engine.refittable
    assert least_pearson(first) >= 0.999
    images = photographs(1)
    found = refitted(engine_of(first), graph_of(second), images)
    assert correlation(found, expected(other, images)) > 0.999
    assert correlation(found, expected(model, images)) < 0.9


def test_stripped_weights_come_back(store, tmp_path, model):
    plain = build(store, tmp_path / "plain", work(model, "fp32"), tf32=False)
    out = build(store, tmp_path / "out", work(model, "fp32"), strip_weights=True, tf32=False)
    assert engine_of(out).stat().st_size < engine_of(plain).stat().st_size
    assert manifest(out)["check"] is None  # it has no weights yet, so it was not run
    images = photographs(1)
    found = refitted(engine_of(out), graph_of(out), images)
    assert correlation(found, expected(model, images)) > 0.999


def test_version_compatible_engines_carry_code_and_are_not_run(store, tmp_path, model):
    from trtforge.backends import tensorrt

    plain = build(store, tmp_path / "plain", work(model))
    try:
        out = build(store, tmp_path / "out", work(model), version_compatible=True)
    except BuildError as refused:
        if "lean" not in refused.problem:
            raise
        pytest.skip(f"needs TensorRT's lean runtime: {refused.problem}")
    assert manifest(out)["engine"]["built"]["version_compatible"]
    assert engine_of(out).stat().st_size > engine_of(plain).stat().st_size
    assert manifest(out)["check"] is None
    with pytest.raises(MachineError, match="does not load here"):
        tensorrt.load(engine_of(out))


def test_a_timing_cache_of_ones_own(store, tmp_path, model):
    file = tmp_path / "timing.cache"
    build(store, tmp_path / "one", work(model), timing_cache=str(file))
    first = file.read_bytes()
    assert first
    build(store, tmp_path / "two", work(model, "fp32"), timing_cache=str(file))
    assert len(file.read_bytes()) >= len(first)


def test_a_damaged_timing_cache(tmp_path, model):
    """Taken for an empty one, or refused by its name: TensorRT decides."""
    file = tmp_path / "timing.cache"
    file.write_bytes(b"damaged" * 100)
    words = ("--fp16", "--opt-level", 0, "--timing-cache", file, "-o", tmp_path / "out")
    found = command("build", model, *words, codes=(0, 3))
    assert not isinstance(found, str) or str(file) in found


def test_a_dla_core_that_this_gpu_lacks(model):
    from trtforge.backends import tensorrt
    from trtforge.backends.options import BuildOptions

    with pytest.raises(MachineError, match=r"--dla 0: TensorRT .* finds no DLA cores"):
        tensorrt.check(BuildOptions(dla_core=0))
    tensorrt.check(BuildOptions(workspace=16 << 20))
