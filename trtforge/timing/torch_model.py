"""PyTorch, eager and compiled: what an engine's speed-up is measured against."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trtforge.errors import ForgeError
from trtforge.timing.cuda import CLOCK
from trtforge.timing.measure import Runner

if TYPE_CHECKING:
    import numpy as np
    import torch

CPU_CLOCK = "wall clock around the module's call"


def opener(
    module: torch.nn.Module,
    images: np.ndarray,
    *,
    cuda: bool,
    half: bool,
    compiled: bool,
    graph: bool,
    transfers: bool,
) -> Callable[[], Runner]:
    """Opens runners of one module; its weights are shared by all of them.

    cuDNN may search for its fastest kernels, as ONNX Runtime's CUDA provider does, and TF32 is as
    PyTorch has it.

    Args:
        module: in evaluation mode, FP32.
        images: float32 (N, C, H, W).
        half: weights and images in FP16; the images are cast before the time.
        compiled: by ``torch.compile`` with fixed shapes; it compiles before the time.
        graph: captured once as a CUDA graph, then replayed.
        transfers: copy the images to the device and the outputs back, within the time.

    Raises:
        ForgeError: the module fails on the images, or can't be compiled or captured.
    """
    import torch

    device = torch.device("cuda" if cuda else "cpu")
    placed = copy.deepcopy(module).to(device, torch.float16 if half else torch.float32).eval()
    host = torch.from_numpy(images).to(torch.float16 if half else torch.float32)
    network: Any = torch.compile(placed, dynamic=False) if compiled else placed
    if cuda:
        torch.backends.cudnn.benchmark = True
        return lambda: _on_gpu(network, host.pin_memory(), graph, transfers)
    return lambda: _on_cpu(network, host)


def _on_cpu(network: Any, images: torch.Tensor) -> Runner:
    import torch

    def passes(count: int) -> float:
        with torch.inference_mode():
            started = time.perf_counter()
            for _ in range(count):
                network(images)
            return time.perf_counter() - started

    _try(lambda: passes(1), images)
    return Runner(passes, CPU_CLOCK, queues=False)


def _on_gpu(network: Any, pinned: torch.Tensor, graph: bool, transfers: bool) -> Runner:
    import torch

    stream = torch.cuda.Stream()
    start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    images = pinned.cuda()
    with torch.inference_mode(), torch.cuda.stream(stream):
        outputs = _tensors(_try(lambda: network(images), pinned))
        hosts = [torch.empty(each.shape, dtype=each.dtype, pin_memory=True) for each in outputs]
        run = _captured(network, images, stream) if graph else lambda: _tensors(network(images))

    def passes(count: int) -> float:
        with torch.inference_mode(), torch.cuda.stream(stream):
            start.record(stream)
            for _ in range(count):
                if transfers:
                    images.copy_(pinned, non_blocking=True)
                outputs = run()
                if transfers:
                    for host, output in zip(hosts, outputs, strict=True):
                        host.copy_(output, non_blocking=True)
            stop.record(stream)
            stop.synchronize()
            return float(start.elapsed_time(stop)) / 1e3

    return Runner(passes, CLOCK, queues=True)


def _captured(
    network: Any, images: torch.Tensor, stream: torch.cuda.Stream
) -> Callable[[], list[torch.Tensor]]:
    import torch

    for _ in range(3):  # cuDNN's search and lazy initialisation may not fall into the capture
        network(images)
    stream.synchronize()
    recorded = torch.cuda.CUDAGraph()

    def capture() -> list[torch.Tensor]:
        with torch.cuda.graph(recorded, stream=stream):
            return _tensors(network(images))

    outputs: list[torch.Tensor] = _try(capture, images)

    def run() -> list[torch.Tensor]:
        recorded.replay()
        return outputs

    return run


def _tensors(found: Any) -> list[torch.Tensor]:
    """Yield all tensors in whatever a module returns."""
    import torch

    if isinstance(found, torch.Tensor):
        return [found]
    parts = found.values() if isinstance(found, dict) else found
    if not isinstance(found, (dict, tuple, list)):
        return []
    return [tensor for part in parts for tensor in _tensors(part)]


def _try(work: Callable[[], Any], images: torch.Tensor) -> Any:
    try:
        return work()
    except Exception as error:  # the user's own code, and torch's compiler: anything can come
        shape = "x".join(map(str, images.shape))
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ForgeError(
            f"the PyTorch model fails on {images.dtype} images of {shape}: {first}", ""
        ) from error
