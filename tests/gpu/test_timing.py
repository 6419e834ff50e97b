"""On a GPU: every way to run a graph is timed, and copies cost time that the kernels don't.

Needs onnxruntime-gpu and pycuda (``pip install 'trtforge[gpu]'``); PyTorch's rows also PyTorch with
CUDA.
"""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest

from tests.models import SIDE, classifier
from trtforge.backends import onnxruntime
from trtforge.stages import bench
from trtforge.timing import cuda

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not onnxruntime.has_cuda(), reason="needs an NVIDIA GPU, onnxruntime-gpu and pycuda"
    ),
]


@pytest.fixture
def model(tmp_path):
    onnx.save(classifier(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def asked(**changes) -> bench.BenchRequest:
    given = {
        "batches": [1, 4],
        "streams": [1, 2],
        "against": ["onnxruntime"],
        "provider": "cuda",
        "cuda_graph": None,
        "transfers": True,
        "warmup": 0.01,
        "duration": 0.05,
    }
    return bench.BenchRequest(**(given | changes))


def test_every_combination_is_a_row(model) -> None:
    report = bench.run(bench.subject(model), asked())
    own = [row for row in report.rows if row.runtime == "onnxruntime-cuda"]
    assert [(row.batch, row.streams, row.cuda_graph, row.transfers) for row in own] == list(
        itertools.product([1, 4], [1, 2], [False, True], [False, True])
    )
    assert all("CUDA events" in row.clock for row in own)
    assert [row.cuda_graph for row in report.rows if row.runtime == "onnxruntime"] == [None] * 4


@pytest.mark.parametrize("graph", [False, True])
def test_what_is_timed_computes_the_outputs(model, monkeypatch, graph) -> None:
    """The buffers that are copied back hold what the CPU computes of the same inputs."""
    made: list[dict[str, cuda.Buffer]] = []
    plain = cuda.Stream.buffers
    monkeypatch.setattr(
        cuda.Stream, "buffers", lambda self, shapes: made.append(plain(self, shapes)) or made[-1]
    )
    runner = cuda.opener(model, 3, None, graph=graph, transfers=True)()
    runner.passes(5)
    given, outputs = made
    engine = onnxruntime.session(model)
    want = engine.run(None, {name: buffer.host for name, buffer in given.items()})
    for name, array in zip((each.name for each in engine.get_outputs()), want, strict=True):
        np.testing.assert_allclose(outputs[name].host, array, rtol=2e-3, atol=2e-3)  # TF32


@pytest.mark.parametrize("names", [["torch", "torch-half"], ["torch-compile"]])
def test_pytorch_beside_it(model, names) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    if not torch.cuda.is_available():
        pytest.skip("needs PyTorch with CUDA")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
    report = bench.run(
        bench.subject(model), asked(batches=[2], streams=[1], against=names, module=module)
    )
    assert {row.runtime for row in report.rows} == {"onnxruntime-cuda", *names}
    assert all(row.subject_faster and row.images_per_second > 0 for row in report.rows)
    assert bench.subject(model).size[0] == SIDE
