"""Time any runtime in the same loop: latency pass by pass, throughput with full queues."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np

MIN_PASSES = 10  # however short the duration is; trtexec has the same default
# Seconds of work that are enqueued at once for throughput. The wait between two queues is short
# beside them.
QUEUE_S = 0.05
MAX_QUEUED = 1000
CAMERA_FPS = 30
ASSUMPTION = (
    f"cameras: images a second / {CAMERA_FPS}, if every frame of a {CAMERA_FPS} fps camera goes through this network "
    "once; decoding, preprocessing and tracking are not counted"
)


@dataclass(frozen=True)
class Runner:
    """A network on one stream, ready at one batch size; it belongs to the thread that opened it.

    Attributes:
        passes: runs a number of passes back to back, and returns the seconds that they took.
        clock: says what the seconds measure.
        queues: whether passes are enqueued ahead of the device, so that many in a queue take less
            time than one by one.
        close: frees what must be freed before the runner; it can't run afterwards.
    """

    passes: Callable[[int], float]
    clock: str
    queues: bool
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Timed:
    """The measured times.

    Attributes:
        latencies: milliseconds of each pass, one at a time on each stream.
        images_per_second: of all streams together, each with its queue full.
        clock: says what was timed.
    """

    latencies: list[float]
    images_per_second: float
    clock: str


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one batch; percentiles are interpolated linearly between the passes."""

    passes: int
    mean: float
    median: float
    p90: float
    p95: float
    p99: float
    min: float
    max: float


def summary(latencies: Sequence[float]) -> Latency:
    """Return the statistics of a list of milliseconds."""
    p50, p90, p95, p99 = (float(value) for value in np.percentile(latencies, [50, 90, 95, 99]))
    return Latency(
        len(latencies),
        statistics.fmean(latencies),
        p50,
        p90,
        p95,
        p99,
        min(latencies),
        max(latencies),
    )


def camera_streams(images_per_second: float) -> int:
    """Return how many cameras that rate would serve, see ``ASSUMPTION``."""
    return int(images_per_second // CAMERA_FPS)


def measure(
    open_runner: Callable[[], Runner], batch: int, streams: int, warmup: float, duration: float
) -> Timed:
    """Time a network on ``streams`` streams at once, a thread each.

    A CUDA graph belongs to the thread that captured it, and nothing else may run on the device
    during the capture. So each runner lives in a thread of its own, and the threads open and warm
    up their runners one after the other.

    Args:
        open_runner: opens a runner with a stream of its own.
        batch: images in a pass.
        warmup: seconds before anything counts.
        duration: seconds for latency, and as many again for throughput where passes queue; ten
            passes at least.

    Raises:
        ForgeError: what ``open_runner`` raises.
    """
    together, turn = threading.Barrier(streams), threading.Lock()

    def stream() -> tuple[list[float], float, str]:
        try:
            with turn:
                runner = _warm(open_runner, warmup)
            with closing(runner):
                together.wait()
                latencies = _one_by_one(runner, duration)
                together.wait()
                rate = len(latencies) / sum(latencies)
                if runner.queues:
                    rate = _queued(runner, statistics.median(latencies), duration)
                together.wait()  # freeing memory waits for the device, and would slow the others
            return latencies, rate, runner.clock
        except BaseException:
            together.abort()
            raise

    with ThreadPoolExecutor(streams) as pool:
        futures = [pool.submit(stream) for _ in range(streams)]
        try:
            timed = [future.result() for future in futures]
        except threading.BrokenBarrierError:  # this stream waited for another one, which failed
            raise _first_failure(future.exception() for future in futures) from None
    latencies = [1e3 * seconds for passes, _, _ in timed for seconds in passes]
    return Timed(latencies, batch * sum(rate for _, rate, _ in timed), timed[0][2])


def _first_failure(errors: Iterable[BaseException | None]) -> BaseException:
    """Return the error that broke the barrier for the other streams."""
    waited = threading.BrokenBarrierError
    return next(error for error in errors if error and not isinstance(error, waited))


def _warm(open_runner: Callable[[], Runner], warmup: float) -> Runner:
    runner = open_runner()
    end = time.monotonic() + warmup
    runner.passes(1)
    while time.monotonic() < end:
        runner.passes(1)
    return runner


def _one_by_one(runner: Runner, duration: float) -> list[float]:
    """Return the seconds of each pass."""
    end = time.monotonic() + duration
    latencies: list[float] = []
    while len(latencies) < MIN_PASSES or time.monotonic() < end:
        latencies.append(runner.passes(1))
    return latencies


def _queued(runner: Runner, typical: float, duration: float) -> float:
    """Return passes a second, with so many in the queue that the wait between queues does not count."""
    length = max(1, min(MAX_QUEUED, round(QUEUE_S / typical)))
    end = time.monotonic() + duration
    passes, seconds = 0, 0.0
    while passes < MIN_PASSES or time.monotonic() < end:
        seconds += runner.passes(length)
        passes += length
    return passes / seconds
