"""On the target: what is timed of an engine computes its outputs, and its thread ends in peace."""

from __future__ import annotations

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.gpu.engines import NEEDS_TENSORRT, build, engine_of, saved
from tests.models import classifier
from trtforge.pipeline.job import Job
from trtforge.recipe import Recipe
from trtforge.timing import cuda, tensorrt

pytestmark = NEEDS_TENSORRT
BATCH = 2


@pytest.fixture(scope="module")
def engine(store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("engine")
    work = Job(saved(classifier(), folder), Recipe(), "fp16", batch=(1, BATCH, 4))
    return engine_of(build(store, folder / "out", work))


def run_once(engine: Path, graph: bool, out: Path) -> None:
    """Time a few passes in a thread, and keep what went in and came out. Runs in a process of its own."""
    made: list[dict[str, cuda.Buffer]] = []
    plain = cuda.Stream.buffers
    cuda.Stream.buffers = lambda self, shapes: made.append(plain(self, shapes)) or made[-1]

    def passes() -> None:
        runner = tensorrt.opener(engine, BATCH, graph=graph, transfers=True)()
        seconds = runner.passes(5)
        assert seconds > 0
        np.savez(out, **{name: buffer.host.copy() for name, buffer in made[0].items()})
        runner.close()
        assert made[0] == {}

    for _ in range(2):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(passes).result()
        made.clear()
    sys.stdout.flush()


@pytest.mark.parametrize("graph", [False, True])
def test_what_is_timed_computes_the_outputs(engine, tmp_path, graph):
    from trtforge.backends import tensorrt as backend

    process = multiprocessing.get_context("spawn").Process(
        target=run_once, args=(engine, graph, tmp_path / "found.npz")
    )
    process.start()
    process.join(120)
    assert process.exitcode == 0
    with np.load(tmp_path / "found.npz") as kept:
        found = dict(kept)
    session = backend.load(engine)
    want = session.infer(found[session.image])
    for name, values in want.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-2, atol=1e-2)
