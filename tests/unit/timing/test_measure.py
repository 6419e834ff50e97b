"""The loop that times: what it counts, in which threads, and what it says of failures. No assertion
on real times.
"""

from __future__ import annotations

import threading

import numpy as np
import onnx
import pytest

from tests.models import SIDE, classifier
from trtforge.errors import ForgeError
from trtforge.timing import inputs, onnxruntime_cpu
from trtforge.timing.measure import MIN_PASSES, Runner, camera_streams, measure, summary


def test_statistics_of_known_latencies() -> None:
    found = summary([float(value) for value in range(1, 101)])
    assert (found.passes, found.mean, found.median, found.min, found.max) == (
        100,
        50.5,
        50.5,
        1,
        100,
    )
    # Percentiles are interpolated linearly, as NumPy does by default.
    assert (found.p90, found.p95, found.p99) == pytest.approx((90.1, 95.05, 99.01))


def test_cameras_are_counted_in_whole_ones() -> None:
    assert [camera_streams(rate) for rate in (29.9, 30.0, 119.0, 120.0)] == [0, 1, 3, 4]


@pytest.mark.parametrize("streams", [1, 3])
def test_rates_of_streams_add_up_and_a_runner_stays_in_its_thread(streams: int) -> None:
    """A clock of our own: a pass takes 2 ms alone, and 1 ms in a queue."""
    threads: list[set[int]] = []

    def open_runner() -> Runner:
        mine: set[int] = {threading.get_ident()}
        threads.append(mine)

        def passes(count: int) -> float:
            mine.add(threading.get_ident())
            return 0.002 if count == 1 else 0.001 * count

        return Runner(passes, "a clock", queues=True)

    timed = measure(open_runner, 4, streams, 0.001, 0.001)
    assert timed.images_per_second == pytest.approx(4 * 1000 * streams)
    assert set(timed.latencies) == {2.0} and len(timed.latencies) >= MIN_PASSES * streams
    assert len(threads) == streams and all(len(each) == 1 for each in threads)


def test_what_does_not_queue_has_its_throughput_from_its_latencies() -> None:
    timed = measure(
        lambda: Runner(lambda count: 0.5 * count, "a clock", queues=False), 8, 2, 0.001, 0.001
    )
    assert timed.images_per_second == pytest.approx(8 / 0.5 * 2)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_one_stream_that_fails_ends_all(failing: int) -> None:
    opened: list[int] = []

    def open_runner() -> Runner:
        opened.append(1)
        if len(opened) - 1 == failing:
            raise ForgeError("no", "")
        return Runner(lambda count: 0.001 * count, "a clock", queues=False)

    with pytest.raises(ForgeError, match=r"^no$"):
        measure(open_runner, 1, 3, 0.001, 0.001)


def test_onnxruntime_is_timed_for_real(tmp_path) -> None:
    onnx.save(classifier(), tmp_path / "model.onnx")
    timed = measure(onnxruntime_cpu.opener(tmp_path / "model.onnx", 2, None), 2, 2, 0.001, 0.01)
    assert (
        len(timed.latencies) >= 2 * MIN_PASSES
        and min(timed.latencies) > 0
        and timed.images_per_second > 0
    )


def test_a_model_that_can_not_be_loaded_is_named(tmp_path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with pytest.raises(ForgeError, match=r"broken\.onnx: ONNX Runtime can't load it"):
        onnxruntime_cpu.opener(tmp_path / "broken.onnx", 1, None)


@pytest.mark.parametrize(
    ("dims", "batch", "size", "shape"),
    [
        (["n", 3, 8, 9], 4, None, (4, 3, 8, 9)),
        ([1, 3, 8, 9], 1, None, (1, 3, 8, 9)),
        (["n", 3, "h", "w"], 2, (6, 7), (2, 3, 6, 7)),
        ([None, 5], 3, None, (3, 5)),
        ([], 3, None, ()),
    ],
)
def test_shapes(dims, batch, size, shape) -> None:
    assert inputs.shaped("x", dims, batch, size) == shape


@pytest.mark.parametrize(
    ("dims", "batch", "problem"),
    [([1, 3, 8, 8], 4, "fixed batch of 1, not 4"), (["n", 3, "h", "w"], 1, "dynamic dimensions")],
)
def test_shapes_that_nobody_knows(dims, batch, problem) -> None:
    with pytest.raises(ForgeError, match=problem):
        inputs.shaped("x", dims, batch, None)


def test_inputs_are_the_same_in_every_run() -> None:
    shapes = {"a": (2, 3, SIDE, SIDE), "b": (4,)}
    one, two = (inputs.arrays(shapes, {"a": "float32", "b": "int64"}) for _ in range(2))
    assert (one["a"].dtype, one["b"].dtype) == (np.float32, np.int64)
    assert one["a"].min() >= 0 and one["a"].max() <= 1 and set(one["b"]) <= {0, 1}
    for name in shapes:
        np.testing.assert_array_equal(one[name], two[name])
