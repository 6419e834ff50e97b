"""On a GPU: histograms made on the device are those that the host makes of the same activations.

Needs onnxruntime-gpu, pycuda and nvcc (``pip install 'trtforge[gpu]'``, and the CUDA toolkit).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.models import SIDE, classifier, network, photographs, yolov7_like
from trtforge.backends import onnxruntime
from trtforge.calibration import cuda
from trtforge.calibration.collect import Histograms, HostTaps, collect
from trtforge.calibration.cut import cut
from trtforge.errors import ForgeError
from trtforge.graph.fold import fold
from trtforge.graph.model import graph_of, save
from trtforge.graph.quantize.taps import tapped

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not onnxruntime.has_cuda(), reason="needs an NVIDIA GPU, onnxruntime-gpu and pycuda"
    ),
]


def exact() -> tuple[onnx.ModelProto, list[str]]:
    """Operators whose results are the same to the last bit on CPU and GPU, and the tensors to tap."""
    s = network(0)
    relu = s.op("Relu", "image")
    taps = [
        relu,
        s.op("Neg", "image"),
        s.op("Mul", relu, s.const(2.0**70)),
        s.op("Mul", "image", s.const(2.0**-70)),
        s.op("Mul", relu, s.const(0.0)),
        s.maxpool(relu, 2, 2),
        s.op("ReduceMax", relu, axes=[1, 2, 3], keepdims=1),
    ]
    joined = s.op("Concat", *[s.op("Flatten", tensor) for tensor in taps], axis=1)
    return onnx.shape_inference.infer_shapes(s.model(joined)), taps


def batches() -> list[np.ndarray]:
    """Magnitudes that grow and shrink by powers of two, zeros of both signs, edges of bins, and
    batches of two.
    """
    rng = np.random.default_rng(0)
    made = [
        rng.normal(0, 4.0 ** rng.integers(-8, 8), (rng.integers(1, 3), 3, SIDE, SIDE))
        for _ in range(12)
    ]
    made += [np.zeros_like(made[0]), -np.zeros_like(made[0]), np.full_like(made[0], 2.0**20)]
    made += [np.full_like(made[0], np.nextafter(np.float32(1), np.float32(0)))]
    made += [2.0 ** rng.integers(-20, 20, made[0].shape) * rng.choice([-1, 1], made[0].shape)]
    return [made[index].astype(np.float32) for index in rng.permutation(len(made))]


def both(model: onnx.ModelProto, tensors: list[str]) -> tuple[cuda.DeviceTaps, HostTaps]:
    network, weights = cut(graph_of(model), [name for name in tensors if name != "image"])
    device = cuda.DeviceTaps(onnxruntime.cuda_session(network, weights), tensors, "image")
    return device, HostTaps(
        onnxruntime.session(network, threads=1, weights=weights), tensors, "image"
    )


def assert_same(found: Histograms, want: Histograms) -> None:
    assert found.keys() == want.keys()
    for name, histogram in want.items():
        assert (found[name].limit, found[name].largest) == (histogram.limit, histogram.largest), (
            name
        )
        np.testing.assert_array_equal(found[name].counts, histogram.counts, err_msg=name)


@pytest.mark.parametrize("most", [cuda.MAX_COUNTED, 2 * 3 * SIDE * SIDE, 5 * 3 * SIDE * SIDE])
@pytest.mark.parametrize("pattern", ["early", "late", "in order", "interleaved"])
def test_counts_are_the_hosts(monkeypatch: pytest.MonkeyPatch, pattern: str, most: int) -> None:
    """However often the device is flushed, and whichever part an image belongs to."""
    monkeypatch.setattr(cuda, "MAX_COUNTED", most)
    model, tensors = exact()
    device, host = both(model, ["image", *tensors])
    late = {
        "early": lambda i: False,
        "late": lambda i: True,
        "in order": lambda i: i >= 12,
        "interleaved": lambda i: i % 3 == 1,
    }[pattern]
    for index, batch in enumerate(batches()):
        for taps in (device, host):
            assert taps.observe(batch, late(index)) is None
    device.flush()
    for part in range(2):
        assert_same(device.parts[part], host.parts[part])


def test_flushing_twice_counts_nothing_twice() -> None:
    model, tensors = exact()
    device, host = both(model, tensors)
    for batch in batches()[:4]:
        for taps in (device, host):
            taps.observe(batch, False)
        device.flush()
        device.flush()
    assert_same(device.parts[0], host.parts[0])


def test_many_workers_share_one_device(tmp_path: Path) -> None:
    model, tensors = exact()
    files = [tmp_path / f"{index}" for index in range(40)]
    rng = np.random.default_rng(1)
    arrays = {
        file: rng.normal(0, 2.0 ** (index % 7), (1, 3, SIDE, SIDE)).astype(np.float32)
        for index, file in enumerate(files)
    }
    names = ["image", *tensors]
    found, want = (
        collect(graph_of(model), names, files, arrays.__getitem__, lambda done: None, 30, where)
        for where in ("cuda", "cpu")
    )
    for part in range(2):
        assert_same(found[part], want[part])  # type: ignore[arg-type]


def test_the_input_alone(tmp_path: Path) -> None:
    found, _, _ = collect(
        graph_of(exact()[0]),
        ["image"],
        [tmp_path],
        lambda _: batches()[0][:1],
        lambda done: None,
        provider="cuda",
    )
    assert found["image"].counts.sum() == 3 * SIDE * SIDE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named_first_tensor_first(value: float) -> None:
    model, tensors = exact()
    for tapped_ in (["image", *tensors], tensors[1:]):
        device, host = both(model, tapped_)
        batch = batches()[0]
        batch[-1, 2, 5, 7] = value
        assert device.observe(batch, False) == host.observe(batch, False) == tapped_[0]


def test_a_network_that_fails_is_refused() -> None:
    model, tensors = exact()
    device, _ = both(model, tensors)
    with pytest.raises(ForgeError, match="the model fails on an input of 1x4x8x8"):
        device.observe(np.zeros((1, 4, 8, 8), np.float32), False)


@pytest.mark.parametrize("make", [classifier, yolov7_like])
@pytest.mark.parametrize("taps", ["explicit", "implicit"])
def test_networks_have_the_hosts_ranges(tmp_path: Path, make, taps) -> None:
    """To FP32's rounding: sums of a convolution are taken in another order."""
    graph = graph_of(fold(make()))
    tensors = [name for _, sources in tapped(graph, taps) for name in sources]
    found, want = (
        collect(
            graph.copy(),
            tensors,
            [tmp_path / str(seed) for seed in range(8)],
            lambda path: photographs(1, int(path.name)),
            lambda done: None,
            6,
            where,
        )
        for where in ("cuda", "cpu")
    )
    for part in range(2):
        for name in tensors:
            one, other = found[part][name], want[part][name]  # type: ignore[index]
            assert one.counts.sum() == other.counts.sum()
            assert one.largest == pytest.approx(other.largest, rel=1e-4)


def test_by_the_command_line(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from trtforge.cli import app

    save(fold(classifier()), tmp_path / "clean.onnx")
    (tmp_path / "photos").mkdir()
    for seed in range(4):
        pixels = (photographs(1, seed)[0].transpose(1, 2, 0) * 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{seed}.png")
    amax = {}
    for provider in ("cuda", "cpu"):
        out = tmp_path / f"{provider}.json"
        words = [
            "calibrate",
            tmp_path / "clean.onnx",
            "--calib",
            tmp_path / "photos",
            "--method",
            "minmax",
            "--provider",
            provider,
            "-o",
            out,
        ]
        run = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        assert run.exit_code == 0, run.stderr
        amax[provider] = json.loads(out.read_text())["amax"]
    assert amax["cuda"] == pytest.approx(amax["cpu"], rel=1e-4)
