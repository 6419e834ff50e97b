"""Time engines of TensorRT and TensorRT-RTX on the GPU.

pycuda provides the buffers and streams, ``graphs`` the CUDA graphs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from trtforge.backends import _plan, tensorrt, tensorrt_rtx
from trtforge.backends._session import execution_context
from trtforge.errors import BuildError, ForgeError
from trtforge.timing import inputs
from trtforge.timing.cuda import Stream
from trtforge.timing.graphs import CudaGraph
from trtforge.timing.measure import Runner


def opener(engine: Path, batch: int, *, graph: bool, transfers: bool) -> Callable[[], Runner]:
    """Opens runners of a serialized engine, each with a context, a stream and buffers of its own.

    Args:
        graph: captured once as a CUDA graph, then replayed.
        transfers: copy the inputs to the device and the outputs back, within the time.

    Raises:
        ForgeError: the engine has no profile for this batch, or an output whose size depends on the
            data.
        MachineError: no GPU, or the engine does not load on it.
    """

    def open_runner() -> Runner:
        rtx = _plan.maker(engine) == "TensorRT-RTX"
        with (tensorrt_rtx if rtx else tensorrt).opened(engine) as (trt, loaded):
            return _runner(engine, trt, loaded, batch, graph=graph, transfers=transfers)

    return open_runner


def _runner(
    engine: Path, trt: Any, loaded: Any, batch: int, *, graph: bool, transfers: bool
) -> Runner:
    """Return a runner of a loaded engine; see ``opener``."""
    stream, context = Stream(), execution_context(loaded, str(engine))
    names = [loaded.get_tensor_name(index) for index in range(loaded.num_io_tensors)]
    given = [name for name in names if loaded.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    for name in given:
        _set_shape(loaded, context, name, batch)
    shapes = {name: tuple(int(dim) for dim in context.get_tensor_shape(name)) for name in names}
    unknown = next((name for name, shape in shapes.items() if min(shape, default=0) < 0), None)
    if unknown:
        raise ForgeError(
            f"{engine}: the size of output {unknown!r} depends on the data",
            "bench can't time that",
        )
    dtypes = {name: trt.nptype(loaded.get_tensor_dtype(name)) for name in names}
    buffers = stream.buffers({name: (shapes[name], dtypes[name]) for name in names})
    arrays = inputs.arrays(
        {name: shapes[name] for name in given}, {name: dtypes[name] for name in given}
    )
    for name, buffer in buffers.items():
        context.set_tensor_address(name, int(buffer.device))
    for name, array in arrays.items():
        buffers[name].host[...] = array
        buffers[name].upload()

    def enqueue() -> None:
        if not context.execute_async_v3(stream.handle):
            raise BuildError(f"{engine}: TensorRT fails to run it", "see the log above")

    stream.timed(enqueue, 1)  # lazy initialisation may not fall into a capture
    recorded = CudaGraph(stream.handle, enqueue) if graph else None

    def close() -> None:
        """Free the graph, then the engine's context and the engine: memory comes last."""
        nonlocal context, loaded
        if recorded:
            recorded.close()
        del context, loaded

    before = [buffers[name] for name in given] if transfers else []
    after = [buffers[name] for name in names if name not in given] if transfers else []
    run = recorded.launch if recorded else enqueue
    return stream.passes(run, buffers, before, after, close)


def _set_shape(loaded: Any, context: Any, name: str, batch: int) -> None:
    dims = [int(dim) for dim in loaded.get_tensor_shape(name)]
    if -1 not in dims:
        inputs.shaped(name, dims, batch, None)
        return
    least, best, most = (
        tuple(int(dim) for dim in shape) for shape in loaded.get_tensor_profile_shape(name, 0)
    )
    if not least[0] <= batch <= most[0]:
        raise ForgeError(
            f"the engine takes batches of {least[0]} to {most[0]}, not {batch}",
            "give another --batch",
        )
    context.set_input_shape(name, (batch if dims[0] == -1 else dims[0], *best[1:]))
